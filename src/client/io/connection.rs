//! Drives one client machine over one stream.

use super::Stream;
use crate::client::{Client, Event, ProtocolError, PublishError, SubscribeError};
use crate::mqtt::{
    Ack, ConnAck, Disconnect, Publish, QoS, ReasonCode, SubAck, SubscribeFilter, UserProperties,
};
use bytes::{Buf, BytesMut};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How much is encoded before it is written.
const WRITE_BATCH: usize = 64 * 1024;
/// How much room a read is given.
const READ_ROOM: usize = 16 * 1024;
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How many events may wait for [`Connection::next`] while another one is awaited.
const WAITING_MAX: usize = 65_536;

#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("the server refused the connection: {}", describe(.0))]
    Refused(Box<ConnAck>),
    #[error("the server closed the connection: {} (0x{:02X})", .0.reason_code.name(), .0.reason_code.byte())]
    Disconnected(Disconnect),
    #[error("the server closed the connection without saying why")]
    Closed,
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("more than {WAITING_MAX} messages came while waiting for an answer")]
    Backlog,
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    #[error("{0}")]
    Publish(#[from] PublishError),
    #[error("{0}")]
    Subscribe(#[from] SubscribeError),
}

/// A machine, its stream and the bytes between them.
pub struct Connection {
    client: Client,
    stream: Stream,
    inbound: BytesMut,
    outbound: BytesMut,
    /// Events that came while waiting for another one.
    waiting: VecDeque<Event>,
}

impl Connection {
    /// Sends CONNECT and waits for a CONNACK that says yes. Enhanced authentication: use [`Self::start`].
    pub async fn open(client: Client, stream: Stream) -> Result<(Self, ConnAck), ConnectionError> {
        let mut connection = Self::start(client, stream);
        loop {
            match connection.next().await? {
                Event::Connected(connack) => return Ok((connection, *connack)),
                Event::Refused(connack) => return Err(ConnectionError::Refused(connack)),
                Event::Disconnected(disconnect) => {
                    return Err(ConnectionError::Disconnected(disconnect));
                }
                Event::Message(..)
                | Event::Published(_)
                | Event::Subscribed(_)
                | Event::Unsubscribed(_)
                | Event::Authenticate(_) => {}
            }
        }
    }

    /// Only queues CONNECT: the first events tell how it goes.
    pub fn start(mut client: Client, stream: Stream) -> Self {
        client.connect(Instant::now());
        Self {
            client,
            stream,
            inbound: BytesMut::new(),
            outbound: BytesMut::new(),
            waiting: VecDeque::new(),
        }
    }

    /// For what needs no waiting: acknowledge, publish at QoS 0, authenticate. Goes out with the next [`Self::next`] or [`Self::flush`].
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The next thing that happens. Cancel-safe: dropped while waiting, nothing is lost.
    pub async fn next(&mut self) -> Result<Event, ConnectionError> {
        match self.waiting.pop_front() {
            Some(event) => Ok(event),
            None => self.next_fresh().await,
        }
    }

    /// Hands a message over; above QoS 0 waits for room in the window, not for the acknowledgement.
    pub async fn publish(&mut self, publish: Publish) -> Result<(), ConnectionError> {
        loop {
            match self.client.publish(publish.clone()) {
                Ok(_) => return self.flush().await,
                Err(PublishError::WindowFull) => self.wait().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Hands a message over and waits until it is settled. `None`: QoS 0 is never acknowledged.
    pub async fn publish_and_settle(
        &mut self,
        publish: Publish,
    ) -> Result<Option<Ack>, ConnectionError> {
        if publish.qos == QoS::AtMostOnce {
            self.publish(publish).await?;
            return Ok(None);
        }
        let identifier = loop {
            match self.client.publish(publish.clone()) {
                Ok(identifier) => break identifier,
                Err(PublishError::WindowFull) => self.wait().await?,
                Err(error) => return Err(error.into()),
            }
        };
        loop {
            let event = self.next_fresh().await?;
            if let Event::Published(ack) = &event
                && Some(ack.packet_identifier) == identifier
            {
                return Ok(Some(ack.clone()));
            }
            self.set_aside(event)?;
        }
    }

    /// Subscribes and waits for the answer.
    pub async fn subscribe(
        &mut self,
        filters: Vec<SubscribeFilter>,
        user_properties: UserProperties,
    ) -> Result<SubAck, ConnectionError> {
        let identifier = self.client.subscribe(filters, None, user_properties)?;
        loop {
            let event = self.next_fresh().await?;
            if let Event::Subscribed(suback) = &event
                && suback.packet_identifier == identifier
            {
                return Ok(suback.clone());
            }
            self.set_aside(event)?;
        }
    }

    /// Waits until every message above QoS 0 is settled.
    pub async fn settle(&mut self) -> Result<(), ConnectionError> {
        while !self.client.is_settled() {
            self.wait().await?;
        }
        self.flush().await
    }

    /// DISCONNECT, then closes; waits shortly for the server to close too, so that nothing sent is lost to a reset. Tells if the server had an objection.
    pub async fn disconnect(mut self, reason_code: ReasonCode) -> Result<(), ConnectionError> {
        self.client.disconnect(reason_code);
        let outcome = async {
            self.flush().await?;
            self.stream.shutdown().await?;
            Ok::<_, ConnectionError>(())
        };
        match (outcome.await, self.last_words().await) {
            (_, Some(Event::Disconnected(said))) => Err(ConnectionError::Disconnected(said)),
            (outcome, _) => outcome,
        }
    }

    /// Writes everything there is to say.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        loop {
            let now = Instant::now();
            while self.outbound.len() < WRITE_BATCH
                && self.client.poll_transmit(&mut self.outbound, now)
            {}
            if self.outbound.is_empty() {
                self.stream.flush().await?;
                return Ok(());
            }
            while self.outbound.has_remaining() {
                // One step at a time and counted at once, so that a dropped future loses nothing.
                if self.stream.write_buf(&mut self.outbound).await? == 0 {
                    return Err(ConnectionError::Closed);
                }
            }
        }
    }

    /// The raw stream and the bytes read beyond the last packet, for the load generator.
    pub fn into_stream(self) -> (Stream, BytesMut) {
        (self.stream, self.inbound)
    }

    /// One more event, set aside for [`Self::next`].
    async fn wait(&mut self) -> Result<(), ConnectionError> {
        let event = self.next_fresh().await?;
        self.set_aside(event)
    }

    fn set_aside(&mut self, event: Event) -> Result<(), ConnectionError> {
        match event {
            Event::Disconnected(disconnect) => Err(ConnectionError::Disconnected(disconnect)),
            Event::Refused(connack) => Err(ConnectionError::Refused(connack)),
            event @ (Event::Connected(_)
            | Event::Message(..)
            | Event::Published(_)
            | Event::Subscribed(_)
            | Event::Unsubscribed(_)
            | Event::Authenticate(_)) => {
                if self.waiting.len() >= WAITING_MAX {
                    return Err(ConnectionError::Backlog);
                }
                self.waiting.push_back(event);
                Ok(())
            }
        }
    }

    async fn next_fresh(&mut self) -> Result<Event, ConnectionError> {
        loop {
            if let Some(event) = self.client.poll_event() {
                return Ok(event);
            }
            if let Err(error) = self.flush().await {
                return self.last_words().await.ok_or(error);
            }
            self.inbound.reserve(READ_ROOM);
            let deadline = self.client.poll_timeout();
            tokio::select! {
                read = self.stream.read_buf(&mut self.inbound) => {
                    if read? == 0 {
                        self.client.connection_lost();
                        return Err(ConnectionError::Closed);
                    }
                    if let Err(error) = self.client.read(&mut self.inbound, Instant::now()) {
                        return Err(self.give_up(error).await);
                    }
                }
                () = sleep_until(deadline) => {
                    if let Err(error) = self.client.handle_timeout(Instant::now()) {
                        return Err(self.give_up(error).await);
                    }
                }
            }
        }
    }

    /// Why the server closes, if it said so: that counts more than the broken pipe it leaves.
    async fn last_words(&mut self) -> Option<Event> {
        let rest = async {
            while self.inbound.len() < READ_ROOM {
                match self.stream.read_buf(&mut self.inbound).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        // Nothing is awaited for long: what it said is here by now, well-formed or not.
        let _in_time = tokio::time::timeout(LAST_WORDS, rest).await;
        self.client.read_goodbye(&mut self.inbound)
    }

    /// Says why, if the server still listens; what failed first is what counts.
    async fn give_up(&mut self, error: ProtocolError) -> ConnectionError {
        let _already_failing = self.flush().await;
        error.into()
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Code, its name in the specification, and what the server added.
fn describe(connack: &ConnAck) -> String {
    let code = connack.reason_code;
    let text = format!("{} (0x{:02X})", code.name(), code.byte());
    match &connack.properties.reason_string {
        Some(reason) => format!("{text}: {reason}"),
        None => text,
    }
}
