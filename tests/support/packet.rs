//! Just enough reading of packets for tests that cannot name every byte beforehand.

use super::notation::variable_byte_integer;

/// A PUBLISH as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    pub dup: bool,
    pub qos: u8,
    pub retain: bool,
    pub topic: String,
    pub packet_identifier: Option<u16>,
    pub properties: Vec<(u8, Vec<u8>)>,
    pub payload: Vec<u8>,
}

impl Publish {
    /// `version` 5 has properties.
    pub fn parse(packet: &[u8], version: u8) -> Self {
        assert_eq!(
            packet[0] >> 4,
            3,
            "no PUBLISH: {}",
            super::wire::show(packet)
        );
        let flags = packet[0];
        let (_, used) = variable_byte_integer(&packet[1..]).unwrap();
        let mut rest = &packet[1 + used..];
        let topic = String::from_utf8(string(&mut rest)).unwrap();
        let qos = (flags >> 1) & 3;
        let packet_identifier =
            (qos > 0).then(|| u16::from_be_bytes(take(&mut rest, 2).try_into().unwrap()));
        let properties = if version == 5 {
            properties(&mut rest)
        } else {
            Vec::new()
        };
        Self {
            dup: flags & 8 != 0,
            qos,
            retain: flags & 1 != 0,
            topic,
            packet_identifier,
            properties,
            payload: rest.to_vec(),
        }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// All values of this property.
    pub fn property(&self, identifier: u8) -> Vec<&[u8]> {
        self.properties
            .iter()
            .filter(|(id, _)| *id == identifier)
            .map(|(_, value)| value.as_slice())
            .collect()
    }
}

/// The properties of a CONNACK.
pub fn connack_properties(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
    assert_eq!(packet[0], 0x20);
    let (_, used) = variable_byte_integer(&packet[1..]).unwrap();
    properties(&mut &packet[1 + used + 2..])
}

/// The Authentication Data of an AUTH.
pub fn auth_data(packet: &[u8]) -> Vec<u8> {
    assert_eq!(packet[0], 0xf0);
    let (_, used) = variable_byte_integer(&packet[1..]).unwrap();
    let properties = properties(&mut &packet[1 + used + 1..]);
    find(&properties, 0x16).unwrap_or_default().to_vec()
}

pub fn find(properties: &[(u8, Vec<u8>)], identifier: u8) -> Option<&[u8]> {
    properties
        .iter()
        .find(|(id, _)| *id == identifier)
        .map(|(_, value)| value.as_slice())
}

/// MQTT 5.0 section 2.2.2.2: identifier and raw value; strings keep their length.
pub fn properties(rest: &mut &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (length, used) = variable_byte_integer(rest).unwrap();
    take(rest, used);
    let mut inside = take(rest, length);
    let mut found = Vec::new();
    while let [identifier, ..] = *inside {
        take(&mut inside, 1);
        let value = match identifier {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => take(&mut inside, 1).to_vec(),
            0x13 | 0x21 | 0x22 | 0x23 => take(&mut inside, 2).to_vec(),
            0x02 | 0x11 | 0x18 | 0x27 => take(&mut inside, 4).to_vec(),
            0x0b => {
                let (_, used) = variable_byte_integer(inside).unwrap();
                take(&mut inside, used).to_vec()
            }
            0x26 => {
                let mut pair = string(&mut inside);
                pair.push(b'=');
                pair.extend(string(&mut inside));
                pair
            }
            _ => string(&mut inside),
        };
        found.push((identifier, value));
    }
    found
}

fn string(rest: &mut &[u8]) -> Vec<u8> {
    let length = u16::from_be_bytes(take(rest, 2).try_into().unwrap());
    take(rest, usize::from(length)).to_vec()
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, tail) = rest.split_at(count);
    *rest = tail;
    head
}
