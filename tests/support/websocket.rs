//! A WebSocket client of a few lines, so that tests can also send frames that no library would.

use std::io::{self, Read, Write};

/// The example of RFC 6455 section 1.3, whose answer is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;

/// The upgrade request that a good client sends.
pub fn request(path: &str, host: &str, extra: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n{extra}\r\n"
    )
}

/// One frame as a client sends it. RFC 6455 section 5.2
pub fn frame(opcode: u8, last: bool, content: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];
    let mut frame = vec![opcode | if last { 0x80 } else { 0 }];
    match content.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        content
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// The answer's head, up to the empty line.
pub fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16384 {
        if stream.read(&mut byte)? == 0 {
            break;
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Bytes in, binary frames out, and back.
pub struct WebSocket<S> {
    pub stream: S,
    incoming: Vec<u8>,
    ready: Vec<u8>,
    closed: bool,
}

impl<S: Read + Write> WebSocket<S> {
    pub fn open(mut stream: S, path: &str, host: &str, extra: &str) -> io::Result<Self> {
        stream.write_all(request(path, host, extra).as_bytes())?;
        stream.flush()?;
        let head = read_head(&mut stream)?;
        let lower = head.to_ascii_lowercase();
        // [MQTT-6.0.0-4]
        let good = head.starts_with("HTTP/1.1 101")
            && head.contains(ACCEPT)
            && lower.contains("sec-websocket-protocol: mqtt\r\n");
        if !good {
            return Err(io::Error::other(format!("no upgrade: {head}")));
        }
        Ok(Self {
            stream,
            incoming: Vec::new(),
            ready: Vec::new(),
            closed: false,
        })
    }

    /// Takes one whole frame out of what has come, if there is one.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.incoming.get(..2)?;
        let (opcode, short) = (head[0] & 0x0f, usize::from(head[1] & 0x7f));
        let (length, start) = match short {
            126 => (
                usize::from(u16::from_be_bytes(
                    self.incoming.get(2..4)?.try_into().ok()?,
                )),
                4,
            ),
            127 => {
                let length = u64::from_be_bytes(self.incoming.get(2..10)?.try_into().ok()?);
                (usize::try_from(length).ok()?, 10)
            }
            short => (short, 2),
        };
        self.incoming.get(start..start + length)?;
        let rest = self.incoming.split_off(start + length);
        let content = std::mem::replace(&mut self.incoming, rest).split_off(start);
        Some((opcode, content))
    }
}

impl<S: Read + Write> Read for WebSocket<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() && !self.closed {
            match self.take_frame() {
                Some((0 | BINARY, content)) => self.ready = content,
                Some((CLOSE, _)) => self.closed = true,
                Some((TEXT, _)) => {
                    return Err(io::Error::other(
                        "a text frame from the server [MQTT-6.0.0-1]",
                    ));
                }
                Some(_) => {}
                None => {
                    let mut buffer = [0; 16384];
                    match self.stream.read(&mut buffer)? {
                        0 => self.closed = true,
                        read => self.incoming.extend_from_slice(&buffer[..read]),
                    }
                }
            }
        }
        let taken = out.len().min(self.ready.len());
        out[..taken].copy_from_slice(&self.ready[..taken]);
        self.ready.drain(..taken);
        Ok(taken)
    }
}

impl<S: Read + Write> Write for WebSocket<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write_all(&frame(BINARY, true, bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
