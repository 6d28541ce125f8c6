//! Handshakes over loopback: versions, names, client certificates, tickets (TRN-5) and revocation (TRN-6, TRN-7).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::type_complexity,
    reason = "tests"
)]

mod certificates;
mod devices;
mod handshake;
mod resumption;
mod revocation;

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::fixtures::Folder;
use super::{PeerTls, ServerTls, TlsError};
use crate::net::config::{TlsConfig, Transport};

fn build(config: &TlsConfig, folder: &Folder) -> ServerTls {
    ServerTls::build(config, folder.path(), Transport::Tcp).unwrap()
}

/// One connection: what the server made of it, and the client's side of it if it got through.
async fn connect(
    server: &ServerTls,
    client: &Arc<ClientConfig>,
    host: &str,
) -> (Result<PeerTls, TlsError>, Option<ClientConnection>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connector = TlsConnector::from(Arc::clone(client));
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let serving = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let (mut stream, peer) = server.accept(tcp).await?;
        stream.write_all(b"!").await.unwrap();
        stream.flush().await.unwrap();
        // Until the client has read it, and with it the ticket.
        let _ = stream.read(&mut [0]).await;
        Ok(peer)
    };
    let calling = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let mut stream = connector.connect(name, tcp).await.ok()?;
        stream.read_exact(&mut [0]).await.ok()?;
        let (_, connection) = stream.into_inner();
        Some(connection)
    };
    tokio::join!(serving, calling)
}
