//! `wardgate sub`: prints the messages of topic filters.

use super::client_arguments::{
    ClientArguments, Failure, Reason, print_line, qos, user_properties_json,
};
use crate::client::Event;
use crate::client::io::Connection;
use crate::mqtt::{
    Connect, InvalidTopic, Publish, QoS, ReasonCode, SubAck, SubscribeFilter, Subscription,
    SubscriptionOptions, Text, TopicLimits,
};
use crate::units::Period;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Subscribe to topic filters and print what comes
///
/// Example: wardgate sub --url mqtts://localhost:8883 --ca ca.pem --username alice --password-stdin --topic 'telemetry/+/temperature' --json
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
    /// A topic filter, any number of times; $share/GROUP/FILTER shares it
    #[arg(long, required = true, value_parser = subscription)]
    topic: Vec<Subscription>,
    /// The highest QoS to receive
    #[arg(long, default_value = "0", value_parser = qos)]
    qos: QoS,
    /// Print kept messages only, then end
    #[arg(long)]
    retain: bool,
    /// End after so many messages
    #[arg(long)]
    count: Option<u64>,
    /// Print each message as a line of JSON, with topic and properties
    #[arg(long)]
    json: bool,
    /// Print the topic before each message
    #[arg(long, short, conflicts_with = "json")]
    verbose: bool,
    /// Give up after this time
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Period>,
    /// Resume the session of --client-id, and keep it for this long after the end (MQTT 3: for as long as the server likes)
    #[arg(long, value_name = "DURATION", requires = "client_id")]
    session_expiry: Option<Period>,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    super::client_arguments::run("sub", subscribe(arguments))
}

async fn subscribe(arguments: Arguments) -> Result<(), Failure> {
    let connect = arguments.connect()?;
    let (mut connection, _connack) = arguments.client.open(connect).await?;
    let outcome = {
        let timeout = arguments.timeout.map(Period::get);
        tokio::select! {
            outcome = arguments.receive(&mut connection) => outcome,
            () = sleep(timeout) => arguments.time_is_up(),
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Failure::Input),
        }
    };
    connection.disconnect(ReasonCode::Success).await?;
    outcome
}

impl Arguments {
    fn connect(&self) -> Result<Connect, Failure> {
        let mut connect = self.client.connect(self.client.password()?);
        if let Some(expiry) = self.session_expiry {
            connect.clean_start = false;
            connect.properties.session_expiry_interval = Some(expiry.as_secs_u32());
        }
        Ok(connect)
    }

    async fn receive(&self, connection: &mut Connection) -> Result<(), Failure> {
        let filters = self.topic.iter().map(|subscription| SubscribeFilter {
            subscription: Ok(subscription.clone()),
            options: SubscriptionOptions {
                maximum_qos: self.qos,
                ..SubscriptionOptions::default()
            },
        });
        let suback = connection.subscribe(filters.collect(), Vec::new()).await?;
        self.check(&suback)?;
        let mut received = 0;
        while self.count.is_none_or(|count| received < count) {
            match connection.next().await? {
                Event::Message(publish, acknowledgement) => {
                    if self.retain && !publish.retain {
                        return Ok(());
                    }
                    self.print(&publish)?;
                    received += 1;
                    if let Some(acknowledgement) = acknowledgement {
                        connection.client().acknowledge(acknowledgement);
                        connection.flush().await?;
                    }
                }
                Event::Disconnected(said) => {
                    let reason = Reason {
                        code: said.reason_code,
                        text: said.reason_string,
                    };
                    let what = "to go on".to_owned();
                    return Err(Failure::Refused { what, reason });
                }
                Event::Connected(_)
                | Event::Refused(_)
                | Event::Published(_)
                | Event::Subscribed(_)
                | Event::Unsubscribed(_)
                | Event::Authenticate(_) => {}
            }
        }
        Ok(())
    }

    /// One refused filter is a failure: half of what was asked for would look like all of it.
    fn check(&self, suback: &SubAck) -> Result<(), Failure> {
        let answers = self.topic.iter().zip(&suback.reason_codes);
        for (subscription, code) in answers {
            if code.is_error() {
                let text = suback.properties.as_ref().and_then(|known| known.0.clone());
                return Err(Failure::Refused {
                    what: format!("the subscription to {subscription}"),
                    reason: Reason { code: *code, text },
                });
            }
        }
        Ok(())
    }

    /// Failed only if messages were counted on.
    fn time_is_up(&self) -> Result<(), Failure> {
        match self.count {
            Some(count) if !self.retain => Err(Failure::Other(format!(
                "fewer than {count} messages in time"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    fn print(&self, publish: &Publish) -> Result<(), Failure> {
        if self.json {
            return print_line(&message_json(publish));
        }
        let mut out = std::io::stdout().lock();
        let topic = publish.topic.as_ref().filter(|_| self.verbose);
        let mut write = || {
            if let Some(topic) = topic {
                write!(out, "{topic} ")?;
            }
            out.write_all(&publish.payload)?;
            out.write_all(b"\n")?;
            out.flush()
        };
        write().map_err(Failure::Output)
    }
}

/// The payload as text where it is UTF-8, else in base64.
fn message_json(publish: &Publish) -> Value {
    let mut line = json!({
        "topic": publish.topic.as_ref().map(|topic| topic.as_str()),
        "qos": publish.qos.bits(),
        "retain": publish.retain,
        "dup": publish.dup,
    });
    let mut add = |name: &str, value: Value| {
        if let Value::Object(fields) = &mut line {
            fields.insert(name.to_owned(), value);
        }
    };
    match std::str::from_utf8(&publish.payload) {
        Ok(text) => add("payload", text.into()),
        Err(_) => add("payload_base64", STANDARD.encode(&publish.payload).into()),
    }
    let Some(properties) = publish.properties.as_deref() else {
        return line;
    };
    if let Some(is_text) = properties.payload_format_indicator {
        add("payload_format_indicator", u8::from(is_text).into());
    }
    if let Some(seconds) = properties.message_expiry_interval {
        add("message_expiry_interval", seconds.into());
    }
    if let Some(content_type) = &properties.content_type {
        add("content_type", content_type.as_str().into());
    }
    if let Some(topic) = &properties.response_topic {
        add("response_topic", topic.as_str().into());
    }
    if let Some(data) = &properties.correlation_data {
        add("correlation_data_base64", STANDARD.encode(data).into());
    }
    if !properties.subscription_identifiers.is_empty() {
        let identifiers = properties
            .subscription_identifiers
            .iter()
            .map(|known| known.get());
        add("subscription_identifiers", identifiers.collect());
    }
    if !properties.user_properties.is_empty() {
        add(
            "user_properties",
            user_properties_json(&properties.user_properties),
        );
    }
    line
}

async fn sleep(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

fn subscription(value: &str) -> Result<Subscription, InvalidTopic> {
    let limits = TopicLimits {
        levels: usize::from(u16::MAX),
        length: usize::from(u16::MAX),
    };
    Subscription::new(Text::try_from(value)?, limits)
}
