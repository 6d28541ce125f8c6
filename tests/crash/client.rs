//! A client whose session outlives connections and crashes: it keeps what MQTT demands of a client, and follows its habits.

use super::cast::{CHANGING, DURABLE, GROUPS, Habit, PUBLISHERS, Role, SUBSCRIBERS, TOPICS};
use super::link::Link;
use super::model::Subscribed;
use super::packets;
use super::world::{Phase, World};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;
use wardgate::mqtt::{Packet, Publish, QoS, ReasonCode};

pub struct Client {
    pub role: Role,
    world: Rc<World>,
    rng: StdRng,
    /// The broker has acknowledged something of this session: it must know it from now on.
    established: bool,
    /// A new session is wanted until one is established.
    renewing: bool,
    next_identifier: u16,
    /// In the order of their first sending.
    outgoing: Vec<Outgoing>,
    /// QoS 2 identifiers whose message has come and whose PUBREL has not. MQTT 5.0 section 4.3.3
    incoming: BTreeSet<u16>,
    asking: BTreeMap<u16, Asking>,
    /// What the broker waits for: sent when the habit says so, in order, and forgotten with the connection.
    owed: VecDeque<Packet>,
    /// Messages to publish while the round is drained: they show that subscriptions have survived.
    last_words: usize,
}

struct Outgoing {
    identifier: u16,
    number: usize,
    qos: u8,
    /// PUBREC has come: only PUBREL is sent again.
    received: bool,
}

/// The places of subscriptions in the model.
#[derive(Clone)]
enum Asking {
    Subscribe(usize),
    Unsubscribe(usize),
}

/// Why a connection ends.
enum Leave {
    No,
    /// DISCONNECT first.
    Politely,
    Abruptly,
}

impl Client {
    pub fn new(role: Role, world: Rc<World>, seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            world,
            established: false,
            renewing: false,
            next_identifier: 0,
            outgoing: Vec::new(),
            incoming: BTreeSet::new(),
            asking: BTreeMap::new(),
            owed: VecDeque::new(),
            last_words: if role.habit == Habit::Publishes { 8 } else { 0 },
            role,
        }
    }

    /// Through one phase.
    pub async fn live(&mut self) {
        while self.world.is_up() {
            if self.stays_away() {
                self.world.pause(10).await;
                continue;
            }
            if let Err(error) = self.connection().await
                && error.kind() == io::ErrorKind::InvalidData
            {
                let name = &self.role.name;
                self.world.violation(format!("{name}: not MQTT: {error}"));
            }
            let pause = self.rng.random_range(1..60);
            self.world.pause(pause).await;
        }
    }

    /// Nothing is on its way from here, and all subscriptions stand as wanted.
    fn is_settled(&self) -> bool {
        self.outgoing.is_empty() && self.last_words == 0 && self.has_subscriptions()
    }

    fn has_subscriptions(&self) -> bool {
        let model = self.world.model.borrow();
        let mut own = model
            .subscriptions
            .iter()
            .filter(|held| held.client == self.role.id);
        own.all(|held| match held.removing {
            None => held.granted.is_some(),
            Some(_) => held.removed.is_some(),
        })
    }

    fn stays_away(&self) -> bool {
        self.role.habit == Habit::Offline && !self.world.drains() && self.has_subscriptions()
    }

    async fn connection(&mut self) -> io::Result<()> {
        let address = self
            .world
            .address
            .get()
            .ok_or(io::ErrorKind::NotConnected)?;
        self.owed.clear();
        self.asking.clear();
        if self.renewing {
            self.end_subscriptions();
        }
        let (mut link, connack) =
            Link::open(address, packets::connect(&self.role, self.renewing, None)).await?;
        self.resume(connack.session_present);
        self.send_again(&mut link);
        self.ask_all(&mut link);
        loop {
            while let Some(packet) = link.buffered()? {
                self.take(packet)?;
            }
            if self.world.phase.get() == Phase::Down {
                // What the broker said before it died still counts; nothing reaches it any more.
                link.fill().await?;
                continue;
            }
            match self.turn(&mut link) {
                Leave::No => link.flush().await?,
                Leave::Politely => {
                    link.put(&packets::disconnect());
                    return link.flush().await;
                }
                Leave::Abruptly => {
                    link.flush_half().await;
                    return Ok(());
                }
            }
            let pause = Duration::from_millis(self.rng.random_range(1..8));
            if let Ok(filled) = timeout(pause, link.fill()).await {
                filled?;
            }
            if self.world.phase.get() == Phase::Over {
                return Ok(());
            }
        }
    }

    fn resume(&mut self, present: bool) {
        let name = &self.role.name;
        if self.renewing {
            if present {
                self.world
                    .violation(format!("{name}: a clean start found a session"));
            }
            self.subscribe_anew();
            self.established = false;
        } else if self.established && !present {
            self.world.violation(format!("LOST the session of {name}"));
            self.established = false;
        }
        if !present {
            self.incoming.clear();
            for outgoing in &mut self.outgoing {
                outgoing.received = false;
            }
        }
    }

    /// Unacknowledged PUBLISH and PUBREL packets in their order. [MQTT-4.4.0-1]
    fn send_again(&mut self, link: &mut Link) {
        let mut model = self.world.model.borrow_mut();
        for outgoing in &self.outgoing {
            if outgoing.received {
                link.put(&Packet::PubRel(packets::ack(outgoing.identifier)));
            } else {
                let sent = &mut model.messages[outgoing.number];
                sent.resent = true;
                let identifier = Some(outgoing.identifier);
                link.put(&packets::publish(sent, identifier, true));
            }
        }
    }

    fn ask_all(&mut self, link: &mut Link) {
        let count = self.world.model.borrow().subscriptions.len();
        for place in 0..count {
            self.ask(place, link);
        }
    }

    /// SUBSCRIBE or UNSUBSCRIBE, when this one is the client's own and not as it should be.
    fn ask(&mut self, place: usize, link: &mut Link) {
        let identifier = self.identifier();
        let mut model = self.world.model.borrow_mut();
        let tick = model.tick();
        let held = &mut model.subscriptions[place];
        if held.client != self.role.id || held.removed.is_some() {
            return;
        }
        if held.removing.is_some() {
            link.put(&packets::unsubscribe(held, identifier));
            self.asking.insert(identifier, Asking::Unsubscribe(place));
        } else if held.granted.is_none() {
            held.asked.get_or_insert(tick);
            link.put(&packets::subscribe(held, identifier));
            self.asking.insert(identifier, Asking::Subscribe(place));
        }
    }

    /// All go with the session.
    fn end_subscriptions(&mut self) {
        let mut model = self.world.model.borrow_mut();
        let tick = model.tick();
        for held in &mut model.subscriptions {
            if held.client == self.role.id {
                held.removing.get_or_insert(tick);
            }
        }
    }

    /// The old ones are gone; the same are wanted for the new session.
    fn subscribe_anew(&mut self) {
        let mut model = self.world.model.borrow_mut();
        let tick = model.tick();
        let mut anew: BTreeMap<String, Subscribed> = BTreeMap::new();
        for held in &mut model.subscriptions {
            if held.client == self.role.id {
                held.removed.get_or_insert(tick);
                anew.insert(held.filter.clone(), held.anew());
            }
        }
        model.subscriptions.extend(anew.into_values());
    }

    fn take(&mut self, packet: Packet) -> io::Result<()> {
        match packet {
            Packet::Publish(publish) => self.take_publish(&publish),
            Packet::PubRel(ack) => {
                self.incoming.remove(&ack.packet_identifier.get());
                let answer = packets::ack(ack.packet_identifier.get());
                self.owed.push_back(Packet::PubComp(answer));
            }
            Packet::PubAck(ack) => {
                self.acknowledged(ack.packet_identifier.get(), 1, ack.reason_code)
            }
            Packet::PubRec(ack) => {
                self.acknowledged(ack.packet_identifier.get(), 2, ack.reason_code)
            }
            Packet::PubComp(ack) => {
                self.outgoing
                    .retain(|outgoing| outgoing.identifier != ack.packet_identifier.get());
            }
            Packet::SubAck(suback) => {
                let good = suback.reason_codes.iter().all(|code| !code.is_error());
                self.answered(suback.packet_identifier.get(), good);
            }
            Packet::UnsubAck(unsuback) => self.answered(unsuback.packet_identifier.get(), true),
            Packet::Disconnect(disconnect) => {
                if disconnect.reason_code != ReasonCode::ServerShuttingDown {
                    let name = &self.role.name;
                    self.world
                        .violation(format!("{name}: disconnected: {disconnect:?}"));
                }
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            other => {
                let name = &self.role.name;
                self.world.violation(format!("{name}: received {other:?}"));
            }
        }
        Ok(())
    }

    fn take_publish(&mut self, publish: &Publish) {
        let identifier = publish
            .packet_identifier
            .map_or(0, |identifier| identifier.get());
        let is_new = publish.qos != QoS::ExactlyOnce || self.incoming.insert(identifier);
        if is_new {
            let version_5 = self.role.version.is_v5();
            self.world.model.borrow_mut().receive(
                self.role.id,
                &self.role.name,
                publish,
                version_5,
            );
        }
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self
                .owed
                .push_back(Packet::PubAck(packets::ack(identifier))),
            QoS::ExactlyOnce => self
                .owed
                .push_back(Packet::PubRec(packets::ack(identifier))),
        }
    }

    /// PUBACK or PUBREC: the message is the broker's.
    fn acknowledged(&mut self, identifier: u16, qos: u8, code: ReasonCode) {
        let found = self
            .outgoing
            .iter()
            .position(|outgoing| outgoing.identifier == identifier && outgoing.qos == qos);
        let Some(place) = found else {
            let name = &self.role.name;
            self.world.violation(format!(
                "{name}: an acknowledgement of nothing: {identifier}"
            ));
            return;
        };
        if code.is_error() {
            let name = &self.role.name;
            self.world
                .violation(format!("{name}: a publish was refused: {code:?}"));
            self.outgoing.remove(place);
            return;
        }
        self.established = true;
        let number = self.outgoing[place].number;
        self.world.model.borrow_mut().acknowledge(number);
        if qos == 1 {
            self.outgoing.remove(place);
        } else {
            self.outgoing[place].received = true;
            self.owed
                .push_back(Packet::PubRel(packets::ack(identifier)));
        }
    }

    fn answered(&mut self, identifier: u16, good: bool) {
        let name = &self.role.name;
        let Some(asking) = self.asking.remove(&identifier) else {
            self.world
                .violation(format!("{name}: an answer to nothing: {identifier}"));
            return;
        };
        if !good {
            self.world
                .violation(format!("{name}: a subscription was refused"));
            return;
        }
        let mut model = self.world.model.borrow_mut();
        let tick = model.tick();
        match asking {
            Asking::Subscribe(place) => {
                self.established = true;
                self.renewing = false;
                model.subscriptions[place].granted = Some(tick);
            }
            Asking::Unsubscribe(place) => model.subscriptions[place].removed = Some(tick),
        }
    }

    fn turn(&mut self, link: &mut Link) -> Leave {
        let drains = self.world.drains();
        if drains || self.rng.random_range(0..100) < self.role.acknowledges {
            let most = if drains {
                usize::MAX
            } else {
                self.rng.random_range(1..40)
            };
            for packet in self.owed.drain(..most.min(self.owed.len())) {
                link.put(&packet);
            }
        }
        self.publish_some(link);
        if drains && self.is_settled() {
            self.world.model.borrow_mut().settled.insert(self.role.id);
        }
        if drains || self.world.phase.get() != Phase::Traffic {
            return Leave::No;
        }
        match self.role.habit {
            Habit::Offline if self.has_subscriptions() => return Leave::Politely,
            Habit::Changes if self.rng.random_range(0..20) == 0 => self.change(link),
            Habit::Renews if self.has_subscriptions() && self.rng.random_range(0..100) == 0 => {
                self.renewing = true;
                return Leave::Abruptly;
            }
            Habit::Publishes
            | Habit::Online
            | Habit::Offline
            | Habit::Changes
            | Habit::Renews
            | Habit::Will => {}
        }
        if self.rng.random_range(0..1000) < self.role.drops {
            return Leave::Abruptly;
        }
        Leave::No
    }

    fn publish_some(&mut self, link: &mut Link) {
        if self.role.habit != Habit::Publishes || !self.world.is_up() {
            return;
        }
        for _ in 0..self.rng.random_range(0..=self.role.window) {
            let sent_so_far = self.world.model.borrow().messages.len();
            let may = if self.world.drains() {
                self.last_words > 0
            } else {
                sent_so_far < self.world.sent_max.get()
            };
            if !may || self.outgoing.len() >= self.role.window {
                return;
            }
            self.last_words -= usize::from(self.world.drains());
            self.publish_one(link);
        }
    }

    fn publish_one(&mut self, link: &mut Link) {
        let rng = &mut self.rng;
        let mut qos = [0, 1, 1, 2, 2][rng.random_range(0..5)];
        let mut padding = Some(if rng.random_range(0..50) == 0 {
            rng.random_range(4_000..20_000)
        } else {
            rng.random_range(0..200)
        });
        let topic = match rng.random_range(0..10) {
            0 | 1 => format!(
                "s/{}/{}",
                rng.random_range(0..GROUPS),
                rng.random_range(0..3)
            ),
            2 => {
                // One publisher and one QoS for each: what is retained follows from the order of sending.
                let index = rng.random_range(0..4);
                qos = 1 + index % 2;
                if rng.random_range(0..4) == 0 {
                    padding = None;
                }
                format!("r/{}/{index}", self.role.id)
            }
            3 | 4 => {
                let subscriber = PUBLISHERS + rng.random_range(0..SUBSCRIBERS);
                format!("c/{subscriber}/{}", rng.random_range(0..CHANGING))
            }
            _ => format!("t/{}", rng.random_range(0..TOPICS)),
        };
        let identifier = (qos > 0).then(|| self.identifier());
        let mut model = self.world.model.borrow_mut();
        let number = model.send(self.role.id, &topic, qos, padding);
        link.put(&packets::publish(
            &model.messages[number],
            identifier,
            false,
        ));
        if let Some(identifier) = identifier {
            self.outgoing.push(Outgoing {
                identifier,
                number,
                qos,
                received: false,
            });
        }
    }

    /// Asks for a topic of its own, or gives one up.
    fn change(&mut self, link: &mut Link) {
        let filter = format!("c/{}/{}", self.role.id, self.rng.random_range(0..CHANGING));
        let mut model = self.world.model.borrow_mut();
        let current = model.subscriptions.iter().position(|held| {
            held.client == self.role.id && held.filter == filter && held.removed.is_none()
        });
        let place = match current {
            Some(place) if model.subscriptions[place].granted.is_none() => return,
            Some(place) if model.subscriptions[place].removing.is_some() => return,
            Some(place) => {
                let tick = model.tick();
                model.subscriptions[place].removing = Some(tick);
                place
            }
            None => {
                let maximum_qos = self.rng.random_range(0..=2);
                let own = Subscribed::wanted(self.role.id, None, &filter, maximum_qos);
                model.subscriptions.push(own);
                model.subscriptions.len() - 1
            }
        };
        drop(model);
        self.ask(place, link);
    }

    /// The next that names nothing: the same numbers serve PUBLISH, SUBSCRIBE and UNSUBSCRIBE. [MQTT-2.2.1-3]
    fn identifier(&mut self) -> u16 {
        loop {
            self.next_identifier = self.next_identifier % 2000 + 1;
            let next = self.next_identifier;
            let taken = self.asking.contains_key(&next)
                || self
                    .outgoing
                    .iter()
                    .any(|outgoing| outgoing.identifier == next);
            if !taken {
                return next;
            }
        }
    }
}

const _: () = assert!(DURABLE >= 20);
