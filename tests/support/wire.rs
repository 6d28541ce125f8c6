//! One connection to the broker, as bytes, over any transport.

use super::notation;
use super::websocket::WebSocket;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than any right answer takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub enum Transport {
    Tcp,
    Tls(Arc<ClientConfig>),
    Ws,
    Wss(Arc<ClientConfig>),
}

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

pub struct Wire {
    stream: Box<dyn Duplex>,
    socket: TcpStream,
    received: Vec<u8>,
    /// No packet may be larger.
    pub maximum: Option<usize>,
    /// Names the wire in failures.
    pub name: String,
}

impl Wire {
    pub fn dial(address: SocketAddr, transport: &Transport) -> Self {
        Self::try_dial(address, transport)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    pub fn try_dial(address: SocketAddr, transport: &Transport) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let tcp = socket.try_clone()?;
        let host = format!("localhost:{}", address.port());
        let stream: Box<dyn Duplex> = match transport {
            Transport::Tcp => Box::new(tcp),
            Transport::Tls(config) => Box::new(secure(tcp, config)?),
            Transport::Ws => Box::new(WebSocket::open(tcp, "/mqtt", &host, "")?),
            Transport::Wss(config) => {
                Box::new(WebSocket::open(secure(tcp, config)?, "/mqtt", &host, "")?)
            }
        };
        Ok(Self::over(stream, socket))
    }

    fn over(stream: Box<dyn Duplex>, socket: TcpStream) -> Self {
        Self {
            stream,
            socket,
            received: Vec::new(),
            maximum: None,
            name: "the wire".into(),
        }
    }

    /// Over a stream that the test prepared itself.
    pub fn from_stream(stream: impl Read + Write + Send + 'static, socket: TcpStream) -> Self {
        Self::over(Box::new(stream), socket)
    }

    /// Sends what `text` stands for in the notation of the tests.
    pub fn send(&mut self, text: &str) {
        self.send_bytes(&notation::bytes(text));
    }

    /// A peer that has closed already is no failure here: what it said is judged by the next expectation.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.try_send(bytes);
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next whole packet; `None` when the peer closed.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        self.receive_within(PATIENCE)
            .unwrap_or_else(|| panic!("{}: no packet within {PATIENCE:?}", self.name))
    }

    /// `None`: nothing in that time. `Some(None)`: closed.
    pub fn receive_within(&mut self, patience: Duration) -> Option<Option<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(packet) = self.take_packet() {
                let fits = self.maximum.is_none_or(|maximum| packet.len() <= maximum);
                assert!(
                    fits,
                    "{}: larger than {:?}: {}",
                    self.name,
                    self.maximum,
                    show(&packet)
                );
                return Some(Some(packet));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).ok()?;
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(None),
                Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(None),
            }
        }
    }

    fn take_packet(&mut self) -> Option<Vec<u8>> {
        let (length, used) = notation::variable_byte_integer(self.received.get(1..)?)?;
        let total = 1 + used + length;
        self.received.get(..total)?;
        let rest = self.received.split_off(total);
        Some(std::mem::replace(&mut self.received, rest))
    }

    /// The next packet is what `text` describes; gives it back.
    pub fn expect(&mut self, text: &str) -> Vec<u8> {
        let packet = self.receive();
        match packet {
            Some(packet) if notation::matches(text, &packet) => packet,
            Some(packet) => panic!("{}: expected {text}, received {}", self.name, show(&packet)),
            None => panic!("{}: expected {text}, but the broker closed", self.name),
        }
    }

    /// The peer closes without another byte.
    pub fn expect_closed(&mut self) {
        if let Some(packet) = self.receive() {
            panic!(
                "{}: expected the end, received {}",
                self.name,
                show(&packet)
            );
        }
        assert!(
            self.received.is_empty(),
            "{}: the end within a packet",
            self.name
        );
    }

    pub fn expect_then_closed(&mut self, text: &str) {
        self.expect(text);
        self.expect_closed();
    }

    /// The peer closes, whatever it says before: an MQTT 5 client may be told why.
    pub fn expect_end(&mut self) {
        while self.receive().is_some() {}
    }

    /// Two round trips with nothing in between: what was on its way when this was called would have come.
    pub fn expect_quiet(&mut self) {
        for _ in 0..2 {
            self.send("c0 00");
            self.expect("d0 00");
        }
    }

    /// CONNACK with this reason code (or return code).
    pub fn expect_connack(&mut self, code: u8) -> Vec<u8> {
        self.expect(&format!("20 .. ?? {code:02x} *"))
    }

    /// Goes away without a word, as when the network fails.
    pub fn drop_connection(self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

fn secure(
    tcp: TcpStream,
    config: &Arc<ClientConfig>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = "localhost".try_into().map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Hexadecimal with the readable part behind it.
pub fn show(packet: &[u8]) -> String {
    let start = &packet[..packet.len().min(96)];
    let hex: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{} ({} bytes: {:?})",
        hex.join(" "),
        packet.len(),
        String::from_utf8_lossy(start)
    )
}
