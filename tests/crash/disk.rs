//! A disk without a machine: it keeps what was synced, and of the rest whatever the cut of its power leaves.

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use redb::StorageBackend;
use std::io;
use std::sync::Arc;
use wardgate::store::Medium;

/// Writes reach a disk in pieces of this size, each whole or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What is safe.
    synced: Image,
    /// What readers see while the power is on.
    current: Image,
    /// Written since the last sync, in order.
    unsynced: Vec<Change>,
    honest: bool,
    /// Writes and syncs that still succeed; then the power is gone.
    operations_left: Option<u64>,
    off: bool,
}

#[derive(Clone, Debug, Default)]
struct Image {
    /// Else it has another name, and whoever opens it begins anew.
    is_established: bool,
    data: Vec<u8>,
    note: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
    Note(Vec<u8>),
    Established,
}

/// What is left of the writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    Nothing,
    /// Those up to some moment, the last one torn.
    Prefix,
    /// Any sectors of any of them.
    Some,
    Everything,
}

impl Disk {
    pub fn new() -> Self {
        Self::of(Image::default())
    }

    fn of(image: Image) -> Self {
        Self(Arc::new(Mutex::new(State {
            current: image.clone(),
            synced: image,
            unsynced: Vec::new(),
            honest: true,
            operations_left: None,
            off: false,
        })))
    }

    /// Says that it has synced, and has not.
    pub fn lying(self) -> Self {
        self.0.lock().honest = false;
        self
    }

    /// The power goes after so many more writes and syncs.
    pub fn cut_after(&self, operations: u64) {
        self.0.lock().operations_left = Some(operations);
    }

    pub fn cut(&self) {
        self.0.lock().off = true;
    }

    pub fn is_off(&self) -> bool {
        self.0.lock().off
    }

    /// The disk as it is found when the power is back.
    pub fn after_the_cut(&self, remains: Remains, rng: &mut StdRng) -> Self {
        let state = self.0.lock();
        assert!(state.off);
        let mut image = state.synced.clone();
        let last = match remains {
            Remains::Nothing => 0,
            Remains::Prefix => rng.random_range(0..=state.unsynced.len()),
            Remains::Some | Remains::Everything => state.unsynced.len(),
        };
        for (index, change) in state.unsynced.iter().take(last).enumerate() {
            let torn = match remains {
                Remains::Nothing | Remains::Everything => false,
                Remains::Prefix => index + 1 == last,
                Remains::Some => true,
            };
            image.apply(change, |_| !torn || rng.random());
        }
        let disk = Self::of(image);
        disk.0.lock().honest = state.honest;
        disk
    }
}

impl Image {
    /// Those sectors of it that `survives` says.
    fn apply(&mut self, change: &Change, mut survives: impl FnMut(usize) -> bool) {
        match change {
            Change::Length(length) => {
                if survives(0) {
                    self.data.resize(*length, 0);
                }
            }
            Change::Note(note) => {
                if survives(0) {
                    self.note = Some(note.clone());
                }
            }
            Change::Established => self.is_established |= survives(0),
            Change::Write { at, bytes } => {
                for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                    if !survives(index) {
                        continue;
                    }
                    let from = at + index * SECTOR;
                    let to = from + sector.len();
                    if self.data.len() < to {
                        self.data.resize(to, 0);
                    }
                    self.data[from..to].copy_from_slice(sector);
                }
            }
        }
    }
}

impl State {
    fn change(&mut self, change: Change) -> io::Result<()> {
        self.spend()?;
        self.current.apply(&change, |_| true);
        self.unsynced.push(change);
        Ok(())
    }

    fn sync_only(&mut self, is_synced: impl Fn(&Change) -> bool) -> io::Result<()> {
        self.spend()?;
        if !self.honest {
            return Ok(());
        }
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.unsynced)
            .into_iter()
            .partition(is_synced);
        for change in &now {
            self.synced.apply(change, |_| true);
        }
        self.unsynced = later;
        Ok(())
    }

    fn spend(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.operations_left {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => self.off = true,
            }
        }
        self.powered()
    }

    fn powered(&self) -> io::Result<()> {
        if self.off {
            return Err(io::Error::other("no power"));
        }
        Ok(())
    }
}

impl Medium for Disk {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.0.lock();
        state.powered()?;
        if !state.current.is_established {
            state.change(Change::Length(0))?;
        }
        Ok(Box::new(Backend(self.clone())))
    }

    /// A name in a folder that is synced, whatever has become of the file's own bytes.
    fn establish(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.current.is_established {
            return Ok(());
        }
        state.change(Change::Established)?;
        state.sync_only(|change| matches!(change, Change::Established))
    }

    fn note(&self) -> io::Result<Option<Vec<u8>>> {
        let state = self.0.lock();
        state.powered()?;
        Ok(state.current.note.clone())
    }

    fn set_note(&self, note: &[u8], sync: bool) -> io::Result<()> {
        let mut state = self.0.lock();
        state.change(Change::Note(note.to_vec()))?;
        if sync {
            state.sync_only(|change| matches!(change, Change::Note(_)))?;
        }
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn name(&self) -> String {
        "the disk".to_owned()
    }
}

#[derive(Debug)]
struct Backend(Disk);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        let state = self.0.0.lock();
        state.powered()?;
        Ok(state.current.data.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.0.lock();
        state.powered()?;
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = state
            .current
            .data
            .get(from..from + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.0.0.lock().change(Change::Length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        // Note and name are files of their own.
        let of_data = |change: &Change| matches!(change, Change::Write { .. } | Change::Length(_));
        self.0.0.lock().sync_only(of_data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = data.to_vec();
        self.0.0.lock().change(Change::Write { at, bytes })
    }

    fn close(&self) -> io::Result<()> {
        Ok(())
    }
}
