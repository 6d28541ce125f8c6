//! A bare rustls server, on one thread: handshake, CONNECT, CONNACK, and whatever comes until the client leaves.
//!
//! Its one argument is a file with the folder of the certificates and the ports for TLS and mutual TLS, a line each.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

fn main() -> Result<(), Box<dyn Error>> {
    let settings = std::fs::read_to_string(std::env::args().nth(1).ok_or("which file?")?)?;
    let mut lines = settings.lines();
    let mut next = || lines.next().ok_or("folder, port, port");
    let (folder, tls, mutual) = (Path::new(next()?), next()?.parse()?, next()?.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let other = serve(tls, acceptor(folder, false)?);
        let mutual = serve(mutual, acceptor(folder, true)?);
        tokio::try_join!(other, mutual)?;
        Ok(())
    })
}

fn acceptor(folder: &Path, mutual: bool) -> Result<TlsAcceptor, Box<dyn Error>> {
    let read = |name: &str| {
        CertificateDer::pem_file_iter(folder.join(name))?.collect::<Result<Vec<_>, _>>()
    };
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key"))?;
    let verifier = if mutual {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(read("ca.pem")?);
        WebPkiClientVerifier::builder(Arc::new(roots)).build()?
    } else {
        WebPkiClientVerifier::no_client_auth()
    };
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(read("server.pem")?, key)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(port: u16, acceptor: TlsAcceptor) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        // How a client leaves is its own business here.
        tokio::spawn(async move { drop(greet(acceptor, stream).await) });
    }
}

async fn greet(acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut bytes = [0; 1024];
    if stream.read(&mut bytes).await? > 0 {
        stream.write_all(&[0x20, 2, 0, 0]).await?;
        while stream.read(&mut bytes).await? > 0 {}
    }
    Ok(())
}
