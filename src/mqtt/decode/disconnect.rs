//! DISCONNECT and AUTH, whose fields may all be left out. MQTT 5.0 sections 3.14, 3.15

use super::acknowledgement::reason_code;
use super::properties::Properties;
use super::{DecodeLimits, end};
use crate::mqtt::{
    Auth, DecodeError, Disconnect, PacketType, ProtocolVersion, ReasonCode, property,
};
use bytes::Bytes;

pub(super) fn disconnect(
    mut input: Bytes,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Disconnect, DecodeError> {
    let packet = PacketType::Disconnect;
    let mut found = Disconnect {
        reason_code: ReasonCode::Success,
        session_expiry_interval: None,
        reason_string: None,
        user_properties: Vec::new(),
        server_reference: None,
    };
    if version.is_v5() && !input.is_empty() {
        found.reason_code = reason_code(packet, &mut input)?;
        if !input.is_empty() {
            let mut section = Properties::of(packet, &mut input, limits)?;
            while let Some(identifier) = section.next()? {
                match identifier {
                    property::SESSION_EXPIRY_INTERVAL => {
                        section.four_byte_integer(&mut found.session_expiry_interval)?;
                    }
                    property::REASON_STRING => section.text(&mut found.reason_string)?,
                    property::USER_PROPERTY => section.user_property(&mut found.user_properties)?,
                    property::SERVER_REFERENCE => section.text(&mut found.server_reference)?,
                    _ => return Err(section.misplaced()),
                }
            }
        }
    }
    end(input, packet)?;
    Ok(found)
}

pub(super) fn auth(mut input: Bytes, limits: &DecodeLimits) -> Result<Auth, DecodeError> {
    let packet = PacketType::Auth;
    let mut found = Auth {
        reason_code: ReasonCode::Success,
        authentication_method: None,
        authentication_data: None,
        reason_string: None,
        user_properties: Vec::new(),
    };
    // Nothing at all means Success without properties. MQTT 5.0 section 3.15.2.1
    if input.is_empty() {
        return Ok(found);
    }
    found.reason_code = reason_code(packet, &mut input)?;
    if !input.is_empty() {
        let mut section = Properties::of(packet, &mut input, limits)?;
        while let Some(identifier) = section.next()? {
            match identifier {
                property::AUTHENTICATION_METHOD => {
                    section.text(&mut found.authentication_method)?;
                }
                property::AUTHENTICATION_DATA => {
                    section.binary_data(&mut found.authentication_data)?;
                }
                property::REASON_STRING => section.text(&mut found.reason_string)?,
                property::USER_PROPERTY => section.user_property(&mut found.user_properties)?,
                _ => return Err(section.misplaced()),
            }
        }
    }
    end(input, packet)?;
    if found.authentication_method.is_none() {
        return Err(DecodeError::AuthWithoutMethod);
    }
    Ok(found)
}
