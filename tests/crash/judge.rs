//! Compares what every session received with what was acknowledged: nothing lost, QoS 2 never twice, order kept.

use super::cast::Cast;
use super::model::{ClientId, Model, Received, Sent, Subscribed};
use std::collections::{BTreeMap, BTreeSet};

/// Every way in which the broker broke its promise in this round; empty: it kept it.
pub fn judge(model: &Model, cast: &Cast) -> Vec<String> {
    let mut faults = model.violations.clone();
    let judge = Judge {
        model,
        cast,
        received: by_client(model),
    };
    for client in 0..cast.roles.len() {
        judge.own_subscriptions(client, &mut faults);
        judge.order(client, &mut faults);
    }
    for share in judge.shares() {
        judge.shared(&share, &mut faults);
    }
    faults
}

struct Judge<'a> {
    model: &'a Model,
    cast: &'a Cast,
    /// For each client: its receptions of each message, in their order.
    received: Vec<BTreeMap<usize, Vec<&'a Received>>>,
}

fn by_client(model: &Model) -> Vec<BTreeMap<usize, Vec<&Received>>> {
    let mut clients: Vec<BTreeMap<usize, Vec<&Received>>> = Vec::new();
    for received in &model.received {
        if clients.len() <= received.client {
            clients.resize_with(received.client + 1, BTreeMap::new);
        }
        let of_client = &mut clients[received.client];
        of_client.entry(received.number).or_default().push(received);
    }
    clients
}

impl Judge<'_> {
    fn receptions(&self, client: ClientId, number: usize) -> &[&Received] {
        self.received
            .get(client)
            .and_then(|of_client| of_client.get(&number))
            .map_or(&[], Vec::as_slice)
    }

    fn messages(&self) -> impl Iterator<Item = (usize, &Sent)> {
        self.model
            .messages
            .iter()
            .enumerate()
            .filter(|(_, sent)| sent.is_named())
    }

    fn own_subscriptions(&self, client: ClientId, faults: &mut Vec<String>) {
        let own: Vec<&Subscribed> = self
            .model
            .subscriptions
            .iter()
            .filter(|subscribed| subscribed.client == client)
            .collect();
        let plain = |sent: &Sent| -> Vec<&Subscribed> {
            own.iter()
                .copied()
                .filter(|subscribed| subscribed.share.is_none() && subscribed.matches(&sent.topic))
                .collect()
        };
        for (number, sent) in self.messages() {
            let matching = plain(sent);
            let shared = own
                .iter()
                .any(|subscribed| subscribed.share.is_some() && subscribed.matches(&sent.topic));
            let came = self.receptions(client, number);
            if shared || (matching.is_empty() && came.is_empty()) {
                continue;
            }
            let sure = || matching.iter().filter(|held| held.surely_holds(sent));
            let possible = || matching.iter().filter(|held| held.may_hold(sent));
            let at_least = sure()
                .map(|held| held.maximum_qos.min(sent.qos))
                .max()
                .unwrap_or(0);
            let what = || {
                format!(
                    "{}: message {number} on {} at QoS {} from {}",
                    self.cast.name(client),
                    sent.topic,
                    sent.qos,
                    self.cast.name(sent.publisher)
                )
            };
            if at_least > 0 && sent.acknowledged.is_some() && came.is_empty() {
                faults.push(format!("LOST {}", what()));
            }
            if came.is_empty() {
                continue;
            }
            if sent.forbidden || possible().next().is_none() {
                faults.push(format!("UNASKED {}", what()));
            }
            // A QoS 0 PUBLISH is never sent again by the test's clients.
            if (at_least == 2 || sent.qos == 0) && came.len() > 1 {
                faults.push(format!("TWICE ({} times) {}", came.len(), what()));
            }
            if let Some(lower) = came.iter().find(|received| received.qos < at_least) {
                faults.push(format!("AT QoS {} {}", lower.qos, what()));
            }
            for received in came.iter().filter(|received| received.version_5) {
                let carried: BTreeSet<u32> = received.identifiers.iter().copied().collect();
                let must: BTreeSet<u32> = sure().filter_map(|held| held.identifier).collect();
                let may: BTreeSet<u32> = possible().filter_map(|held| held.identifier).collect();
                if !must.is_subset(&carried) || !carried.is_subset(&may) {
                    faults.push(format!("IDENTIFIERS {carried:?}, not {must:?}: {}", what()));
                }
            }
        }
    }

    /// First receptions of one publisher's messages on one topic at one QoS come in the order of their sending. [MQTT-4.6.0-5] [MQTT-4.6.0-6]
    fn order(&self, client: ClientId, faults: &mut Vec<String>) {
        let mut last: BTreeMap<(ClientId, &str, u8, u8), usize> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for received in &self.model.received {
            if received.client != client || !seen.insert(received.number) {
                continue;
            }
            let sent = &self.model.messages[received.number];
            // Each will is of another client, however late it falls due; and what is sent to a group once more may go to another member than before.
            let of_group = sent.resent && sent.topic.starts_with("s/");
            // The first time nothing kept it for this client, no subscription or one of QoS 0 while he was away: the second time is the first for him.
            let missed_before = sent.resent && !self.surely_kept_for(client, sent);
            if of_group || missed_before || sent.topic.starts_with("w/") {
                continue;
            }
            let stream = (sent.publisher, sent.topic.as_str(), sent.qos, received.qos);
            match last.insert(stream, received.number) {
                Some(before) if before > received.number => faults.push(format!(
                    "DISORDER {}: message {} after {before} on {} at QoS {} from {}, who sent it at QoS {}{}",
                    self.cast.name(client),
                    received.number,
                    sent.topic,
                    received.qos,
                    self.cast.name(sent.publisher),
                    sent.qos,
                    if sent.resent { " more than once" } else { "" }
                )),
                _ => {}
            }
        }
    }

    fn surely_kept_for(&self, client: ClientId, sent: &Sent) -> bool {
        self.model.subscriptions.iter().any(|held| {
            held.client == client
                && held.maximum_qos > 0
                && held.matches(&sent.topic)
                && held.surely_holds(sent)
        })
    }

    fn shares(&self) -> BTreeSet<(String, String)> {
        self.model
            .subscriptions
            .iter()
            .filter_map(|held| Some((held.share.clone()?, held.filter.clone())))
            .collect()
    }

    /// Each message to one member of the group.
    fn shared(&self, (share, filter): &(String, String), faults: &mut Vec<String>) {
        let members: Vec<&Subscribed> = self
            .model
            .subscriptions
            .iter()
            .filter(|held| held.share.as_ref() == Some(share) && &held.filter == filter)
            .collect();
        for (number, sent) in self.messages() {
            if !super::model::matches(filter, &sent.topic) {
                continue;
            }
            let times: usize = members
                .iter()
                .map(|member| self.receptions(member.client, number).len())
                .sum();
            let sure = members.iter().any(|member| member.surely_holds(sent));
            let what = || {
                format!(
                    "group {share}: message {number} on {} at QoS {} from {}",
                    sent.topic,
                    sent.qos,
                    self.cast.name(sent.publisher)
                )
            };
            if sure && sent.qos > 0 && sent.acknowledged.is_some() && times == 0 {
                faults.push(format!("LOST {}", what()));
            }
            if sent.qos != 1 && times > 1 {
                faults.push(format!("TWICE ({times} times) {}", what()));
            }
        }
    }
}
