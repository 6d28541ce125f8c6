//! All connections of one throughput or latency measurement, and what they count.

use super::super::client_arguments::Failure;
use super::Common;
use super::clock::Clock;
use super::flow::Flow;
use super::histogram::Histogram;
use super::link::{Link, Scratch, scratch};
use super::pacer::Pace;
use super::publisher::{Publisher, Topics};
use super::shape::Plan;
use super::subscriber::{Subscriber, Tally};
use super::template::Template;
use crate::client::io::{Connection, ConnectionError};
use crate::mqtt::{
    ConnAck, Connect, QoS, ReasonCode, SubscribeFilter, Subscription, SubscriptionOptions, Text,
    TopicLimits,
};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Filters in one SUBSCRIBE.
const FILTERS_AT_ONCE: usize = 50;

/// For a broker that is not available yet.
const RETRIES: u32 = 50;
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// What a message is, in all measurements.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct MessageArguments {
    #[arg(long, default_value = "0", value_parser = super::super::client_arguments::qos)]
    pub(super) qos: QoS,
    /// Bytes of payload, at least 16
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=16_777_216))]
    pub(super) payload: u32,
    /// Subscribers' sessions outlive their connections: what they get has to be stored first
    #[arg(long)]
    pub(super) durable: bool,
}

pub(super) struct Rig {
    pub(super) tally: Rc<Tally>,
    pub(super) is_stopped: Rc<Cell<bool>>,
    tasks: JoinSet<io::Error>,
}

pub(super) struct Load {
    pub(super) message: MessageArguments,
    pub(super) window: u64,
    /// One for each publisher, or none.
    pub(super) paces: Vec<Arc<Pace>>,
}

impl Rig {
    /// Connects and subscribes everybody; publishers begin at once.
    pub(super) async fn start(common: &Common, plan: Plan, load: Load) -> Result<Self, Failure> {
        let password = common.client.password()?;
        let flows = plan
            .publishers
            .iter()
            .map(|_| Rc::new(Flow::new(load.window, plan.copies)));
        let tally = Rc::new(Tally {
            flows: flows.collect(),
            disordered: Cell::new(0),
            latencies: RefCell::new(Histogram::new()),
            is_timed: Cell::new(false),
            clock: Clock::start(),
        });
        let payload = usize::try_from(load.message.payload).unwrap_or(usize::MAX);
        let builder = Builder {
            common,
            password,
            scratch: scratch(payload + 1024),
            qos: load.message.qos,
            durable: load.message.durable,
        };
        let mut tasks = JoinSet::new();
        for (index, filters) in plan.subscribers.into_iter().enumerate() {
            let link = builder.subscriber(index, &filters).await?;
            tasks.spawn_local(Subscriber::new(link, Rc::clone(&tally)));
        }
        let is_stopped = Rc::new(Cell::new(false));
        let mut publishers = Vec::new();
        for (index, topics) in plan.publishers.into_iter().enumerate() {
            let (link, receive_maximum) = builder.publisher(index).await?;
            let Some(flow) = tally.flows.get(index) else {
                continue;
            };
            publishers.push(Publisher {
                link,
                index: u32::try_from(index).unwrap_or(u32::MAX),
                flow: Rc::clone(flow),
                template: builder.template(&topics, payload)?,
                topics,
                qos: builder.qos,
                receive_maximum,
                acknowledged: 0,
                identifier: 0,
                pace: load.paces.get(index).cloned(),
                clock: tally.clock,
                is_stopped: Rc::clone(&is_stopped),
            });
        }
        for publisher in publishers {
            tasks.spawn_local(publisher);
        }
        Ok(Self {
            tally,
            is_stopped,
            tasks,
        })
    }

    /// Lets everything run for a while; a connection that breaks ends the measurement.
    pub(super) async fn run_for(&mut self, time: Duration) -> Result<(), Failure> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            Some(ended) = self.tasks.join_next() => Err(match ended {
                Ok(error) => Failure::Other(format!("a connection broke: {error}")),
                Err(error) => Failure::Other(error.to_string()),
            }),
        }
    }

    pub(super) fn delivered(&self) -> u64 {
        self.tally.flows.iter().map(|flow| flow.delivered()).sum()
    }

    /// Stops the publishers and waits for what is under way; returns the deliveries that never came.
    pub(super) async fn drain(&mut self) -> Result<u64, Failure> {
        self.is_stopped.set(true);
        for _ in 0..100 {
            self.run_for(Duration::from_millis(20)).await?;
            if self.missing() == 0 {
                break;
            }
        }
        Ok(self.missing())
    }

    fn missing(&self) -> u64 {
        self.tally.flows.iter().map(|flow| flow.missing()).sum()
    }
}

struct Builder<'a> {
    common: &'a Common,
    password: Option<Bytes>,
    scratch: Scratch,
    qos: QoS,
    durable: bool,
}

impl Builder<'_> {
    async fn subscriber(&self, index: usize, filters: &[String]) -> Result<Link, Failure> {
        let (mut connection, _) = self.open("s", index).await?;
        for filters in filters.chunks(FILTERS_AT_ONCE) {
            let filters = filters.iter().map(|filter| self.filter(filter));
            let suback = connection.subscribe(filters.collect(), Vec::new()).await?;
            if let Some(code) = suback
                .reason_codes
                .iter()
                .find(|code| code.byte() != self.qos.bits())
            {
                let what = format!("a subscription was answered with {}", code.name());
                return Err(Failure::Other(what));
            }
        }
        Ok(self.link(connection))
    }

    async fn publisher(&self, index: usize) -> Result<(Link, u64), Failure> {
        let (connection, receive_maximum) = self.open("p", index).await?;
        Ok((self.link(connection), receive_maximum))
    }

    fn link(&self, connection: Connection) -> Link {
        let version = self.common.client.mqtt_version;
        Link::new(connection, version, Rc::clone(&self.scratch))
    }

    async fn open(&self, role: &str, index: usize) -> Result<(Connection, u64), Failure> {
        let mut connect = self.common.client.connect(self.password.clone());
        connect.client_identifier = numbered(&self.common.client.client_id, role, index)?;
        // Longer than any measurement, and not 0, which some brokers refuse.
        connect.keep_alive = u16::MAX;
        if self.durable && role == "s" {
            connect.clean_start = connect.protocol_version.is_v5();
            connect.properties.session_expiry_interval =
                connect.protocol_version.is_v5().then_some(3600);
        }
        let (connection, connack) = self.connected(connect).await?;
        let receive_maximum = connack.properties.receive_maximum;
        Ok((
            connection,
            receive_maximum.map_or(60_000, |maximum| u64::from(maximum.get())),
        ))
    }

    /// A broker that is busy with what came before says so, and is asked again.
    async fn connected(&self, connect: Connect) -> Result<(Connection, ConnAck), Failure> {
        for _ in 0..RETRIES {
            match self.common.client.open(connect.clone()).await {
                Err(Failure::Connection(ConnectionError::Refused(connack)))
                    if connack.reason_code == ReasonCode::ServerUnavailable => {}
                outcome => return outcome,
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        self.common.client.open(connect).await
    }

    fn filter(&self, filter: &str) -> SubscribeFilter {
        let limits = TopicLimits::default();
        let filter = Text::try_from(filter).map_err(Into::into);
        SubscribeFilter {
            subscription: filter.and_then(|filter| Subscription::new(filter, limits)),
            options: SubscriptionOptions {
                maximum_qos: self.qos,
                ..SubscriptionOptions::default()
            },
        }
    }

    fn template(&self, topics: &Topics, payload: usize) -> Result<Template, Failure> {
        let length = u16::try_from(topics.length());
        let length = length.map_err(|_| Failure::Other("the topic is too long".to_owned()))?;
        let version = self.common.client.mqtt_version;
        Ok(Template::new(length, self.qos, version, payload))
    }
}

/// `--client-id` and a number, so that each connection has its own.
pub(super) fn numbered(prefix: &str, role: &str, index: usize) -> Result<Text, Failure> {
    let prefix = if prefix.is_empty() { "bench" } else { prefix };
    let identifier = format!("{prefix}-{role}{index}");
    Text::try_from(identifier.as_str()).map_err(|error| Failure::Other(error.to_string()))
}
