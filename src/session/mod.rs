//! One client's state machine: packets and `now` in, bytes and actions out; it never touches a socket or a clock. MQTT 5.0 section 4

mod config;

pub use self::config::{MqttConfig, QueueConfig, RetainedConfig, WhenFull};
