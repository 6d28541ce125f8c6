//! Clients that leave a will behind: it must be published when they are lost, also by a crash, and not when they took it back.

use super::cast::{Habit, Role};
use super::link::Link;
use super::model::ClientId;
use super::packets;
use super::world::{Phase, World};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io;
use std::rc::Rc;
use wardgate::mqtt::Packet;

pub struct Mortal {
    id: ClientId,
    role: Role,
    world: Rc<World>,
    rng: StdRng,
    lives: usize,
}

impl Mortal {
    pub fn new(role: Role, world: Rc<World>, seed: u64) -> Self {
        Self {
            id: role.id,
            role,
            world,
            rng: StdRng::seed_from_u64(seed),
            lives: 0,
        }
    }

    /// One life after another, each under a name of its own, until the phase is over.
    pub async fn live(&mut self) {
        while self.world.phase.get() == Phase::Traffic {
            self.lives += 1;
            // A connection that fails here fails by the crash.
            let _ = self.life().await;
            let pause = self.rng.random_range(20..200);
            self.world.pause(pause).await;
        }
    }

    async fn life(&mut self) -> io::Result<()> {
        let address = self
            .world
            .address
            .get()
            .ok_or(io::ErrorKind::NotConnected)?;
        let qos = self.rng.random_range(1..=2);
        let version_5 = self.role.version.is_v5();
        let delay = (version_5 && self.rng.random()).then_some(1);
        let (number, will) = {
            let mut model = self.world.model.borrow_mut();
            let number = model.send(self.id, &format!("w/{}", self.id), qos, Some(10));
            (number, packets::will(&model.messages[number], delay))
        };
        let name = format!("{}-{}", self.role.name, self.lives);
        let mut connect = packets::passing(&name, self.role.version, Some(will.clone()));
        if delay.is_some() {
            let named = Role {
                name: name.clone(),
                habit: Habit::Will,
                ..self.role.clone()
            };
            connect = packets::connect(&named, true, Some(will));
        }
        let (mut link, _) = Link::open(address, connect).await?;
        self.until_noticed(&mut link).await?;
        // From here on the broker knows of the will, whatever happens.
        let stays = self.rng.random_range(5..400);
        self.world.pause(stays).await;
        if self.world.phase.get() == Phase::Traffic && self.rng.random_range(0..3) == 0 {
            link.put(&packets::disconnect());
            link.flush().await?;
            // The broker's close says that it was heard: a connection of the same name that comes before that takes the session over, with its will. [MQTT-3.1.4-3]
            link.until_closed(self.world.patience).await?;
            let again = packets::passing(&name, self.role.version, None);
            let (mut link, _) = Link::open(address, again).await?;
            self.until_noticed(&mut link).await?;
            self.world.model.borrow_mut().messages[number].forbidden = true;
            return Ok(());
        }
        self.world.model.borrow_mut().acknowledge(number);
        Ok(())
    }

    /// A message that must be kept is acknowledged: all that was told before it is kept as well.
    async fn until_noticed(&mut self, link: &mut Link) -> io::Result<()> {
        let (number, packet) = {
            let mut model = self.world.model.borrow_mut();
            let number = model.send(self.id, &format!("m/{}", self.id), 1, Some(0));
            let packet = packets::publish(&model.messages[number], Some(1), false);
            (number, packet)
        };
        link.put(&packet);
        link.flush().await?;
        match link.next_within(self.world.patience).await? {
            Some(Packet::PubAck(_)) => {
                self.world.model.borrow_mut().acknowledge(number);
                Ok(())
            }
            other => Err(io::Error::other(format!("no PUBACK: {other:?}"))),
        }
    }
}
