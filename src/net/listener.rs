//! Listening sockets, with descriptors kept back for the files and the administrator.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A v3 client may have keep alive 0: then these probes find out within two minutes that it is gone. Contract section 3.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;

/// After the system had no descriptor or memory for one more connection: trying at once would only burn the processor.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Listens at `address`. `[::]` takes IPv4 too.
///
/// Accepted sockets inherit "no delay" and the probes from the listening one, which saves four system calls for each of them.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the last connections' TIME_WAIT to pass.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A lone message is sent at once.
    socket.set_tcp_nodelay(true)?;
    let probes = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&probes)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// How many connections the process may hold, so that store, logs and administrator always find a descriptor (LIM-8). One for all listeners.
#[derive(Clone, Debug)]
pub struct Descriptors {
    free: Arc<Semaphore>,
    total: usize,
    refused: Arc<AtomicU64>,
}

impl Descriptors {
    /// Kept back for everything that is not a client's connection.
    pub const RESERVE: usize = 256;

    /// As the system allows this process, whose soft limit is raised to the hard one first: a shell's default of 1,024 is no broker's.
    pub fn of_process() -> Self {
        Self::new(
            raise_open_files_limit()
                .saturating_sub(Self::RESERVE)
                .max(64),
        )
    }

    pub fn new(connections: usize) -> Self {
        let total = connections.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(total)),
            total,
            refused: Arc::default(),
        }
    }

    pub fn total(&self) -> usize {
        self.total
    }

    /// Connections that were closed because all were in use.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub fn in_use(&self) -> usize {
        self.total.saturating_sub(self.free.available_permits())
    }
}

/// The limit of open files that is now in force.
fn raise_open_files_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let in_force = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // No limit is stated as none.
    in_force.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    })
}

/// A listening socket and its share in the process's descriptors.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    descriptors: Descriptors,
}

/// A connection of which nothing was read yet.
#[derive(Debug)]
pub struct Accepted {
    pub stream: TcpStream,
    /// IPv4 addresses that came over an IPv6 socket are IPv4 here.
    pub peer: SocketAddr,
    pub slot: Slot,
}

/// The descriptor of one connection: to be kept as long as the socket.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

impl Listener {
    pub fn bind(address: SocketAddr, descriptors: Descriptors) -> io::Result<Self> {
        Ok(Self {
            socket: bind(address)?,
            descriptors,
        })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection. Cancel-safe. Ends only when the listening socket itself is broken.
    ///
    /// When all descriptors for connections are in use, newcomers are closed at once rather than left hanging in the backlog.
    pub async fn accept(&self) -> io::Result<Accepted> {
        loop {
            let (stream, peer) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) if is_exhaustion(&error) => {
                    tracing::warn!(%error, "no resources to accept a connection");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Ok(permit) = Arc::clone(&self.descriptors.free).try_acquire_owned() else {
                drop(stream);
                self.descriptors.refused.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%peer, "closed: every descriptor for connections is in use");
                continue;
            };
            return Ok(Accepted {
                stream,
                peer: canonical(peer),
                slot: Slot(permit),
            });
        }
    }
}

/// `::ffff:192.0.2.1` is 192.0.2.1 for every limit, ban and rule.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// What accept(2) reports about a connection that died before we took it.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::Interrupted
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TimedOut
    )
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM.
fn is_exhaustion(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
        || matches!(error.raw_os_error(), Some(23 | 24 | 105))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use socket2::SockRef;
    use tokio::io::AsyncReadExt;

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn an_accepted_socket_has_no_delay_and_probes() {
        let listener = Listener::bind(loopback(), Descriptors::new(10)).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let accepted = listener.accept().await.unwrap();
        let socket = SockRef::from(&accepted.stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_RETRIES);
    }

    #[tokio::test]
    async fn an_ipv4_peer_of_an_ipv6_socket_is_ipv4() {
        let listener = Listener::bind("[::]:0".parse().unwrap(), Descriptors::new(10)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().peer.ip(), loopback().ip());
    }

    #[tokio::test]
    async fn lim_08_the_reserve_of_descriptors_is_not_for_clients() {
        let descriptors = Descriptors::new(1);
        let listener = Listener::bind(loopback(), descriptors.clone()).unwrap();
        let address = listener.local_addr().unwrap();
        let _first = TcpStream::connect(address).await.unwrap();
        let first = listener.accept().await.unwrap();
        assert_eq!(descriptors.in_use(), 1);

        let mut second = TcpStream::connect(address).await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(waiting.is_err(), "the second connection was handed out");
        let read = second.read(&mut [0; 1]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "closed at once: {read:?}");

        assert_eq!(descriptors.refused(), 1);
        drop(first);
        let _third = TcpStream::connect(address).await.unwrap();
        listener.accept().await.unwrap();
    }

    #[test]
    fn the_limit_of_open_files_is_raised_as_far_as_it_goes() {
        let files = raise_open_files_limit();
        assert_eq!(raise_open_files_limit(), files);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert!(Descriptors::of_process().total() < files);
    }
}
