//! Clients that come and go too often: counted as they come, then banned for longer each time.
//!
//! A client is its identifier under the name that owns it, so that nobody can flap in the name of another.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::ban_list::{Bans, Placed};
use super::bans::{Ban, BanSubject, Owner};
use super::config::FlappingConfig;
use super::explained::Explained;
use super::gcra::{Epoch, Nanos, nanos};
use super::keys::Keys;
use super::recent::{Recent, Window};
use super::strikes::Strikes;
use super::table::Table;
use super::wall::unix;
use super::{Client, Refusal};

/// A client that was banned now: for the audit log, and to be disconnected where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapped {
    most: u32,
    window: Duration,
    duration: Duration,
}

pub(super) struct Flapping {
    recent: Table<Recent>,
    strikes: Strikes,
}

impl Flapping {
    pub(super) fn new() -> Self {
        Self {
            recent: Table::new(CAPACITY),
            strikes: Strikes::new(),
        }
    }

    /// Counts a client that comes in, or refuses it.
    pub(super) fn come(
        &self,
        (config, bans, keys): (&FlappingConfig, &Bans, &Keys),
        client: &Client<'_>,
        (epoch, now): (Epoch, Nanos),
        wall: SystemTime,
    ) -> Result<(), Refusal> {
        judge(bans, client, (epoch, now))?;
        let Some(most) = config.connections.get() else {
            return Ok(());
        };
        let (key, window) = (key(keys, client), Window::new(config.window.get()));
        let count = |recent: &mut Recent| recent.add(window, now);
        let come = self.recent.update(key, now, |_| Recent::default(), count);
        if come <= most.get() {
            return Ok(());
        }
        // When the ban is over or lifted, it begins anew.
        self.recent.remove(key);
        let flapped = Flapped {
            most: most.get(),
            window: config.window.get(),
            duration: self.strikes.strike(key, config.ban.get(), now),
        };
        let until = now.saturating_add(nanos(flapped.duration));
        let owner = Owner {
            namespace: client.namespace.to_owned(),
            username: client.username.to_owned(),
        };
        let placed = Placed {
            reason: flapped.to_string(),
            until,
            since: unix(wall),
        };
        bans.keep_out(client.client_id, owner, placed, now);
        Err(Refusal::Flapping {
            until: Some(epoch.instant(until)),
            banned_now: Some(flapped),
        })
    }

    /// A ban that an earlier process placed: the next is longer.
    pub(super) fn recall(
        &self,
        (config, keys): (&FlappingConfig, &Keys),
        ban: &Ban,
        (now, wall): (Nanos, SystemTime),
    ) {
        if let (BanSubject::ClientId(client_id), Some(owner)) = (&ban.subject, &ban.owner) {
            let client = Client {
                namespace: &owner.namespace,
                username: &owner.username,
                client_id,
            };
            self.strikes
                .recall(key(keys, &client), config.ban.get(), ban, (now, wall));
        }
    }

    pub(super) fn explained(
        &self,
        (config, bans, keys): (&FlappingConfig, &Bans, &Keys),
        client: &Client<'_>,
        now: Nanos,
    ) -> Explained {
        const LIMIT: &str = "limits.flapping";
        let names = (client.namespace, client.username);
        if let Some((reason, _)) = bans.of_client(client.client_id, names, now) {
            return Explained::of(LIMIT, Err(Refusal::Banned { reason }));
        }
        let standing = match config.connections.get() {
            None => "none set".into(),
            Some(most) => {
                let window = Window::new(config.window.get());
                let recent = self.recent.find(key(keys, client));
                let count = recent.map_or(0, |recent| recent.count(window, now));
                format!("{count} of {} connections", most.get())
            }
        };
        Explained {
            limit: LIMIT,
            permits: true,
            standing,
        }
    }
}

/// Whether a client is kept out for it.
pub(super) fn judge(
    bans: &Bans,
    client: &Client<'_>,
    (epoch, now): (Epoch, Nanos),
) -> Result<(), Refusal> {
    let owner = (client.namespace, client.username);
    let ban = bans.of_client(client.client_id, owner, now);
    ban.map_or(Ok(()), |(_, until)| {
        Err(Refusal::Flapping {
            until: until.map(|until| epoch.instant(until)),
            banned_now: None,
        })
    })
}

fn key(keys: &Keys, client: &Client<'_>) -> u64 {
    keys.name(&[client.namespace, client.username, client.client_id])
}

impl fmt::Display for Flapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (window, duration) = (self.window.as_secs(), self.duration.as_secs());
        write!(
            f,
            "more than {} connections within {window}s, banned for {duration}s",
            self.most
        )
    }
}

/// How many clients are remembered.
const CAPACITY: usize = 32_768;
