//! Files that a released version has written: each later version reads them.

use super::*;
use crate::mqtt::{
    PacketIdentifier, PublishProperties, RetainHandling, SubscriptionIdentifier, Will,
};
use crate::store::embedded::tables::FORMAT_VERSION;
use crate::store::embedded::upkeep;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Far enough for a file that is kept for long: the year 2096.
const LATER: u64 = 4_000_000_000;

/// `format-N.hex`: the data file, `format-N.export`: an export of it, `format-N.txt`: what they hold.
fn fixture(format: u64, kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/store")
        .join(format!("format-{format}.{kind}"))
}

#[test]
fn what_every_format_has_written_is_read() {
    for format in 1..=FORMAT_VERSION {
        let read = |kind| std::fs::read_to_string(fixture(format, kind)).unwrap();
        let expected = read("txt");
        // Without the note as well, which may be lost.
        let (bytes, note) = unpacked(&read("hex"));
        for note in [Some(note), None] {
            let (store, restored) = open(&Disk::holding(bytes.clone(), note));
            assert_eq!(told(&restored), expected, "format {format}");
            // And it goes on.
            settle_down(&store, publish(&store, "more", 1, 1_000).1);
        }
        let place = Place::new("format");
        let (export, _) = unpacked(&read("export"));
        upkeep::import(&place.0, export.as_slice()).unwrap();
        let (_store, restored) = open_folder(&place.0).unwrap();
        assert_eq!(told(&restored), expected, "an export of format {format}");
    }
}

/// What is written today is what the files of its format hold. A new format has none: this makes them and fails, for they belong into its commit and stay as they are.
#[test]
fn what_is_written_today_is_what_the_files_hold() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    fill_with_all_there_is(&store);
    let mut export = Vec::new();
    store.export(&mut export).unwrap();
    store.close();
    let note = disk.note_bytes().unwrap();
    let text = told(&open(&disk.after_kill()).1);
    let path = fixture(FORMAT_VERSION, "txt");
    let expected = std::fs::read_to_string(&path).ok();
    if expected.is_none() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for (kind, content) in [
            ("hex", packed(&disk.bytes(), &note)),
            ("export", packed(&export, &[])),
            ("txt", text.clone()),
        ] {
            std::fs::write(fixture(FORMAT_VERSION, kind), content).unwrap();
        }
    }
    assert_eq!(Some(text), expected, "none: {path:?} was made, commit it");
}

fn fill_with_all_there_is(store: &Embedded) {
    let later = Instant::now()
        + (UNIX_EPOCH + Duration::from_secs(LATER))
            .duration_since(SystemTime::now())
            .unwrap();
    let text = |text: &str| Text::try_from(text).unwrap();
    let identifier = |number| PacketIdentifier::new(number).unwrap();
    let properties = PublishProperties {
        message_expiry_interval: Some(u32::MAX),
        content_type: Some(text("text/plain")),
        response_topic: Some(topic("answers/ü")),
        correlation_data: Some(vec![0, 255].into()),
        user_properties: vec![(text("k"), text("1")), (text("k"), text("2"))],
        ..PublishProperties::default()
    };
    let rich = Arc::new(Message::restore(StoredMessage {
        topic: topic("rich/ü"),
        qos: QoS::ExactlyOnce,
        retain: true,
        payload: vec![0, 159, 146, 150].into(),
        properties: Some(Box::new(properties.clone())),
        author: subject("author"),
        publisher: SessionId(3),
        expires_at: Some(later),
    }));

    // Away, with a will that falls due, and every kind of subscription.
    store.save(SessionRecord {
        connected: false,
        session_expiry_interval: u32::MAX,
        expires_at: Some(later),
        will_at: Some(later),
        will: Some(Box::new(Will {
            qos: QoS::ExactlyOnce,
            retain: true,
            topic: topic("wills/1"),
            payload: "gone".into(),
            will_delay_interval: Some(30),
            properties: Some(Box::new(properties)),
        })),
        ..record(1)
    });
    let wild = Subscribed {
        options: SubscriptionOptions {
            maximum_qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        },
        identifier: SubscriptionIdentifier::new(268_435_455),
        checked: true,
    };
    store.subscribe(SessionId(1), &filter("+/a/#"), wild);
    store.subscribe(
        SessionId(1),
        &filter("$share/g/b/+"),
        subscribed(QoS::AtLeastOnce),
    );
    // Connected, and in the middle of everything.
    store.save(record(2));
    store.subscribe(SessionId(2), &filter("c"), subscribed(QoS::AtMostOnce));
    for (subscription, after) in [("begun/#", None), ("rich/+", Some(topic("rich/a")))] {
        let replaying = Replaying { as_of: 9, after };
        store.subscribe_replaying(SessionId(2), &filter(subscription), wild, replaying);
    }
    for number in [7, 65_535] {
        store.publish(Accepted {
            message: &rich,
            retain: None,
            deliveries: Vec::new(),
            received: Some((SessionId(2), identifier(number))),
        });
    }
    // Inline, shared by two, drawn for a group, handed over, sent and settled.
    for sequence in 1..=3 {
        publish(store, &format!("plain {sequence}"), 1, sequence);
    }
    let mut to_both = [delivery(&rich, 1, 4), delivery(&rich, 2, 4)];
    to_both[0].qos = QoS::ExactlyOnce;
    to_both[0].retain = true;
    to_both[0].subscription_identifiers = Some(
        [SubscriptionIdentifier::MIN, SubscriptionIdentifier::MAX]
            .as_slice()
            .into(),
    );
    accept(store, &rich, to_both.into());
    let mut drawn = delivery(&rich, 1, 5);
    drawn.share = Some(Arc::new(filter("$share/g/b/+")));
    accept(store, &rich, vec![drawn]);
    let (handed_over, _) = publish(store, "handed over", 2, 1);
    let (settled, _) = publish(store, "settled", 2, 2);
    publish(store, "waits", 2, 3);
    flush(store);
    settle_down(store, store.hand_over(&handed_over));
    store.settle(&settled);
    store.sent(SessionId(2), 3);
    // More than a window, so that a part is told by number only.
    store.save(record(4));
    for sequence in 1..=300 {
        publish(store, ".", 4, sequence);
    }
    // Ended.
    store.save(record(5));
    publish(store, "nobody's", 5, 1);
    flush(store);
    store.remove(SessionId(5));
    retain(store, &rich);
    retain(store, &message_to("r/plain", "retained", None));
    retain(store, &message_to("r/cleared", "retained", None));
    retain_version(store, &message_to("r/cleared", "", None), 2);
    flush(store);
}

/// Field by field, so that a later version may know more.
fn told(restored: &Restored) -> String {
    let mut text = format!("next session {}\n", restored.next_session);
    let mut line = |line: String| writeln!(text, "{line}").unwrap();
    for session in &restored.sessions {
        let record = &session.record;
        line(format!(
            "session {}: {}, expiry {}, connected {}, ends {}, will at {}, will {}",
            record.id.0,
            told_subject(&record.subject),
            record.session_expiry_interval,
            record.connected,
            told_time(record.expires_at),
            told_time(record.will_at),
            record.will.as_ref().map_or("none".to_owned(), |will| {
                format!(
                    "{} {:?} {:?} retain {} delay {:?} {}",
                    will.topic,
                    will.qos,
                    will.payload,
                    will.retain,
                    will.will_delay_interval,
                    told_properties(will.properties.as_deref())
                )
            })
        ));
        for (subscription, subscribed) in &session.subscriptions {
            line(format!(
                "  subscribed to {subscription}: {:?} no local {} as published {} {:?} identifier {:?} checked {}",
                subscribed.options.maximum_qos,
                subscribed.options.no_local,
                subscribed.options.retain_as_published,
                subscribed.options.retain_handling,
                subscribed.identifier.map(SubscriptionIdentifier::get),
                subscribed.checked
            ));
        }
        for (subscription, Replaying { as_of, after }) in &session.replaying {
            line(format!(
                "  retained as of {as_of} to come to {subscription}, after {after:?}"
            ));
        }
        for identifier in &session.received {
            line(format!("  received {identifier}"));
        }
        for ticket in &session.handed_over {
            line(format!("  handed over {}", ticket.sequence()));
        }
        for delivery in &session.window {
            // One line stands for many.
            if delivery.message.payload().as_ref() == b"." && delivery.sequence > 1 {
                continue;
            }
            let identifiers = delivery.subscription_identifiers.as_deref();
            let identifiers: Vec<_> = identifiers
                .unwrap_or_default()
                .iter()
                .map(|identifier| identifier.get())
                .collect();
            let share = delivery.share.as_ref().map(ToString::to_string);
            line(format!(
                "  queued {}: {:?} retain {} identifiers {identifiers:?} share {share:?}: {}",
                delivery.sequence,
                delivery.qos,
                delivery.retain,
                told_message(&delivery.message)
            ));
        }
        line(format!(
            "  sent {}, {} in memory, {} on disk ({} bytes), the last one {}",
            session.sent,
            session.window.len(),
            session.spilled.messages,
            session.spilled.bytes,
            session.last_sequence
        ));
    }
    for (message, version) in &restored.retained {
        line(format!(
            "retained, version {version}: {}",
            told_message(message)
        ));
    }
    text
}

fn told_message(message: &Message) -> String {
    format!(
        "{} {:?} {:?} retain {} by {} of session {}, expires {}, {}",
        message.topic(),
        message.qos(),
        message.payload(),
        message.retain(),
        told_subject(message.author()),
        message.publisher().0,
        told_time(message.expires_at()),
        told_properties(message.properties())
    )
}

fn told_properties(properties: Option<&PublishProperties>) -> String {
    let Some(properties) = properties else {
        return "no properties".to_owned();
    };
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        properties.payload_format_indicator,
        properties.message_expiry_interval,
        properties.content_type,
        properties.response_topic,
        properties.correlation_data,
        properties.user_properties
    )
}

fn told_subject(subject: &Subject) -> String {
    let Identity {
        groups,
        certificate,
        claims,
        ..
    } = &subject.identity;
    format!(
        "{} ({} {} {} {:?} {:?} {claims:?} {} {})",
        subject.client_id,
        subject.identity.namespace,
        subject.identity.username,
        subject.identity.method.0,
        groups,
        certificate.as_ref().map(|names| &names.fingerprint),
        subject.ip,
        subject.listener
    )
}

/// In steps of ten seconds: the clocks of two processes differ.
fn told_time(at: Option<Instant>) -> String {
    let Some(at) = at else {
        return "never".to_owned();
    };
    let (now, system) = (Instant::now(), SystemTime::now());
    let at = system + at.saturating_duration_since(now) + Duration::from_secs(5);
    let seconds = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
    format!("{}", seconds / 10 * 10)
}

const CHUNK: usize = 32;

/// Text, without what is zero: the length, the note, then `offset bytes` in hexadecimal digits.
fn packed(bytes: &[u8], note: &[u8]) -> String {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    };
    let mut text = format!("{} {}\n", bytes.len(), hex(note));
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            writeln!(text, "{:x} {}", index * CHUNK, hex(chunk)).unwrap();
        }
    }
    text
}

fn unpacked(text: &str) -> (Vec<u8>, Vec<u8>) {
    let bytes_of = |hex: &str| -> Vec<u8> {
        (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    };
    let mut lines = text.lines();
    let (length, note) = lines.next().unwrap().split_once(' ').unwrap();
    let mut bytes = vec![0; length.parse().unwrap()];
    for line in lines {
        let (offset, hex) = line.split_once(' ').unwrap();
        let (offset, chunk) = (usize::from_str_radix(offset, 16).unwrap(), bytes_of(hex));
        bytes[offset..offset + chunk.len()].copy_from_slice(&chunk);
    }
    (bytes, bytes_of(note))
}
