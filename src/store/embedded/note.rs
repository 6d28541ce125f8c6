//! A note beside the data file: whose it is, the last commit that was acknowledged, and whether the store was closed in order.

use super::tables::FORMAT_VERSION;
use xxhash_rust::xxh3::xxh3_64;

/// Written after each commit and, but at a graceful stop, not synced: it is never ahead of the data. A data file that is behind it has lost something that was
/// acknowledged, which its own checksums cannot tell from a torn write that nobody was told of. A data file of another store is told by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Drawn when the store was made; the data file holds it as well.
    pub(super) store: u64,
    pub(super) commit: u64,
    pub(super) clean: bool,
}

impl Note {
    pub(super) const LENGTH: usize = 40;

    pub(super) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut fields = Vec::with_capacity(Self::LENGTH);
        fields.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        fields.extend_from_slice(&self.store.to_be_bytes());
        fields.extend_from_slice(&self.commit.to_be_bytes());
        fields.extend_from_slice(&u64::from(self.clean).to_be_bytes());
        fields.extend_from_slice(&xxh3_64(&fields).to_be_bytes());
        let mut bytes = [0; Self::LENGTH];
        bytes.copy_from_slice(&fields);
        bytes
    }

    /// `None`: torn by a loss of power, or damaged; it says nothing.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (fields, sum) = bytes.split_last_chunk::<8>()?;
        if xxh3_64(fields) != u64::from_be_bytes(*sum) {
            return None;
        }
        let (_format, fields) = fields.split_first_chunk::<8>()?;
        let (store, fields) = fields.split_first_chunk::<8>()?;
        let (commit, fields) = fields.split_first_chunk::<8>()?;
        let (clean, _) = fields.split_first_chunk::<8>()?;
        Some(Self {
            store: u64::from_be_bytes(*store),
            commit: u64::from_be_bytes(*commit),
            clean: u64::from_be_bytes(*clean) == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_or_not_at_all() {
        for note in [
            Note {
                store: 5,
                commit: 0,
                clean: false,
            },
            Note {
                store: 5,
                commit: 77,
                clean: true,
            },
            Note {
                store: 5,
                commit: u64::MAX,
                clean: false,
            },
        ] {
            let bytes = note.to_bytes();
            assert_eq!(Note::from_bytes(&bytes), Some(note));
            for at in 0..bytes.len() {
                let mut torn = bytes;
                if let Some(byte) = torn.get_mut(at) {
                    *byte ^= 0x10;
                }
                assert_eq!(Note::from_bytes(&torn), None, "byte {at}");
            }
        }
        assert_eq!(Note::from_bytes(&[]), None);
    }
}
