//! Certificate revocation lists: which exist, whom they concern, and the question whether a chain is on one (TRN-6).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustls_pki_types::UnixTime;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, ParsedExtension};

use super::CertificateRefused;
use super::files;
use crate::net::config::{Doubt, TlsConfig};
use crate::problem::Problem;

/// More issuers than this under one listener are judged the slow way, not remembered.
const KNOWN_MAX: usize = 256;

/// What a list says of itself: for `doctor`, metrics and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    pub file: PathBuf,
    pub issuer: String,
    pub this_update: SystemTime,
    pub next_update: SystemTime,
    pub entries: usize,
}

impl RevocationList {
    pub fn is_stale(&self, now: SystemTime) -> bool {
        now >= self.next_update
    }
}

#[derive(Debug)]
pub(super) struct RevocationLists {
    lists: Vec<Loaded>,
    stale: ExpirationPolicy,
    missing: UnknownStatusPolicy,
    /// Which lists are asked together; see `sets`.
    sets: Vec<Vec<usize>>,
    known: RwLock<Vec<Known>>,
}

#[derive(Debug)]
struct Loaded {
    list: CertRevocationList<'static>,
    about: RevocationList,
    number: Vec<u8>,
    authority_key_identifier: Vec<u8>,
}

/// An issuer whose list webpki has checked once: signed by this very key, for all its certificates. webpki would hash the whole
/// list again for every connection, a third of a millisecond for ten thousand entries.
#[derive(Debug)]
struct Known {
    issuer: Vec<u8>,
    /// `None`: there is none, and `crl_missing: allow`.
    list: Option<usize>,
}

/// How revocation is checked while webpki verifies a path: by itself, or by us on a path it has finished.
pub(super) enum Check<'a> {
    Nothing,
    ByWebPki(RevocationOptions<'a>),
    OnPath(&'a dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error>),
}

impl RevocationLists {
    /// `None` when none is configured.
    pub(super) fn load(config: &TlsConfig, base: &Path) -> Result<Option<Self>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut lists = Vec::new();
        for file in config.crl.iter().map(|file| base.join(file)) {
            match load_file(&file) {
                Ok(mut loaded) => lists.append(&mut loaded),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if lists.is_empty() {
            return Ok(None);
        }
        let lists = newest_of_each(lists);
        Ok(Some(Self {
            sets: sets(&lists),
            lists,
            stale: match config.crl_stale {
                Doubt::Deny => ExpirationPolicy::Enforce,
                Doubt::Allow => ExpirationPolicy::Ignore,
            },
            missing: match config.crl_missing {
                Doubt::Deny => UnknownStatusPolicy::Deny,
                Doubt::Allow => UnknownStatusPolicy::Allow,
            },
            known: RwLock::default(),
        }))
    }

    pub(super) fn about(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.iter().map(|loaded| &loaded.about)
    }

    /// Whether the chain that `verify` builds is free of revoked certificates, from the leaf to the last intermediate.
    pub(super) fn judge<'p>(
        &self,
        now: UnixTime,
        verify: impl Fn(Check<'_>) -> Result<VerifiedPath<'p>, webpki::Error>,
    ) -> Result<(), CertificateRefused> {
        if self.are_simple() {
            let unsure = Cell::new(false);
            let on_path = |path: &VerifiedPath<'_>| {
                self.judge_known(path, now).unwrap_or_else(|| {
                    unsure.set(true);
                    Err(webpki::Error::UnknownRevocationStatus)
                })
            };
            let verdict = verify(Check::OnPath(&on_path));
            if !unsure.get() {
                return verdict.map(drop).map_err(Into::into);
            }
        }
        self.judge_by_webpki(verify)
    }

    fn judge_by_webpki<'p>(
        &self,
        verify: impl Fn(Check<'_>) -> Result<VerifiedPath<'p>, webpki::Error>,
    ) -> Result<(), CertificateRefused> {
        let mut verdict = None;
        for set in &self.sets {
            let lists: Vec<_> = set
                .iter()
                .filter_map(|&index| Some(&self.lists.get(index)?.list))
                .collect();
            let options = RevocationOptionsBuilder::new(&lists)
                .map_err(|_| CertificateRefused::RevocationUnknown)?
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(self.missing)
                .with_expiration_policy(self.stale)
                .build();
            match verify(Check::ByWebPki(options)).map_err(CertificateRefused::from) {
                Ok(path) => {
                    if self.are_simple() {
                        self.learn(&path);
                    }
                    verdict = Some(Ok(()));
                }
                // Another set may hold the list that applies; a revocation in any set stands. Of two CAs with one name and a list that fits
                // neither, webpki tells whichever signature it tried first.
                Err(
                    doubt @ (CertificateRefused::RevocationUnknown
                    | CertificateRefused::RevocationListUntrusted
                    | CertificateRefused::BadSignature),
                ) => {
                    verdict.get_or_insert(Err(doubt));
                }
                Err(refused) => return Err(refused),
            }
        }
        verdict.unwrap_or(Err(CertificateRefused::RevocationUnknown))
    }

    /// One list for each issuer name, each for all that issuer's certificates: then the list of an issuer depends on nothing but its name and key.
    fn are_simple(&self) -> bool {
        self.sets.len() == 1
            && self
                .lists
                .iter()
                .all(|loaded| loaded.list.issuing_distribution_point().is_none())
    }

    /// `None`: some issuer of the path is not known yet.
    fn judge_known(
        &self,
        path: &VerifiedPath<'_>,
        now: UnixTime,
    ) -> Option<Result<(), webpki::Error>> {
        let known = self.known.read();
        for link in links(path) {
            let issuer = known.iter().find(|known| known.issuer == link.issuer)?;
            let Some(loaded) = issuer.list.and_then(|index| self.lists.get(index)) else {
                continue;
            };
            let next_update = unix(loaded.about.next_update);
            if self.stale == ExpirationPolicy::Enforce && now >= next_update {
                return Some(Err(webpki::Error::CrlExpired {
                    time: now,
                    next_update,
                }));
            }
            match loaded.list.find_serial(&link.serial) {
                Ok(None) => {}
                Ok(Some(_)) => return Some(Err(webpki::Error::CertRevoked)),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(()))
    }

    /// webpki took this path: every issuer's list, if there is one, is signed by that issuer's key.
    fn learn(&self, path: &VerifiedPath<'_>) {
        let mut known = self.known.write();
        for link in links(path) {
            if known.len() >= KNOWN_MAX || known.iter().any(|known| known.issuer == link.issuer) {
                continue;
            }
            let list = self
                .lists
                .iter()
                .position(|loaded| loaded.list.issuer() == link.issuer_name);
            known.push(Known {
                issuer: link.issuer,
                list,
            });
        }
    }
}

/// A certificate of a path, and who issued it by name and key (TRN-7).
struct Link {
    serial: Vec<u8>,
    issuer_name: Vec<u8>,
    issuer: Vec<u8>,
}

/// From the leaf upwards.
fn links(path: &VerifiedPath<'_>) -> Vec<Link> {
    let mut links = vec![(path.end_entity().serial(), path.end_entity().issuer())];
    let mut issuers = Vec::new();
    for intermediate in path.intermediate_certificates() {
        issuers.push(intermediate.der().to_vec());
        links.push((intermediate.serial(), intermediate.issuer()));
    }
    let anchor = path.anchor();
    issuers.push(
        [
            anchor.subject.as_ref(),
            anchor.subject_public_key_info.as_ref(),
        ]
        .concat(),
    );
    links
        .into_iter()
        .zip(issuers)
        .map(|((serial, issuer_name), issuer)| Link {
            serial: serial.to_vec(),
            issuer_name: issuer_name.to_vec(),
            issuer,
        })
        .collect()
}

fn load_file(file: &Path) -> Result<Vec<Loaded>, Problem> {
    let wrong = |error: &dyn std::fmt::Display| {
        Problem::whole(file, format!("not a usable revocation list: {error}"))
    };
    files::revocation_lists(file)?
        .iter()
        .map(|der| {
            let list = OwnedCertRevocationList::from_der(der).map_err(|error| wrong(&error))?;
            let (_, parsed) =
                CertificateRevocationList::from_der(der).map_err(|error| wrong(&error))?;
            let next_update = parsed
                .next_update()
                .ok_or_else(|| wrong(&"no nextUpdate"))?;
            let authority_key_identifier = parsed
                .extensions()
                .iter()
                .find(|extension| {
                    matches!(
                        extension.parsed_extension(),
                        ParsedExtension::AuthorityKeyIdentifier(_)
                    )
                })
                .map(|extension| extension.value.to_vec());
            Ok(Loaded {
                about: RevocationList {
                    file: file.to_owned(),
                    issuer: parsed.issuer().to_string(),
                    this_update: system_time(parsed.last_update().timestamp()),
                    next_update: system_time(next_update.timestamp()),
                    entries: parsed.iter_revoked_certificates().count(),
                },
                number: parsed
                    .crl_number()
                    .map(|number| number.to_bytes_be())
                    .unwrap_or_default(),
                authority_key_identifier: authority_key_identifier.unwrap_or_default(),
                list: list.into(),
            })
        })
        .collect()
}

/// Of several editions of one list (issuer, key and scope alike) the newest: a folder of lists may still hold the last one.
fn newest_of_each(lists: Vec<Loaded>) -> Vec<Loaded> {
    let mut newest: BTreeMap<_, Loaded> = BTreeMap::new();
    for loaded in lists {
        let identity = (
            loaded.list.issuer().to_vec(),
            loaded.authority_key_identifier.clone(),
            loaded.list.issuing_distribution_point().map(<[u8]>::to_vec),
        );
        let age = |loaded: &Loaded| {
            // CRL numbers are unsigned and of any length.
            let digits: Vec<u8> = loaded
                .number
                .iter()
                .copied()
                .skip_while(|&d| d == 0)
                .collect();
            (loaded.about.this_update, digits.len(), digits)
        };
        match newest.get(&identity) {
            Some(known) if age(known) >= age(&loaded) => {}
            Some(_) | None => {
                newest.insert(identity, loaded);
            }
        }
    }
    newest.into_values().collect()
}

/// webpki asks the first list whose issuer *name* fits. Two CAs may share a name (a CA that changed its key does), so lists of one name
/// are also asked in turn: first all together, then each in a set with no other of its name.
fn sets(lists: &[Loaded]) -> Vec<Vec<usize>> {
    let mut by_name: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (index, loaded) in lists.iter().enumerate() {
        by_name.entry(loaded.list.issuer()).or_default().push(index);
    }
    let all = (0..lists.len()).collect();
    let most = by_name.values().map(Vec::len).max().unwrap_or(0);
    let mut sets = vec![all];
    if most > 1 {
        for turn in 0..most {
            let one_of_each = by_name.values().filter_map(|same| {
                let turn = turn.min(same.len().saturating_sub(1));
                same.get(turn).copied()
            });
            sets.push(one_of_each.collect());
        }
    }
    sets
}

fn system_time(unix_seconds: i64) -> SystemTime {
    u64::try_from(unix_seconds)
        .ok()
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A clock before 1970 reads as 1970, when nothing was valid.
pub(super) fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}
