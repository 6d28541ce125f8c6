//! One admitted client: drives its session over its stream until either ends. DESIGN section 4

use super::node::Node;
use super::panics;
use super::reauthentication::Reauthentication;
use super::worker::{WORKER, Worker};
use crate::admission::{Admitted, Door, Occupied, Parts, Rules, event_about};
use crate::audit::{Event, Kind, Outcome};
use crate::mqtt::{Disconnect, Packet, ReasonCode, Will};
use crate::net::{PeerTls, Stream};
use crate::router::{Departure, End, Parked, Replay, Rights, RouteCache, SessionHandle};
use crate::session::{Output, Position, ProtocolError, Session};
use bytes::BytesMut;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A future without an `async` body: an idle connection costs its fields and nothing else.
pub struct Connection {
    pub(super) node: Arc<Node>,
    pub(super) stream: Stream,
    /// Taken out when the connection ends.
    pub(super) session: Session,
    pub(super) handle: Arc<SessionHandle>,
    pub(super) rights: Rights,
    /// Its places in every count, and its buckets.
    pub(super) occupied: Occupied,
    pub(super) routes: RouteCache,
    /// A packet of which a part has come.
    pub(super) partial: BytesMut,
    pub(super) output: Output,
    pub(super) replays: Vec<Replay>,
    /// What the client sent behind its CONNECT without waiting for the answer.
    pub(super) early: Option<Box<BytesMut>>,
    pub(super) door: Arc<Door>,
    pub(super) rules: Arc<Rules>,
    /// With a client certificate: to judge it again when the trust changes.
    pub(super) peer_tls: Option<Box<PeerTls>>,
    pub(super) will: Option<Box<Will>>,
    /// The highest sequence handed to the client, of a session that is kept.
    pub(super) sent: u64,
    /// The store wakes this connection when this is committed.
    pub(super) waits_for: Option<Position>,
    /// When something last came, or was last left unread.
    pub(super) last_received: Instant,
    pub(super) paused_until: Option<Instant>,
    /// Since when the peer has taken nothing of what waits for it.
    pub(super) write_stalled_since: Option<Instant>,
    pub(super) valid_until: Option<Instant>,
    pub(super) reauthentication: Option<Box<Reauthentication>>,
    timer: Option<Pin<Box<Sleep>>>,
    closing: Option<Box<Closing>>,
}

/// What a connection starts with besides what admission gave it.
pub struct Entry {
    pub session: Session,
    pub handle: Arc<SessionHandle>,
    pub replays: Vec<Replay>,
    /// CONNACK, and what is sent again.
    pub output: Output,
}

/// The last words are on their way.
struct Closing {
    until: Instant,
    ending: Ending,
}

/// Why a connection ends.
#[derive(Debug)]
pub enum Ending {
    /// DISCONNECT from the client.
    Disconnected(Disconnect),
    /// The peer closed, or the network failed, without a DISCONNECT.
    Lost(Option<std::io::Error>),
    Misbehaved(ProtocolError),
    /// Somebody asked for it.
    Asked(End),
    /// Our own fault.
    Panicked,
}

/// How long the peer may take for the last bytes.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a peer may take nothing of what waits for it (TRN-14).
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(30);

impl Connection {
    pub fn new(node: Arc<Node>, admitted: Admitted, entry: Entry) -> Self {
        let Admitted {
            grant,
            stream,
            received,
        } = admitted;
        let now = Instant::now();
        let valid_until = grant.valid_until(now);
        let Parts {
            rights: _,
            will,
            occupied,
            door,
            rules,
            peer_tls,
        } = grant.into_parts();
        node.connected();
        let rights = Rights::of(&entry.handle);
        if !Arc::ptr_eq(&rules, &door.rules.load_full()) {
            entry.handle.outbox().rejudge();
        }
        let mut connection = Self {
            node,
            stream,
            session: entry.session,
            handle: entry.handle,
            rights,
            sent: 0,
            waits_for: None,
            occupied,
            routes: RouteCache::default(),
            partial: BytesMut::new(),
            output: entry.output,
            replays: entry.replays,
            will: will.map(Box::new),
            last_received: now,
            paused_until: None,
            write_stalled_since: None,
            valid_until,
            reauthentication: None,
            timer: None,
            closing: None,
            early: (!received.is_empty()).then(|| Box::new(received)),
            door,
            rules,
            peer_tls,
        };
        connection
            .stream
            .set_message_limit(connection.rules.maximum_packet_size);
        connection
    }

    /// Ends the session's attachment.
    fn depart(&mut self, ending: &Ending) {
        self.tell_sent();
        let clean = matches!(ending, Ending::Disconnected(disconnect) if disconnect.reason_code == ReasonCode::Success);
        let session_expiry_interval = self.session.session_expiry_interval();
        let carried = self.session.take_carried();
        let will = self.will.take().filter(|_| !clean).map(|will| *will); // [MQTT-3.14.4-3]
        let departure = Departure {
            parked: Parked::new(carried, std::mem::take(&mut self.replays)),
            session_expiry_interval,
            will,
        };
        self.node
            .router
            .depart(&self.handle, departure, Instant::now());
    }

    /// Says why, as far as the peer may know, and lets the last bytes leave.
    fn begin_closing(&mut self, ending: Ending, now: Instant) {
        let reason_code = match &ending {
            Ending::Misbehaved(error) => Some(error.reason_code()),
            Ending::Asked(end) => Some(end.reason_code),
            Ending::Panicked => Some(ReasonCode::UnspecifiedError),
            Ending::Disconnected(_) | Ending::Lost(_) => None,
        };
        if let Some(reason_code) = reason_code.filter(|_| self.session.version().is_v5()) {
            let disconnect = Disconnect {
                reason_code,
                session_expiry_interval: None,
                reason_string: None,
                user_properties: Vec::new(),
                server_reference: None,
            };
            self.session
                .send(&Packet::Disconnect(disconnect), &mut self.output); // [MQTT-4.13.1-1]
        }
        self.audit_ending(&ending);
        // The session is free from here on: whoever takes it over does not wait for this peer to read our last words.
        self.depart(&ending);
        self.closing = Some(Box::new(Closing {
            until: now + FAREWELL,
            ending,
        }));
    }

    fn audit_ending(&self, ending: &Ending) {
        let (kind, outcome, reason) = match ending {
            Ending::Panicked => return self.node.record_panic(self.event()),
            Ending::Misbehaved(error) => (Kind::Protocol, Outcome::Refused, error.to_string()),
            Ending::Asked(end) => (Kind::Disconnect, Outcome::Refused, end.reason.clone()),
            Ending::Disconnected(_) => {
                (Kind::Disconnect, Outcome::Permitted, "disconnected".into())
            }
            Ending::Lost(None) => (
                Kind::Disconnect,
                Outcome::Permitted,
                "closed by the peer".into(),
            ),
            Ending::Lost(Some(error)) => (
                Kind::Disconnect,
                Outcome::Permitted,
                error.kind().to_string(),
            ),
        };
        self.node.record(Event {
            kind,
            outcome,
            reason,
            ..self.event()
        });
    }

    /// An audit event with all that is known of this client.
    pub(super) fn event(&self) -> Event {
        event_about(self.rights.subject())
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let Some(closing) = &self.closing else {
            return Poll::Ready(());
        };
        let until = closing.until;
        if matches!(closing.ending, Ending::Lost(_)) {
            return Poll::Ready(());
        }
        if now >= until || self.flush(cx, now).is_err() {
            return Poll::Ready(());
        }
        if self.output.is_empty() && self.poll_farewell(cx).is_ready() {
            return Poll::Ready(());
        }
        self.arm(cx, until);
        Poll::Pending
    }

    /// Closes our half and reads away what still comes: unread bytes would answer with a reset, which may overtake the DISCONNECT.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        const DRAINED: usize = 64;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).ok();
        let mut scratch = [0_u8; 1024];
        for _ in 0..DRAINED {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }

    /// Wakes this task at `at` at the latest.
    fn arm(&mut self, cx: &mut Context<'_>, at: Instant) {
        let at = tokio::time::Instant::from_std(at);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        // An earlier firing finds nothing due and arms again: a keep alive costs no timer work for each packet.
        if timer.deadline() > at || timer.is_elapsed() {
            timer.as_mut().reset(at);
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let silence = self
            .session
            .silence_limit()
            .map(|limit| self.last_received + limit);
        let stalled = self.write_stalled_since.map(|since| since + WRITE_DEADLINE);
        let answer_due = self
            .reauthentication
            .as_ref()
            .and_then(|under_way| under_way.until());
        [
            silence,
            stalled,
            self.valid_until,
            self.paused_until,
            answer_due,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What time alone brings about.
    fn check_deadlines(&mut self, now: Instant) -> Result<(), Ending> {
        if self.valid_until.is_some_and(|until| until <= now) {
            return Err(Ending::Asked(End {
                reason_code: ReasonCode::NotAuthorized,
                reason: "the credential has expired".into(),
            }));
        }
        if self
            .write_stalled_since
            .is_some_and(|since| since + WRITE_DEADLINE <= now)
        {
            return Err(Ending::Misbehaved(ProtocolError::WriteTimeout));
        }
        if self
            .reauthentication
            .as_ref()
            .and_then(|under_way| under_way.until())
            .is_some_and(|until| until <= now)
        {
            return Err(Ending::Asked(End {
                reason_code: ReasonCode::NotAuthorized,
                reason: "the answer to a challenge did not come in time".into(),
            }));
        }
        let silent = self
            .session
            .silence_limit()
            .is_some_and(|limit| self.last_received + limit <= now);
        if silent {
            return Err(Ending::Misbehaved(ProtocolError::KeepAliveTimeout)); // [MQTT-3.1.2-22]
        }
        Ok(())
    }

    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        now: Instant,
    ) -> Poll<Ending> {
        // Reads before it looks at the clock: what came in time counts, however late this task got its turn.
        if let Err(ending) = self
            .turn(cx, worker, now)
            .and_then(|()| self.poll_reauthentication(cx, now))
            .and_then(|()| self.check_deadlines(now))
        {
            return Poll::Ready(ending);
        }
        if let Some(deadline) = self.deadline() {
            self.arm(cx, deadline);
        }
        Poll::Pending
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let connection = self.get_mut();
        let now = Instant::now();
        if connection.closing.is_none() {
            let polled = panics::caught(|| {
                WORKER.with_borrow_mut(|worker| {
                    worker.lend(&mut connection.output);
                    let polled = connection.poll_open(cx, worker, now);
                    worker.wakes.wake();
                    worker.take_back(&mut connection.output, &connection.node.metrics);
                    polled
                })
            });
            let ending = match polled {
                Some(polled) => ready!(polled),
                None => {
                    // Whoever it had something for is not to wait for this thread's next turn.
                    WORKER.with_borrow_mut(|worker| worker.wakes.wake());
                    Ending::Panicked
                }
            };
            connection.begin_closing(ending, now);
        }
        connection.poll_closing(cx, now)
    }
}

impl Drop for Connection {
    /// Also when the task is dropped or panics: a session is never left attached to nobody.
    fn drop(&mut self) {
        if self.closing.is_none() {
            panics::caught(|| self.depart(&Ending::Lost(None)));
        }
        // Last: a stop that waits for nobody to be connected waits for the last words too.
        self.node.disconnected();
    }
}
