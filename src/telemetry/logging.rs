//! The operator's log on standard error, as text or JSON.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::escape;

/// `log`: what goes to standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    pub level: Level,
    pub format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Starts logging for the whole process. A second call changes nothing, as tests in one process need.
pub fn init(config: &LogConfig) {
    // The libraries below us log what peers sent: only their warnings, whatever our level (LOG-1).
    let ours = LevelFilter::from(config.level);
    let theirs = ours.min(LevelFilter::WARN);
    let filter = tracing_subscriber::EnvFilter::default()
        .add_directive(theirs.into())
        .add_directive(target(ours));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(HarmlessStderr);
    let _ = match config.format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}

fn target(level: LevelFilter) -> tracing_subscriber::filter::Directive {
    format!("wardgate={level}")
        .parse()
        .unwrap_or_else(|_| level.into())
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Standard error behind the escaping of LOG-2: a formatter hands each event over as one buffer, so its last byte is the only true line end.
#[derive(Clone, Copy)]
struct HarmlessStderr;

impl MakeWriter<'_> for HarmlessStderr {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for HarmlessStderr {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(&harmless_event(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn harmless_event(event: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(event);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let mut out = escape::harmless_line(line);
    out.push('\n');
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_02_an_event_is_one_line_whatever_its_fields_hold() {
        let event = b"INFO login client_id=a\nINFO forged \x1b[2J\xe2\x80\xae\n";
        let line = harmless_event(event);
        assert_eq!(
            String::from_utf8_lossy(&line),
            "INFO login client_id=a\\u000aINFO forged \\u001b[2J\\u202e\n"
        );
    }
}
