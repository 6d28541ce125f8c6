//! Enhanced authentication: AUTH packets between CONNECT and CONNACK, inside the deadline of the other stages. MQTT 5.0 section 4.12

use super::greet::{Greeted, Unread, read_frame};
use super::refusal::{Cause, Refused};
use crate::identity::io::{Chain, Challenge, Enhanced, ScramVerdict};
use crate::identity::{Credentials, Method, Rejection};
use crate::mqtt::{
    Auth, DecodeError, Packet, PacketType, ProtocolVersion, ReasonCode, Text, decode,
    encode_within, frame_length,
};
use crate::secret::Secret;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

/// What a client has brought under the method that it named.
pub enum Demand {
    /// Everything there is: the chain may judge it.
    Complete,
    /// An answer is due first.
    Challenged(Box<Challenge>),
}

/// Fits credentials to the method that a client named; from then on nothing else answers for it. `None`: that method is not offered.
pub fn demand(
    chain: &Chain,
    method: &str,
    data: Option<&Bytes>,
    credentials: &mut Credentials,
) -> Option<Result<Demand, Rejection>> {
    match chain.enhanced(method)? {
        Enhanced::Jwt => {
            credentials.demanded = Some(Method::JWT);
            credentials.password = None;
            credentials.authorization = data.map(|data| Arc::new(Secret::new(data.to_vec())));
            Some(Ok(Demand::Complete))
        }
        Enhanced::Scram(server) => {
            credentials.demanded = Some(Method::SCRAM);
            credentials.password = None;
            let challenge = server.challenge(data.map(Bytes::as_ref).unwrap_or_default());
            Some(challenge.map(|challenge| Demand::Challenged(Box::new(challenge))))
        }
    }
}

impl Greeted {
    pub(super) fn demand(
        &self,
        credentials: &mut Credentials,
    ) -> Result<Option<Box<Challenge>>, Cause> {
        let properties = &self.connect.properties;
        let Some(method) = &properties.authentication_method else {
            return Ok(None);
        };
        let data = properties.authentication_data.as_ref();
        match demand(&self.rules.chain, method, data, credentials) {
            None => Err(Cause::AuthenticationMethod), // [MQTT-4.12.0-1]
            Some(Ok(Demand::Complete)) => Ok(None),
            Some(Ok(Demand::Challenged(challenge))) => Ok(Some(challenge)),
            Some(Err(rejection)) => Err(rejection.into()),
        }
    }

    /// Sends the challenge and waits for the answer to it.
    pub(super) async fn converse(
        &mut self,
        challenge: Box<Challenge>,
    ) -> Result<ScramVerdict, Cause> {
        let method = self.connect.properties.authentication_method.clone();
        let server_first = Bytes::copy_from_slice(challenge.server_first().as_bytes());
        let continued = ReasonCode::ContinueAuthentication; // [MQTT-4.12.0-2]
        let packet = auth(continued, method.clone(), Some(server_first));
        let maximum = self.connect.properties.maximum_packet_size;
        let maximum = maximum
            .and_then(|maximum| usize::try_from(maximum.get()).ok())
            .unwrap_or(usize::MAX);
        let mut bytes = BytesMut::new();
        if !encode_within(&packet, ProtocolVersion::V5_0, maximum, &mut bytes) {
            return Err(Cause::AnswerTooLarge);
        }
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await?;
        let answer = self.read_auth().await?;
        // [MQTT-4.12.0-3] [MQTT-4.12.0-5]
        if answer.reason_code != ReasonCode::ContinueAuthentication
            || answer.authentication_method != method
        {
            return Err(Cause::OtherExchange);
        }
        let client_final = answer.authentication_data.unwrap_or_default();
        let (verdict, server_final) = challenge.finish(&client_final);
        self.authentication_data = server_final.map(Bytes::from);
        Ok(verdict)
    }

    /// Nothing but AUTH or DISCONNECT may come before CONNACK. [MQTT-3.1.2-30]
    async fn read_auth(&mut self) -> Result<Auth, Cause> {
        let maximum = self.rules.unauthenticated_packet_size;
        let read = read_frame(&mut self.stream, &mut self.received, |bytes| {
            if let Some(first) = bytes.first() {
                let packet_type = PacketType::of(*first)?;
                if !matches!(packet_type, PacketType::Auth | PacketType::Disconnect) {
                    return Err(DecodeError::NotConnect(packet_type));
                }
            }
            frame_length(bytes, maximum)
        });
        let frame = match read.await {
            Ok(frame) => frame,
            Err(Unread::Malformed(DecodeError::NotConnect(packet_type))) => {
                return Err(Cause::NotAuth(packet_type));
            }
            Err(Unread::Malformed(error)) => return Err(Cause::Auth(error)),
            Err(Unread::Closed) => return Err(Cause::Closed),
            Err(Unread::Io(error)) => return Err(error.into()),
        };
        let version = Some(ProtocolVersion::V5_0);
        match decode(frame, version, &self.rules.decode_limits) {
            Ok(Packet::Auth(auth)) => Ok(auth),
            // It thought better of it.
            Ok(_) => Err(Cause::Closed),
            Err(error) => Err(Cause::Auth(error)),
        }
    }

    /// A peer that has gone is told nothing.
    pub(super) fn refuse_exchange(self, cause: Cause, username: Option<Arc<str>>) -> Box<Refused> {
        let gone = matches!(cause, Cause::Closed | Cause::Io(_) | Cause::AnswerTooLarge);
        let mut refused = self.refuse(cause);
        refused.event.username = username;
        refused.event.method = Some(Method::SCRAM.0);
        if gone {
            refused.version = None;
        }
        refused
    }
}

/// AUTH as the server sends it within an exchange. MQTT 5.0 section 3.15
pub fn auth(reason_code: ReasonCode, method: Option<Text>, data: Option<Bytes>) -> Packet {
    Packet::Auth(Auth {
        reason_code,
        authentication_method: method,
        authentication_data: data,
        reason_string: None,
        user_properties: Vec::new(),
    })
}
