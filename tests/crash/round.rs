//! One round: traffic, a crash, a restart, as often as the seed says; then everybody takes what there is, and the judge compares.

use super::cast::{Cast, DURABLE, END, Habit};
use super::client::Client;
use super::judge::judge;
use super::link::Link;
use super::model::Model;
use super::packets;
use super::retained;
use super::support::broker::{Broker, LAB, Setup};
use super::wills::Mortal;
use super::world::{Phase, World};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;
use tokio::time::sleep;
use wardgate::mqtt::{Packet, ProtocolVersion};

/// How a round interrupts its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    Never,
    /// SIGKILL at a random moment; SIGTERM once in a while.
    Crash,
}

pub struct Outcome {
    pub faults: Vec<String>,
    pub summary: String,
    /// The folder and what it says, for who wants to look at them.
    pub broker: Broker,
}

/// Messages of a round, at least.
const MESSAGES: usize = 1000;
/// Longer than any right answer takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(seed: u64, store: &str, interruption: Interruption, patience: Duration) -> Outcome {
    block_on(round(seed, store, interruption, patience))
}

/// The broker's folder as two crashes leave it; `after_the_first` sees what the first one left.
pub fn left_behind(
    seed: u64,
    store: &str,
    gently: bool,
    after_the_first: impl Fn(&Path),
) -> Broker {
    block_on(async {
        let (world, mut players, mut broker, _) = begin(seed, store, PATIENCE);
        for target in [300, 700] {
            world.sent_max.set(target + 100);
            let moment = Duration::from_millis(5);
            players = traffic(&world, players, &mut broker, target, moment, gently).await;
            if target == 300 {
                after_the_first(broker.path());
                broker.start_again();
            }
        }
        broker
    })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, work)
}

fn begin(seed: u64, store: &str, patience: Duration) -> (Rc<World>, Players, Broker, StdRng) {
    let mut rng = StdRng::seed_from_u64(seed);
    let broker = Setup::new(LAB)
        .replacing("store: { kind: memory }", store)
        .start();
    let mut model = Model::default();
    let cast = Cast::draw(&mut rng, &mut model);
    let world = World::new(model, cast, patience);
    let players = Players::new(&world, &mut rng);
    (world, players, broker, rng)
}

async fn round(seed: u64, store: &str, interruption: Interruption, patience: Duration) -> Outcome {
    let started = Instant::now();
    let (world, mut players, mut broker, mut rng) = begin(seed, store, patience);
    let crashes = match interruption {
        Interruption::Never => 0,
        Interruption::Crash => rng.random_range(1..=3),
    };
    for crash in 0..crashes {
        let share = MESSAGES * (crash + 1) / crashes;
        let target = rng.random_range(share * 2 / 3..=share);
        let gently = rng.random_range(0..5) == 0;
        let moment = Duration::from_micros(rng.random_range(0..30_000));
        world.sent_max.set(share + 300);
        players = traffic(&world, players, &mut broker, target, moment, gently).await;
        broker.start_again();
        world.address.set(Some(broker.address("lab")));
        retained::check(&world).await;
    }
    if crashes == 0 {
        world.address.set(Some(broker.address("lab")));
    }
    world.sent_max.set(MESSAGES + 200);
    players = calm(&world, players).await;
    drain(&world, players).await;
    retained::check(&world).await;
    let model = world.model.borrow();
    let faults = judge(&model, &world.cast);
    let summary = format!(
        "{} sessions, {} messages, {} acknowledged, {} received, {crashes} crashes, {} faults, {:.1} s",
        DURABLE,
        model.messages.len(),
        model.acknowledged,
        model.received.len(),
        faults.len(),
        started.elapsed().as_secs_f32()
    );
    Outcome {
        faults,
        summary,
        broker,
    }
}

struct Players {
    clients: Vec<Client>,
    mortals: Vec<Mortal>,
}

impl Players {
    fn new(world: &Rc<World>, rng: &mut StdRng) -> Self {
        let (mortals, clients): (Vec<_>, Vec<_>) = world
            .cast
            .roles
            .iter()
            .cloned()
            .partition(|role| role.habit == Habit::Will);
        Self {
            clients: clients
                .into_iter()
                .map(|role| Client::new(role, Rc::clone(world), rng.random()))
                .collect(),
            mortals: mortals
                .into_iter()
                .map(|role| Mortal::new(role, Rc::clone(world), rng.random()))
                .collect(),
        }
    }

    /// Everybody through the phase that `conduct` conducts, and back.
    async fn play(self, conduct: impl Future<Output = ()>) -> Self {
        let clients: Vec<_> = self
            .clients
            .into_iter()
            .map(|mut client| {
                tokio::task::spawn_local(async move {
                    client.live().await;
                    client
                })
            })
            .collect();
        let mortals: Vec<_> = self
            .mortals
            .into_iter()
            .map(|mut mortal| {
                tokio::task::spawn_local(async move {
                    mortal.live().await;
                    mortal
                })
            })
            .collect();
        conduct.await;
        let mut back = Self {
            clients: Vec::new(),
            mortals: Vec::new(),
        };
        for client in clients {
            back.clients.push(client.await.unwrap());
        }
        for mortal in mortals {
            back.mortals.push(mortal.await.unwrap());
        }
        back
    }
}

/// Until so many messages were sent and that moment has come; then the broker is gone.
async fn traffic(
    world: &Rc<World>,
    players: Players,
    broker: &mut Broker,
    target: usize,
    moment: Duration,
    gently: bool,
) -> Players {
    world.address.set(Some(broker.address("lab")));
    world.phase.set(Phase::Traffic);
    players
        .play(async {
            sent(world, target).await;
            sleep(moment).await;
            world.phase.set(Phase::Down);
            if gently {
                broker.signal("TERM");
                while broker.is_running() {
                    sleep(Duration::from_millis(2)).await;
                }
            } else {
                broker.kill();
            }
        })
        .await
}

/// The rest of the messages, and nothing happens.
async fn calm(world: &Rc<World>, players: Players) -> Players {
    world.phase.set(Phase::Traffic);
    players
        .play(async {
            sent(world, MESSAGES).await;
            world.phase.set(Phase::Over);
        })
        .await
}

async fn sent(world: &World, target: usize) {
    let deadline = Instant::now() + world.patience;
    while world.model.borrow().messages.len() < target {
        if Instant::now() > deadline {
            world.violation(format!(
                "{target} messages were not sent in {:?}",
                world.patience
            ));
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Everybody finishes what is on its way; then two last messages show that each session's queue has come to its end.
async fn drain(world: &Rc<World>, players: Players) {
    world.phase.set(Phase::Drain);
    players
        .play(async {
            until(world, "what is on its way ends", |model| {
                (0..DURABLE).all(|client| model.settled.contains(&client))
            })
            .await;
            until(world, "wills are published", |model| model.wills_are_out()).await;
            match last_messages(world).await {
                Ok(numbers) => {
                    until(world, "every queue comes to its end", |model| {
                        model.everybody_has(&numbers, DURABLE)
                    })
                    .await;
                }
                Err(error) => world.violation(format!("the last messages failed: {error}")),
            }
            world.phase.set(Phase::Over);
        })
        .await;
}

async fn until(world: &World, what: &str, reached: impl Fn(&Model) -> bool) {
    let deadline = Instant::now() + world.patience;
    while !reached(&world.model.borrow()) {
        if Instant::now() > deadline {
            world.violation(format!(
                "in {:?} it did not come about that {what}",
                world.patience
            ));
            return;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

/// One of each QoS to everybody, acknowledged.
async fn last_messages(world: &World) -> io::Result<[usize; 2]> {
    let address = world.address.get().ok_or(io::ErrorKind::NotConnected)?;
    let connect = packets::passing("conductor", ProtocolVersion::V5_0, None);
    let (mut link, _) = Link::open(address, connect).await?;
    let mut numbers = [0; 2];
    for (number, qos) in numbers.iter_mut().zip([1, 2]) {
        {
            let mut model = world.model.borrow_mut();
            *number = model.send(usize::MAX, END, qos, Some(0));
            let identifier = Some(u16::from(qos));
            link.put(&packets::publish(
                &model.messages[*number],
                identifier,
                false,
            ));
        }
        link.flush().await?;
        loop {
            match link.next_within(world.patience).await? {
                Some(Packet::PubAck(_) | Packet::PubComp(_)) => break,
                Some(Packet::PubRec(ack)) => {
                    link.put(&Packet::PubRel(packets::ack(ack.packet_identifier.get())));
                    link.flush().await?;
                }
                other => return Err(io::Error::other(format!("{other:?}"))),
            }
        }
        world.model.borrow_mut().acknowledge(*number);
    }
    Ok(numbers)
}
