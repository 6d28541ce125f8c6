//! The store saved while the node runs, as a download. Contract section 1, `store export`.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer::{self, Outcome, Piece};
use super::call::Call;
use super::node::Pending;
use super::problem::Problem;

/// What was acknowledged before the request is in it; what comes while it is written is not.
pub(super) fn export(call: Call) -> Pending<'static, Outcome> {
    Box::pin(async move {
        let shared = &call.visit.shared;
        let Some(export) = shared.node.export() else {
            let why = "nothing outlives this process: store.kind is memory";
            return Err(Problem::Conflict(why.into()));
        };
        // A moment that is being read keeps its pages: two at once keep twice as many.
        let Ok(turn) = Arc::clone(&shared.exports).try_acquire_owned() else {
            return Err(Problem::Conflict("another export is under way".into()));
        };
        call.audit("export of the store".into())?;
        let (pieces, written) = mpsc::channel(1);
        let (out, download) = mpsc::channel(QUEUE);
        tokio::spawn(carry(written, out));
        tokio::task::spawn_blocking(move || {
            let mut pieces = Pieces {
                pieces,
                piece: Vec::new(),
            };
            let exported = export(&mut pieces).and_then(|records| {
                pieces.flush()?;
                Ok(records)
            });
            // Before the caller learns that it is over: the next may begin at once.
            drop(turn);
            match exported.and_then(|records| pieces.send(Piece::Whole).map(|()| records)) {
                Ok(records) => tracing::info!(records, "the store was exported"),
                Err(error) => tracing::warn!(%error, "an export of the store has failed"),
            }
        });
        Ok(answer::download("wardgate-store.export", download))
    })
}

/// To the caller, who has to keep on reading: whoever stops keeps the store from giving back the room of what is settled meanwhile.
async fn carry(mut written: mpsc::Receiver<Piece>, out: mpsc::Sender<Piece>) {
    while let Some(piece) = written.recv().await {
        match timeout(PATIENCE, out.send(piece)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// Collects what is written into pieces of one size.
struct Pieces {
    pieces: mpsc::Sender<Piece>,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&self, piece: Piece) -> io::Result<()> {
        let sent = self.pieces.blocking_send(piece);
        sent.map_err(|_| io::Error::other("whoever asked for it has stopped reading"))
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        match piece.is_empty() {
            true => Ok(()),
            false => self.send(Piece::Bytes(Bytes::from(piece))),
        }
    }
}

const PIECE: usize = 64 * 1024;
/// Pieces on their way.
const QUEUE: usize = 4;
/// For one piece.
const PATIENCE: Duration = Duration::from_secs(30);
