//! `wardgate pub`: publishes messages.

use super::client_arguments::{
    ClientArguments, Failure, Reason, only_in_v5, qos, text, user_property,
};
use crate::client::io::Connection;
use crate::client::{Event, PublishError};
use crate::mqtt::{
    Ack, InvalidTopic, Publish, PublishProperties, QoS, ReasonCode, Text, TopicLimits, TopicName,
};
use crate::units::Period;
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use std::io::Read;
use std::process::ExitCode;

/// Publish messages
///
/// Example: wardgate pub --url mqtts://localhost:8883 --ca ca.pem --cert pump-7.pem --key pump-7.key --topic telemetry/pump-7/temperature --message 21.5 --qos 1
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
    #[arg(long, value_parser = topic_name)]
    topic: TopicName,
    #[arg(long, default_value = "0", value_parser = qos)]
    qos: QoS,
    /// Ask the server to keep the message for later subscribers
    #[arg(long)]
    retain: bool,
    /// The payload; an empty one together with --retain removes what is kept
    #[arg(long, required_unless_present = "stdin", conflicts_with = "stdin")]
    message: Option<String>,
    /// Read the payload from standard input up to its end (after the line of --password-stdin)
    #[arg(long)]
    stdin: bool,
    /// Publish the message so many times
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Print each acknowledgement as a line of JSON
    #[arg(long)]
    json: bool,
    /// NAME=VALUE, any number of times; MQTT 5
    #[arg(long, value_name = "NAME=VALUE", value_parser = user_property)]
    user_property: Vec<(Text, Text)>,
    /// How long the message is worth delivering, such as 1h; MQTT 5
    #[arg(long, value_name = "DURATION")]
    expiry: Option<Period>,
    /// What the payload is, such as application/json; MQTT 5
    #[arg(long, value_parser = text)]
    content_type: Option<Text>,
    /// Where an answer is wanted; MQTT 5
    #[arg(long, value_name = "TOPIC", value_parser = topic_name)]
    response_topic: Option<TopicName>,
    /// What the answer will carry along; MQTT 5
    #[arg(long, value_name = "TEXT")]
    correlation_data: Option<String>,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    super::client_arguments::run("pub", publish(arguments))
}

async fn publish(arguments: Arguments) -> Result<(), Failure> {
    let properties = arguments.properties()?;
    let connect = arguments.client.connect(arguments.client.password()?);
    let message = Publish {
        dup: false,
        qos: arguments.qos,
        retain: arguments.retain,
        topic: Some(arguments.topic.clone()),
        packet_identifier: None,
        properties,
        payload: arguments.payload()?,
    };
    let (mut connection, _connack) = arguments.client.open(connect).await?;
    arguments.send(&mut connection, message).await?;
    connection.disconnect(ReasonCode::Success).await?;
    Ok(())
}

impl Arguments {
    fn payload(&self) -> Result<Bytes, Failure> {
        if let Some(message) = &self.message {
            return Ok(message.clone().into());
        }
        let mut payload = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut payload);
        read.map_err(Failure::Input)?;
        Ok(payload.into())
    }

    fn properties(&self) -> Result<Option<Box<PublishProperties>>, Failure> {
        let given = [
            ("--user-property", !self.user_property.is_empty()),
            ("--expiry", self.expiry.is_some()),
            ("--content-type", self.content_type.is_some()),
            ("--response-topic", self.response_topic.is_some()),
            ("--correlation-data", self.correlation_data.is_some()),
        ];
        only_in_v5(self.client.mqtt_version, &given)?;
        if given.iter().all(|(_, is_given)| !is_given) {
            return Ok(None);
        }
        Ok(Some(Box::new(PublishProperties {
            message_expiry_interval: self.expiry.map(Period::as_secs_u32),
            response_topic: self.response_topic.clone(),
            correlation_data: self.correlation_data.clone().map(Bytes::from),
            user_properties: self.user_property.clone(),
            content_type: self.content_type.clone(),
            ..PublishProperties::default()
        })))
    }

    /// As many at once as the server takes; ends when each is settled.
    async fn send(&self, connection: &mut Connection, message: Publish) -> Result<(), Failure> {
        let (mut sent, mut awaited) = (0, 0_u64);
        // Not `is_settled`: answers that came together are told one by one, and each may be a refusal.
        while sent < self.count || awaited > 0 {
            if sent < self.count {
                match connection.client().publish(message.clone()) {
                    Ok(identifier) => {
                        sent += 1;
                        connection.flush().await?;
                        match identifier {
                            Some(_) => awaited += 1,
                            None => self.report(None)?,
                        }
                        continue;
                    }
                    Err(PublishError::WindowFull) => {}
                    Err(error) => return Err(Failure::Other(error.to_string())),
                }
            }
            match connection.next().await? {
                Event::Published(ack) => {
                    awaited -= 1;
                    self.report(Some(ack))?;
                }
                Event::Disconnected(said) => {
                    let reason = Reason {
                        code: said.reason_code,
                        text: said.reason_string,
                    };
                    let what = "the connection".to_owned();
                    return Err(Failure::Refused { what, reason });
                }
                Event::Connected(_)
                | Event::Refused(_)
                | Event::Message(..)
                | Event::Subscribed(_)
                | Event::Unsubscribed(_)
                | Event::Authenticate(_) => {}
            }
        }
        Ok(())
    }

    /// `None`: QoS 0, which nobody acknowledges.
    fn report(&self, ack: Option<Ack>) -> Result<(), Failure> {
        let topic = self.topic.as_str();
        let code = ack.as_ref().map(|ack| ack.reason_code);
        let text = ack
            .and_then(|ack| ack.properties)
            .and_then(|properties| properties.0);
        if self.json {
            let line = json!({
                "topic": topic,
                "qos": self.qos.bits(),
                "reason_code": code.map(ReasonCode::byte),
                "reason": code.map(ReasonCode::name),
                "reason_string": text.as_deref(),
            });
            super::client_arguments::print_line(&line)?;
        }
        match code {
            Some(code) if code.is_error() => Err(Failure::Refused {
                what: format!("the message to {topic}"),
                reason: Reason { code, text },
            }),
            Some(_) | None => Ok(()),
        }
    }
}

fn topic_name(value: &str) -> Result<TopicName, InvalidTopic> {
    let limits = TopicLimits {
        levels: usize::from(u16::MAX),
        length: usize::from(u16::MAX),
    };
    TopicName::new(Text::try_from(value)?, limits)
}
