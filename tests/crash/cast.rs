//! Who takes part in a round: sessions with their habits and their first subscriptions, drawn from the seed.

use super::model::{ClientId, Model, Subscribed};
use rand::Rng;
use rand::rngs::StdRng;
use wardgate::mqtt::ProtocolVersion;

pub const PUBLISHERS: usize = 6;
pub const SUBSCRIBERS: usize = 18;
pub const GROUPS: usize = 2;
pub const MEMBERS: usize = 3;
pub const WILLS: usize = 5;
/// Sessions that outlive their connections.
pub const DURABLE: usize = PUBLISHERS + SUBSCRIBERS + GROUPS * MEMBERS;
pub const TOPICS: usize = 6;
pub const CHANGING: usize = 6;
/// Every durable session subscribes to it; its messages are the last of a round.
pub const END: &str = "end";

pub struct Cast {
    pub roles: Vec<Role>,
}

#[derive(Clone)]
pub struct Role {
    pub id: ClientId,
    pub name: String,
    pub version: ProtocolVersion,
    pub receive_maximum: Option<u16>,
    pub habit: Habit,
    /// Unacknowledged messages that a publisher lets be on their way.
    pub window: usize,
    /// In thousandths for each turn.
    pub drops: u32,
    /// Percent of turns in which it acknowledges something.
    pub acknowledges: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    Publishes,
    /// Stays, and acknowledges as it gets on.
    Online,
    /// Is away once its subscriptions stand.
    Offline,
    /// Subscribes and unsubscribes all the time.
    Changes,
    /// Ends its session now and then, and begins a new one.
    Renews,
    /// Leaves a will behind.
    Will,
}

impl Cast {
    pub fn draw(rng: &mut StdRng, model: &mut Model) -> Self {
        let mut cast = Self { roles: Vec::new() };
        for _ in 0..PUBLISHERS {
            let id = cast.add(rng, Habit::Publishes, "publisher");
            let role = &mut cast.roles[id];
            role.window = rng.random_range(1..=20);
            role.drops = [0, 0, 5, 20][rng.random_range(0..4)];
            role.acknowledges = rng.random_range(20..=100);
        }
        for index in 0..SUBSCRIBERS {
            let habit = match index {
                0..5 => Habit::Offline,
                5..8 => Habit::Changes,
                8..10 => Habit::Renews,
                _ => Habit::Online,
            };
            let id = cast.add(rng, habit, "subscriber");
            let role = &mut cast.roles[id];
            role.acknowledges = [2, 20, 100][rng.random_range(0..3)];
            role.drops = [0, 5, 20][rng.random_range(0..3)];
            for _ in 0..rng.random_range(1..=3) {
                let version_5 = cast.roles[id].version.is_v5();
                let filter = match rng.random_range(0..5) {
                    0 => "t/+".to_owned(),
                    // With version 3 it could not refuse the retained messages, which the model would take for a second delivery.
                    1 if version_5 => "#".to_owned(),
                    2 => "t/#".to_owned(),
                    _ => format!("t/{}", rng.random_range(0..TOPICS)),
                };
                let qos = [0, 1, 1, 2, 2, 2, 2][rng.random_range(0..7)];
                cast.want(model, rng, id, None, &filter, qos);
            }
            if index % 5 == 0 {
                cast.want(model, rng, id, None, "w/#", 2);
            }
        }
        for group in 0..GROUPS {
            for member in 0..MEMBERS {
                let habit = if member == 0 {
                    Habit::Offline
                } else {
                    Habit::Online
                };
                let id = cast.add(rng, habit, &format!("member-of-{group}"));
                cast.roles[id].acknowledges = [5, 50, 100][rng.random_range(0..3)];
                cast.roles[id].drops = [0, 5, 20][rng.random_range(0..3)];
                let (share, filter) = (format!("g{group}"), format!("s/{group}/#"));
                cast.want(model, rng, id, Some(share), &filter, 2);
            }
        }
        for _ in 0..WILLS {
            cast.add(rng, Habit::Will, "mortal");
        }
        for id in 0..DURABLE {
            cast.want(model, rng, id, None, END, 2);
        }
        cast
    }

    pub fn name(&self, client: ClientId) -> &str {
        self.roles
            .get(client)
            .map_or("conductor", |role| role.name.as_str())
    }

    fn add(&mut self, rng: &mut StdRng, habit: Habit, what: &str) -> ClientId {
        let id = self.roles.len();
        // MQTT 3 has no word for a new session that lasts.
        let version = if habit == Habit::Renews || rng.random() {
            ProtocolVersion::V5_0
        } else {
            ProtocolVersion::V3_1_1
        };
        let number = if version.is_v5() { 5 } else { 3 };
        self.roles.push(Role {
            id,
            name: format!("{what}-{id}-v{number}"),
            version,
            receive_maximum: (version.is_v5() && rng.random()).then(|| rng.random_range(1..=40)),
            habit,
            window: 0,
            drops: 0,
            acknowledges: 100,
        });
        id
    }

    fn want(
        &self,
        model: &mut Model,
        rng: &mut StdRng,
        client: ClientId,
        share: Option<String>,
        filter: &str,
        maximum_qos: u8,
    ) {
        let known = model
            .subscriptions
            .iter()
            .any(|held| held.client == client && held.filter == filter);
        if known {
            return;
        }
        let version_5 = self.roles[client].version.is_v5();
        model.subscriptions.push(Subscribed {
            identifier: (version_5 && rng.random()).then(|| rng.random_range(1..=300_000)),
            ..Subscribed::wanted(client, share, filter, maximum_qos)
        });
    }
}
