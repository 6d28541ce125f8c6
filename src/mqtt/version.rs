//! The protocol versions one port speaks, chosen by the CONNECT.

/// The version that a CONNECT's protocol name and level name: MQTT 5.0 section 3.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// `MQIsdp`, level 3.
    V3_1,
    /// `MQTT`, level 4.
    V3_1_1,
    /// `MQTT`, level 5.
    V5_0,
}

impl ProtocolVersion {
    pub fn is_v5(self) -> bool {
        self == Self::V5_0
    }

    /// As configuration, logs and metrics write it: `3.1`, `3.1.1`, `5.0`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V3_1 => "3.1",
            Self::V3_1_1 => "3.1.1",
            Self::V5_0 => "5.0",
        }
    }
}
