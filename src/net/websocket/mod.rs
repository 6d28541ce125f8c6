//! MQTT over WebSocket: RFC 6455 with the subprotocol `mqtt`, as a stream of bytes. [MQTT-6.0.0-1] to [MQTT-6.0.0-4]; TRN-11.
//!
//! The handshake's key and the frames' headers are tungstenite's; its message assembly is not used, since it collects a whole message
//! before it gives out the first byte. Payload is unmasked where it was read, so an idle connection holds no buffer.

mod deframe;
mod head;
mod origin;
mod stream;
mod upgrade;

pub use self::deframe::{Deframer, Feedback, FrameError};
pub use self::head::HeadError;
pub use self::origin::OwnOrigin;
use self::origin::Page;
pub(super) use self::origin::is_origin;
pub use self::stream::WebSocketStream;
pub use self::upgrade::{UpgradeError, UpgradeRequest, judge, upgrade};
