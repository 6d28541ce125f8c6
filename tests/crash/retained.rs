//! What a stranger finds retained, compared with what was set and cleared.

use super::cast::Cast;
use super::link::Link;
use super::model::{Model, Subscribed};
use super::packets;
use super::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};
use wardgate::mqtt::{Packet, ProtocolVersion};

/// While no publisher is connected: each topic holds what was acknowledged last or one of those sent after it.
pub async fn check(world: &World) {
    match found(world).await {
        Ok(found) => {
            let faults = compare(&world.model.borrow(), &world.cast, &found);
            for fault in faults {
                world.violation(fault);
            }
        }
        Err(error) => world.violation(format!("nobody could read what is retained: {error}")),
    }
}

type Found = BTreeMap<String, Vec<u8>>;

async fn found(world: &World) -> io::Result<Found> {
    let address = world.address.get().ok_or(io::ErrorKind::NotConnected)?;
    let connect = packets::passing("reader", ProtocolVersion::V5_0, None);
    let (mut link, _) = Link::open(address, connect).await?;
    let held = Subscribed::wanted(usize::MAX, None, "r/#", 0);
    link.put(&packets::subscribe(&held, 1));
    link.flush().await?;
    let certain: BTreeSet<String> = {
        let model = world.model.borrow();
        let topics = model.retained.keys();
        topics
            .filter(|topic| !possible(&model, topic).contains(&Vec::new()))
            .cloned()
            .collect()
    };
    let mut found = Found::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    // All that must come, then two round trips for what must not.
    while Instant::now() < deadline && !certain.iter().all(|topic| found.contains_key(topic)) {
        if let Some(packet) = link.next_within(Duration::from_millis(200)).await? {
            take(packet, &mut found);
        }
    }
    for _ in 0..2 {
        link.put(&Packet::PingReq);
        link.flush().await?;
        loop {
            match link.next().await? {
                Packet::PingResp => break,
                other => take(other, &mut found),
            }
        }
    }
    Ok(found)
}

fn take(packet: Packet, found: &mut Found) {
    if let Packet::Publish(publish) = packet
        && let Some(topic) = publish.topic
    {
        found.insert(topic.as_str().to_owned(), publish.payload.to_vec());
    }
}

/// Empty: nothing is retained.
fn possible(model: &Model, topic: &str) -> BTreeSet<Vec<u8>> {
    let numbers = model.retained.get(topic).map_or(&[][..], Vec::as_slice);
    let last = numbers
        .iter()
        .rposition(|number| model.messages[*number].acknowledged.is_some());
    let mut possible: BTreeSet<Vec<u8>> = numbers[last.unwrap_or(0)..]
        .iter()
        .map(|number| model.messages[*number].payload.clone())
        .collect();
    if last.is_none() {
        possible.insert(Vec::new());
    }
    possible
}

fn compare(model: &Model, cast: &Cast, found: &Found) -> Vec<String> {
    let mut faults = Vec::new();
    for (topic, numbers) in &model.retained {
        let value = found.get(topic).cloned().unwrap_or_default();
        let possible = possible(model, topic);
        if !possible.contains(&value) {
            let show = |value: &[u8]| match value {
                [] => "nothing".to_owned(),
                value => String::from_utf8_lossy(&value[..value.len().min(12)]).into_owned(),
            };
            let who = numbers
                .first()
                .map_or("", |number| cast.name(model.messages[*number].publisher));
            let possible: Vec<String> = possible.iter().map(|value| show(value)).collect();
            faults.push(format!(
                "RETAINED {topic} of {who} is {}, not one of {possible:?}",
                show(&value)
            ));
        }
    }
    for topic in found.keys() {
        if !model.retained.contains_key(topic) {
            faults.push(format!("RETAINED {topic}, which nobody set"));
        }
    }
    faults
}
