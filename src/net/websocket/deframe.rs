//! From frames to payload, in place and as the bytes come: no frame and no message is ever collected. RFC 6455 section 5; TRN-11.

use std::io::Cursor;
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// Until `set_message_limit` says otherwise: `unauthenticated.max_packet_size` by default.
const MESSAGE_LIMIT: u64 = 16 * 1024;

/// A megabyte in pieces of a kilobyte. Smaller pieces are an attack on the processor.
const FRAGMENTS_MAX: u32 = 1024;

/// Control frames and empty data frames carry nothing that a byte or message limit would count.
const IDLE_FRAMES_MAX: u32 = 120;
const IDLE_FRAMES_WINDOW: Duration = Duration::from_secs(60);

const HEADER_MAX: usize = 14;
const CONTROL_MAX: u64 = 125;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("WebSocket frame without a mask")]
    Unmasked,
    #[error("WebSocket frame with a reserved bit or opcode")]
    Reserved,
    #[error("WebSocket frame length is not in its shortest form")]
    Length,
    #[error("WebSocket control frame is fragmented or longer than 125 bytes")]
    Control,
    #[error("WebSocket close frame is malformed")]
    Close,
    #[error("WebSocket continuation of nothing, or a message within a message")]
    Continuation,
    #[error("WebSocket text frame: MQTT is binary")]
    Text,
    #[error("WebSocket message is larger than allowed")]
    TooLarge,
    #[error("WebSocket message in too many fragments")]
    TooManyFragments,
    #[error("too many WebSocket control frames")]
    Flood,
}

impl FrameError {
    /// What the peer is told. RFC 6455 section 7.4.1
    pub fn close_code(self) -> u16 {
        match self {
            Self::Unmasked
            | Self::Reserved
            | Self::Length
            | Self::Control
            | Self::Close
            | Self::Continuation => 1002,
            // [MQTT-6.0.0-1]
            Self::Text => 1003,
            Self::TooManyFragments | Self::Flood => 1008,
            Self::TooLarge => 1009,
        }
    }
}

/// What a call to `Deframer::advance` found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// So many bytes of payload are now at the front of what was given.
    pub payload: usize,
    /// To be answered with a Pong of the same bytes. Of several only the last, as RFC 6455 section 5.5.3 allows.
    pub ping: Option<Vec<u8>>,
    pub end: Option<End>,
}

/// Nothing is read after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer's Close frame, with the code to answer.
    Closed(u16),
    Failed(FrameError),
}

/// The reading half of a server's WebSocket connection. Pure: a fuzz target.
#[derive(Debug)]
pub struct Deframer {
    message_limit: u64,
    /// A header that has not wholly arrived.
    header: [u8; HEADER_MAX],
    header_length: usize,
    frame: Option<Frame>,
    /// A message whose last fragment has not come yet.
    message: Option<Message>,
    /// The payload of a control frame that has not wholly arrived.
    control: Vec<u8>,
    idle_frames: u32,
    idle_frames_since: Option<Instant>,
    end: Option<End>,
}

#[derive(Debug)]
struct Frame {
    control: Option<Control>,
    /// Rotated so that its first byte is for the next byte.
    mask: [u8; 4],
    left: u64,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    bytes: u64,
    fragments: u32,
}

impl Default for Deframer {
    fn default() -> Self {
        Self {
            message_limit: MESSAGE_LIMIT,
            header: [0; HEADER_MAX],
            header_length: 0,
            frame: None,
            message: None,
            control: Vec::new(),
            idle_frames: 0,
            idle_frames_since: None,
            end: None,
        }
    }
}

impl Deframer {
    /// Judged by the lengths that frames announce, from the next frame on.
    pub fn set_message_limit(&mut self, bytes: usize) {
        self.message_limit = bytes as u64;
    }

    /// Takes in all of `bytes` and leaves their payload, unmasked, at the front. Payload that came before a mistake is still given.
    pub fn advance(&mut self, bytes: &mut [u8], now: Instant) -> Feedback {
        let mut feedback = Feedback::default();
        let mut at = 0;
        while at < bytes.len() && self.end.is_none() {
            at = match self.frame {
                None => self.take_header(bytes, at, now),
                Some(_) => self.take_payload(bytes, at, &mut feedback),
            };
            self.finish_frame(&mut feedback);
        }
        feedback.end = self.end;
        feedback
    }

    /// Where the header's bytes end.
    fn take_header(&mut self, bytes: &[u8], at: usize, now: Instant) -> usize {
        let rest = bytes.get(at..).unwrap_or_default();
        if self.header_length == 0 {
            let mut cursor = Cursor::new(rest);
            return match FrameHeader::parse(&mut cursor) {
                Ok(Some((header, length))) => {
                    let taken = usize::try_from(cursor.position()).unwrap_or(rest.len());
                    self.begin_frame(&header, length, taken, now);
                    at.saturating_add(taken)
                }
                Ok(None) => {
                    for (kept, &byte) in self.header.iter_mut().zip(rest) {
                        *kept = byte;
                    }
                    self.header_length = rest.len().min(HEADER_MAX);
                    bytes.len()
                }
                Err(_) => self.fail(FrameError::Reserved, bytes.len()),
            };
        }
        // The rest of a header that was cut: a byte at a time, since nothing beyond it may be taken.
        if let (Some(kept), Some(&byte)) = (self.header.get_mut(self.header_length), rest.first()) {
            *kept = byte;
            self.header_length = self.header_length.saturating_add(1);
        }
        let known = self.header.get(..self.header_length).unwrap_or_default();
        match FrameHeader::parse(&mut Cursor::new(known)) {
            Ok(Some((header, length))) => {
                let taken = std::mem::take(&mut self.header_length);
                self.begin_frame(&header, length, taken, now);
            }
            Ok(None) => {}
            Err(_) => return self.fail(FrameError::Reserved, bytes.len()),
        }
        at.saturating_add(1)
    }

    fn begin_frame(
        &mut self,
        header: &FrameHeader,
        length: u64,
        header_length: usize,
        now: Instant,
    ) {
        match self.judge(header, length, header_length, now) {
            Ok(frame) => self.frame = Some(frame),
            Err(error) => self.end = Some(End::Failed(error)),
        }
    }

    fn judge(
        &mut self,
        header: &FrameHeader,
        length: u64,
        header_length: usize,
        now: Instant,
    ) -> Result<Frame, FrameError> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(FrameError::Reserved);
        }
        let mask = header.mask.ok_or(FrameError::Unmasked)?;
        if header.len(length) != header_length || length > i64::MAX as u64 {
            return Err(FrameError::Length);
        }
        let control = match header.opcode {
            OpCode::Control(control) => {
                if !header.is_final || length > CONTROL_MAX {
                    return Err(FrameError::Control);
                }
                Some(control)
            }
            OpCode::Data(data) => {
                self.judge_data(data, header.is_final, length)?;
                None
            }
        };
        if control.is_some() || length == 0 {
            self.count_idle_frame(now)?;
        }
        Ok(Frame {
            control,
            mask,
            left: length,
        })
    }

    fn judge_data(&mut self, data: Data, is_final: bool, length: u64) -> Result<(), FrameError> {
        let before = match (data, self.message) {
            (Data::Binary, None) => Message {
                bytes: 0,
                fragments: 0,
            },
            (Data::Continue, Some(message)) => message,
            (Data::Continue, None) | (Data::Binary, Some(_)) => {
                return Err(FrameError::Continuation);
            }
            (Data::Text, _) => return Err(FrameError::Text),
            (Data::Reserved(_), _) => return Err(FrameError::Reserved),
        };
        let message = Message {
            bytes: before.bytes.saturating_add(length),
            fragments: before.fragments.saturating_add(1),
        };
        if message.bytes > self.message_limit {
            return Err(FrameError::TooLarge);
        }
        if message.fragments > FRAGMENTS_MAX {
            return Err(FrameError::TooManyFragments);
        }
        self.message = (!is_final).then_some(message);
        Ok(())
    }

    fn count_idle_frame(&mut self, now: Instant) -> Result<(), FrameError> {
        let since = *self.idle_frames_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= IDLE_FRAMES_WINDOW {
            self.idle_frames_since = Some(now);
            self.idle_frames = 0;
        }
        self.idle_frames = self.idle_frames.saturating_add(1);
        if self.idle_frames > IDLE_FRAMES_MAX {
            return Err(FrameError::Flood);
        }
        Ok(())
    }

    /// Where the payload's bytes end.
    fn take_payload(&mut self, bytes: &mut [u8], at: usize, feedback: &mut Feedback) -> usize {
        let Some(frame) = &mut self.frame else {
            return at;
        };
        let here = bytes.len().saturating_sub(at);
        let taken = usize::try_from(frame.left).map_or(here, |left| left.min(here));
        let end = at.saturating_add(taken);
        if let Some(payload) = bytes.get_mut(at..end) {
            unmask(payload, frame.mask);
            frame.mask.rotate_left(taken % 4);
            frame.left = frame.left.saturating_sub(taken as u64);
            if frame.control.is_some() {
                self.control.extend_from_slice(payload);
            } else {
                bytes.copy_within(at..end, feedback.payload);
                feedback.payload = feedback.payload.saturating_add(taken);
            }
        }
        end
    }

    fn finish_frame(&mut self, feedback: &mut Feedback) {
        let Some(frame) = self.frame.take_if(|frame| frame.left == 0) else {
            return;
        };
        let Some(control) = frame.control else {
            return;
        };
        let payload = std::mem::take(&mut self.control);
        match control {
            Control::Ping => feedback.ping = Some(payload),
            // Nobody asked, nobody minds. RFC 6455 section 5.5.3
            Control::Pong => {}
            Control::Close => {
                self.end = Some(match close_code(&payload) {
                    Some(code) => End::Closed(code),
                    None => End::Failed(FrameError::Close),
                });
            }
            Control::Reserved(_) => self.end = Some(End::Failed(FrameError::Reserved)),
        }
    }

    fn fail(&mut self, error: FrameError, at: usize) -> usize {
        self.end = Some(End::Failed(error));
        at
    }
}

/// The code to echo: an empty Close is answered as a normal one. `None`: malformed. RFC 6455 section 5.5.1
fn close_code(payload: &[u8]) -> Option<u16> {
    if payload.is_empty() {
        return Some(1000);
    }
    let (&code, reason) = payload.split_first_chunk::<2>()?;
    let code = u16::from_be_bytes(code);
    let allowed = CloseCode::from(code).is_allowed() && std::str::from_utf8(reason).is_ok();
    allowed.then_some(code)
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (eights, rest) = bytes.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests;
