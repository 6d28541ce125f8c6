//! Closing so that the last words arrive.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How much of what a peer still sends is read away before we hang up regardless.
const DRAIN_MAX: usize = 64 * 1024;

/// Says goodbye (TLS close_notify, WebSocket Close, FIN) and reads on until the peer closes, at most 64 KiB and at most `within`.
///
/// A socket closed with unread bytes answers them with a reset, which may overtake the CONNACK or DISCONNECT that we just sent.
pub async fn finish<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, within: Duration) {
    let farewell = async {
        stream.shutdown().await?;
        let mut scratch = [0_u8; 2048];
        let mut drained = 0;
        while drained < DRAIN_MAX {
            match stream.read(&mut scratch).await? {
                0 => break,
                read => drained += read,
            }
        }
        std::io::Result::Ok(())
    };
    // Whatever went wrong: the connection ends here either way.
    let _ = tokio::time::timeout(within, farewell).await;
}
