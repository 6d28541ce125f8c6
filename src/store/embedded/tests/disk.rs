//! A disk in memory that forgets what was not synced, tears what was under way, fails and runs full.

use super::super::medium::Medium;
use parking_lot::Mutex;
use redb::StorageBackend;
use std::io;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    /// As the process reads it.
    cached: Vec<u8>,
    /// Else it is begun anew when it is opened.
    is_established: bool,
    /// As the disk has it.
    synced: Vec<u8>,
    /// Written and not synced, oldest first.
    dirty: Vec<(usize, Vec<u8>)>,
    note: Option<Vec<u8>>,
    synced_note: Option<Vec<u8>>,
    syncs: usize,
    fails: bool,
    free: Option<u64>,
}

const SECTOR: usize = 512;

impl Disk {
    /// What a kill leaves: the system still has what the process wrote.
    pub fn after_kill(&self) -> Self {
        let state = self.0.lock();
        let synced = state.cached.clone();
        Self::holding(synced, state.note.clone())
    }

    /// What a loss of power leaves: what was synced, and of the rest whatever sectors had made it.
    pub fn after_power_loss(&self, random: &mut impl FnMut(usize) -> usize) -> Self {
        let state = self.0.lock();
        let mut synced = state.synced.clone();
        for (offset, data) in &state.dirty {
            for (index, sector) in data.chunks(SECTOR).enumerate() {
                let at = offset + index * SECTOR;
                if random(2) == 0 {
                    if synced.len() < at + sector.len() {
                        synced.resize(at + sector.len(), 0);
                    }
                    synced[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        let note = if random(2) == 0 {
            &state.note
        } else {
            &state.synced_note
        };
        Self::holding(synced, note.clone())
    }

    pub fn holding(bytes: Vec<u8>, note: Option<Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(State {
            is_established: true,
            cached: bytes.clone(),
            synced: bytes,
            note: note.clone(),
            synced_note: note,
            ..State::default()
        })))
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().cached.clone()
    }

    pub fn note_bytes(&self) -> Option<Vec<u8>> {
        self.0.lock().note.clone()
    }

    pub fn syncs(&self) -> usize {
        self.0.lock().syncs
    }

    pub fn set_failing(&self, fails: bool) {
        self.0.lock().fails = fails;
    }

    pub fn set_free(&self, free: u64) {
        self.0.lock().free = Some(free);
    }
}

impl Medium for Disk {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.0.lock();
        if state.fails {
            return Err(failure());
        }
        // What a failed sync left is read from the disk, as the real medium does.
        state.dirty.clear();
        if !state.is_established {
            state.synced.clear();
        }
        state.cached = state.synced.clone();
        Ok(Box::new(self.clone()))
    }

    fn establish(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.fails {
            return Err(failure());
        }
        state.is_established = true;
        Ok(())
    }

    fn note(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().note.clone())
    }

    fn set_note(&self, note: &[u8], sync: bool) -> io::Result<()> {
        let mut state = self.0.lock();
        state.note = Some(note.to_vec());
        if sync {
            state.synced_note = state.note.clone();
        }
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.0.lock().free.unwrap_or(u64::MAX))
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock();
        let at = offset as usize;
        let read = state
            .cached
            .get(at..at + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(read);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.fails {
            return Err(failure());
        }
        // The length is kept like a write that reached the disk.
        state.cached.resize(len as usize, 0);
        state.synced.resize(len as usize, 0);
        state
            .dirty
            .retain(|(at, data)| at + data.len() <= len as usize);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.fails {
            return Err(failure());
        }
        state.syncs += 1;
        for (at, data) in std::mem::take(&mut state.dirty) {
            state.synced[at..at + data.len()].copy_from_slice(&data);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.fails {
            return Err(failure());
        }
        let at = offset as usize;
        state
            .cached
            .get_mut(at..at + data.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .copy_from_slice(data);
        state.dirty.push((at, data.to_vec()));
        Ok(())
    }
}

fn failure() -> io::Error {
    io::Error::from_raw_os_error(28) // no space left on device
}
