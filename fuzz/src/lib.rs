//! The functions behind the fuzz targets: each takes any bytes and panics only when a promise is broken. `tests/fuzz_corpus.rs` replays the seeds through them.

pub mod certificate;
pub mod connection;
pub mod decode;
pub mod filters;
pub mod policy;
pub mod proxy_protocol;
pub mod websocket_frames;
pub mod websocket_head;
