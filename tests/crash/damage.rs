//! Files that are no longer what was written: a start finds everything, or refuses and names the file and the place.

use super::support::broker::{Broker, Folder, LAB, Setup};
use super::support::wire::PATIENCE;
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};
use wardgate::router::{Fetch, Store};
use wardgate::store::{Durability, Embedded, OpenError, Options};

/// Folders as crashes left them, with full queues.
pub struct Originals {
    /// The one that is damaged, and all that is in it.
    store: Folder,
    contents: BTreeSet<String>,
    older: Folder,
    other: Folder,
}

/// How a damaged store was taken.
#[derive(Debug)]
pub enum Verdict {
    /// With everything in it.
    Opened,
    Refused(String),
    /// Something is gone, and nobody said so.
    Silent(Vec<String>),
}

const PAGE: u64 = 4096;

/// A store's folder, gone when dropped.
pub struct Damaged(Folder);

impl Damaged {
    pub fn path(&self) -> &Path {
        &self.0.0
    }

    /// To be opened as well: opening one may change it.
    pub fn copy(&self) -> Self {
        let folder = Folder::new();
        copy(self.path(), &folder.0);
        Self(folder)
    }
}

impl Originals {
    pub fn make(store: &str, seed: u64, gently: bool) -> Self {
        let older = Folder::new();
        let keep = |path: &Path| copy(&path.join("data/store"), &older.0);
        let broker = super::round::left_behind(seed, store, gently, keep);
        let stranger = super::round::left_behind(seed + 1, store, gently, |_| {});
        let (own, other) = (Folder::new(), Folder::new());
        if gently {
            copy(&broker.path().join("data/store"), &own.0);
        } else {
            acknowledged(&broker.path().join("data/store"), &own.0);
        }
        copy(&stranger.path().join("data/store"), &other.0);
        // What the file holds, as an undamaged copy of it tells.
        let whole = Folder::new();
        copy(&own.0, &whole.0);
        let contents = contents(&whole.0).expect("the undamaged store opens");
        assert!(
            contents.len() > 300,
            "hardly anything to lose: {contents:?}"
        );
        Self {
            store: own,
            contents,
            older,
            other,
        }
    }

    /// A copy with one thing wrong, and what that is.
    pub fn damaged(&self, rng: &mut StdRng) -> (Damaged, String) {
        let folder = Folder::new();
        copy(&self.store.0, &folder.0);
        let what = self.damage(&folder.0, rng);
        (Damaged(folder), what)
    }

    fn damage(&self, folder: &Path, rng: &mut StdRng) -> String {
        let data = data_file(folder);
        let length = fs::metadata(&data).unwrap().len();
        let pages = length / PAGE;
        let page = rng.random_range(0..pages) * PAGE;
        match rng.random_range(0..20) {
            0..8 => {
                let at = rng.random_range(0..length);
                let bit = rng.random_range(0..8);
                change(&data, at, 1, |byte| byte ^ (1 << bit));
                format!("bit {bit} of byte {at} is flipped")
            }
            8..10 => {
                let at = rng.random_range(0..512);
                change(&data, at, 1, |byte| byte ^ 0x10);
                format!("a bit of byte {at} is flipped")
            }
            10..13 => {
                let to = rng.random_range(0..length);
                let file = fs::OpenOptions::new().write(true).open(&data).unwrap();
                file.set_len(to).unwrap();
                format!("the file ends at byte {to} of {length}")
            }
            13 | 14 => {
                change(&data, page, PAGE, |_| 0);
                format!("the page at byte {page} is zero")
            }
            15 => {
                let mut next = rng.random::<u8>();
                change(&data, page, PAGE, |_| {
                    next = next.wrapping_mul(5).wrapping_add(17);
                    next
                });
                format!("the page at byte {page} is noise")
            }
            16 => {
                let bytes = fs::read(&data).unwrap();
                let from = usize::try_from(rng.random_range(0..pages) * PAGE).unwrap();
                let mut source = bytes[from..].iter().copied();
                change(&data, page, PAGE, |byte| source.next().unwrap_or(byte));
                format!("the page at byte {page} is that at byte {from}")
            }
            17 => {
                fs::copy(data_file(&self.older.0), &data).unwrap();
                "the file is an older copy".to_owned()
            }
            18 => {
                fs::copy(data_file(&self.other.0), &data).unwrap();
                "the file is another node's".to_owned()
            }
            _ => {
                fs::remove_file(&data).unwrap();
                "the file is gone".to_owned()
            }
        }
    }

    pub fn open(&self, folder: &Path) -> Verdict {
        let found = fs::read(data_file(folder)).unwrap();
        match contents(folder) {
            Ok(found) if found == self.contents => Verdict::Opened,
            Ok(found) => {
                let differences = self.contents.symmetric_difference(&found);
                Verdict::Silent(differences.take(5).cloned().collect())
            }
            Err(error) => {
                let is_untouched = found == fs::read(data_file(folder)).unwrap();
                assert!(is_untouched, "{error}: and the file was changed");
                Verdict::Refused(error.to_string())
            }
        }
    }

    /// The same by the program itself: what it says, and whether it serves.
    pub fn serve(&self, folder: &Path, store: &str) -> (bool, String) {
        let setup = Setup::new(LAB).replacing("store: { kind: memory }", store);
        copy(folder, &setup.path().join("data/store"));
        match Broker::try_start(setup) {
            Ok(broker) => (true, broker.stderr()),
            Err(said) => (false, said),
        }
    }
}

/// A copy as a crash leaves it at a moment when everything on disk was acknowledged: a last commit that nobody was told of may be lost in silence.
fn acknowledged(killed: &Path, to: &Path) {
    let (store, _) = Embedded::open(
        killed.to_owned(),
        options(),
        Instant::now(),
        SystemTime::now(),
    )
    .expect("what a kill left opens");
    // An export ends what was begun before it. When two are the same nothing was written between them, not even what nobody waits for.
    let export = || {
        let mut rows = Vec::new();
        store.export(&mut rows).expect("the store is exported");
        rows
    };
    let (deadline, mut before) = (Instant::now() + PATIENCE, export());
    loop {
        let after = export();
        if after == before {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "the store still writes {PATIENCE:?} after it was opened"
        );
        before = after;
    }
    copy(killed, to);
    store.close();
}

fn options() -> Options {
    Options {
        durability: Durability::Sync,
        flush_interval: Duration::from_secs(1),
        cache: 16 << 20,
        store_free: 0,
    }
}

/// Every fact in the store as a line of text.
fn contents(folder: &Path) -> Result<BTreeSet<String>, OpenError> {
    let now = Instant::now();
    let (store, restored) = Embedded::open(folder.to_owned(), options(), now, SystemTime::now())?;
    let mut facts = BTreeSet::new();
    for session in restored.sessions {
        let id = session.record.id.0;
        let record = &session.record;
        let mut fact = |what: String| _ = facts.insert(format!("session {id}: {what}"));
        fact(format!(
            "{} {} {:?}",
            record.subject.client_id, record.session_expiry_interval, record.will
        ));
        for (subscription, subscribed) in &session.subscriptions {
            let (options, identifier) = (subscribed.options, subscribed.identifier);
            fact(format!("{subscription} {options:?} {identifier:?}"));
        }
        for (subscription, replaying) in &session.replaying {
            fact(format!("{subscription} {replaying:?}"));
        }
        for identifier in &session.received {
            fact(format!("received {identifier}"));
        }
        for ticket in &session.handed_over {
            fact(format!("handed over {}", ticket.sequence()));
        }
        let mut queue = session.window;
        let in_window = queue.len();
        while queue.len() - in_window < session.spilled.messages {
            let (sender, receiver) = mpsc::sync_channel(1);
            store.fetch(Fetch {
                session: session.record.id,
                after: queue.last().map_or(0, |delivery| delivery.sequence),
                up_to: session.last_sequence,
                messages: 100,
                bytes: 64 * 1024,
                reply: Box::new(move |page| _ = sender.send(page)),
            });
            match receiver.recv_timeout(PATIENCE) {
                Ok(page) if !page.deliveries.is_empty() || page.more => {
                    queue.extend(page.deliveries);
                }
                _ => break,
            }
        }
        for delivery in &queue {
            let message = &delivery.message;
            fact(format!(
                "{} {:?} {} {:?}",
                delivery.sequence,
                delivery.qos,
                message.topic(),
                message.payload()
            ));
        }
    }
    for (message, version) in restored.retained {
        let mut fact = format!("retained {}, version {version}", message.topic());
        let _ = write!(fact, " {:?}", message.payload());
        facts.insert(fact);
    }
    store.close();
    Ok(facts)
}

/// The largest file: the others are small.
fn data_file(folder: &Path) -> PathBuf {
    files(folder)
        .into_iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.is_file()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, PermissionsExt::from_mode(0o700)).unwrap();
    for file in files(from) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

fn change(file: &Path, at: u64, length: u64, mut byte: impl FnMut(u8) -> u8) {
    let mut bytes = fs::read(file).unwrap();
    let (from, to) = (
        usize::try_from(at).unwrap(),
        usize::try_from(at + length).unwrap(),
    );
    for place in &mut bytes[from..to] {
        *place = byte(*place);
    }
    fs::write(file, bytes).unwrap();
}
