//! Kills and losses of power at random moments, against a model of what was acknowledged.

use super::*;

/// What was told to the store and, as far as it was acknowledged, must be found again.
#[derive(Default)]
struct Model {
    /// By session: sequence and payload, with the position at which each was promised.
    queued: BTreeMap<u64, BTreeMap<u64, (String, Position)>>,
    /// Settlements need not be kept: a message may come again, it may not be lost.
    settled: BTreeMap<u64, Vec<u64>>,
}

impl Model {
    fn check(&self, restored: &Restored, committed: Position, seed: u64) {
        for (id, queued) in &self.queued {
            let session = find(restored, *id);
            let found: BTreeMap<_, _> = session
                .window
                .iter()
                .map(|delivery| (delivery.sequence, delivery))
                .collect();
            let in_order: Vec<_> = session
                .window
                .iter()
                .map(|delivery| delivery.sequence)
                .collect();
            assert!(in_order.is_sorted(), "seed {seed}: order");
            for (sequence, (payload, position)) in queued {
                let settled = self
                    .settled
                    .get(id)
                    .is_some_and(|settled| settled.contains(sequence));
                if *position > committed || settled {
                    continue;
                }
                let delivery = found.get(sequence).unwrap_or_else(|| {
                    unreachable!(
                        "seed {seed}: session {id} lost {sequence}, acknowledged at {position:?}"
                    )
                });
                assert_eq!(
                    delivery.message.payload(),
                    payload.as_bytes(),
                    "seed {seed}"
                );
            }
        }
    }
}

fn round(seed: u64) {
    let mut random = random(seed);
    let disk = Disk::default();
    let (store, _) = open(&disk);
    let mut model = Model::default();
    for id in 1..=4 {
        settle_down(&store, store.save(record(id)));
        model.queued.insert(id, BTreeMap::new());
    }
    let mut tickets = Vec::new();
    let mut sequences = [0_u64; 5];
    for _ in 0..20 + random(100) {
        match random(8) {
            0..=3 => {
                let payload = format!("{}", random(1_000_000)).repeat(1 + random(50));
                let message = message(&payload);
                let receivers: Vec<u64> = (1..=4).filter(|_| random(2) == 0).collect();
                let deliveries: Vec<_> = receivers
                    .iter()
                    .map(|id| {
                        let next = &mut sequences[*id as usize];
                        *next += 1;
                        delivery(&message, *id, *next)
                    })
                    .collect();
                tickets.extend(
                    deliveries
                        .iter()
                        .filter_map(|delivery| delivery.ticket.clone()),
                );
                let position = accept(&store, &message, deliveries);
                for id in receivers {
                    let queued = model.queued.entry(id).or_default();
                    queued.insert(sequences[id as usize], (payload.clone(), position));
                }
            }
            4..=5 if !tickets.is_empty() => {
                let ticket = tickets.swap_remove(random(tickets.len()));
                store.settle(&ticket);
                model
                    .settled
                    .entry(ticket.session().0)
                    .or_default()
                    .push(ticket.sequence());
            }
            6 => settle_down(&store, store.current()),
            _ => std::thread::yield_now(),
        }
    }
    // Read before the disk is: what is acknowledged now was on it.
    let committed = store.committed();
    let crashed = if random(2) == 0 {
        disk.after_kill()
    } else {
        disk.after_power_loss(&mut random)
    };
    let opened = open_with(&crashed, OPTIONS);
    let (again, restored) = opened.unwrap_or_else(|error| unreachable!("seed {seed}: {error}"));
    model.check(&restored, committed, seed);
    // And it goes on.
    settle_down(&again, publish(&again, "after", 1, 1_000_000).1);
}

#[test]
fn sto_01_what_was_acknowledged_survives_kills_and_losses_of_power() {
    for seed in 0..40 {
        round(seed);
    }
}
