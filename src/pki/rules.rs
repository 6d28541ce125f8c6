//! Which names the device CA certifies: `rules.yaml` in its folder, asked for every certificate, whoever wants it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{DeviceNames, PkiError, files};
use crate::policy::Glob;
use crate::yaml;

const FILE: &str = "rules.yaml";
/// Stands for the name itself in the patterns of everything beside it.
const NAME: &str = "${common_name}";

/// Without the file every well-formed name is certified: whoever reaches the folder is the operator. With it, what it does not name is refused.
#[derive(Debug)]
pub(super) struct Rules {
    path: PathBuf,
    document: Option<Document>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    common_name: Vec<String>,
    #[serde(default)]
    organizational_unit: Vec<String>,
    #[serde(default)]
    san_dns: Vec<String>,
    #[serde(default)]
    san_uri: Vec<String>,
    #[serde(default)]
    days_max: Option<u32>,
}

impl Rules {
    /// Read each time: a change counts from the next certificate on. A file that cannot be read or understood certifies nobody (IDN-2).
    pub(super) fn read(folder: &Path) -> Result<Self, PkiError> {
        let path = folder.join(FILE);
        let read = files::read_if_there(&path).map_err(PkiError::file(&path))?;
        let Some(bytes) = read else {
            let document = None;
            return Ok(Self { path, document });
        };
        let text = String::from_utf8(bytes).map_err(|_| PkiError::Damaged {
            path: path.clone(),
            reason: "not UTF-8 text".to_owned(),
        })?;
        let document: Document = yaml::read(&path, &text).map_err(PkiError::Rules)?;
        if document.common_name.is_empty() {
            let problem = crate::problem::Problem::whole(
                &path,
                "common_name is empty, so nothing could be certified",
            );
            return Err(PkiError::Rules(problem));
        }
        Ok(Self {
            path,
            document: Some(document),
        })
    }

    /// Whether a certificate may be valid for so long.
    pub(super) fn judge_days(&self, days: u32) -> Result<(), PkiError> {
        let max = self.document.as_ref().and_then(|rules| rules.days_max);
        match max.filter(|max| days > *max) {
            Some(max) => Err(PkiError::DaysPermitted {
                days,
                max,
                rules: self.path.clone(),
            }),
            None => Ok(()),
        }
    }

    pub(super) fn judge(&self, names: &DeviceNames, days: u32) -> Result<(), PkiError> {
        let Some(document) = &self.document else {
            return Ok(());
        };
        let name = names.common_name();
        let refused = |field, value: &str| PkiError::NotPermitted {
            field,
            value: value.to_owned(),
            rules: self.path.clone(),
        };
        self.judge_days(days)?;
        let own = [name.to_owned()];
        let unit: Vec<String> = names
            .organizational_unit()
            .map(str::to_owned)
            .into_iter()
            .collect();
        let rows: [(_, &[String], &[String]); 4] = [
            ("name", &document.common_name, &own),
            ("organizational unit", &document.organizational_unit, &unit),
            ("DNS name", &document.san_dns, names.san_dns()),
            ("URI", &document.san_uri, names.san_uri()),
        ];
        for (field, patterns, values) in rows {
            for value in values {
                if !patterns.iter().any(|pattern| fits(pattern, name, value)) {
                    return Err(refused(field, value));
                }
            }
        }
        Ok(())
    }
}

/// The name is put in as a literal: a checked name holds no `*`, so that it cannot widen the pattern (POL-4).
fn fits(pattern: &str, name: &str, value: &str) -> bool {
    Glob::new(&pattern.replace(NAME, name)).matches(value)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    fn rules(text: &str) -> Result<Rules, PkiError> {
        let folder =
            std::env::temp_dir().join(format!("wardgate-rules-{:032x}", rand::random::<u128>()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(FILE), text).unwrap();
        let read = Rules::read(&folder);
        fs::remove_dir_all(folder).unwrap();
        read
    }

    #[test]
    fn idn_15_only_names_that_the_rules_permit_are_certified() {
        let text = "common_name: [pump-*, gate]\norganizational_unit: [sensors]\n\
                    san_dns: [\"${common_name}.dev.example\", \"*.lab.example\"]\nsan_uri: [\"urn:dev:*\"]\ndays_max: 30\n";
        let rules = rules(text).unwrap();
        type Names<'a> = &'a [&'a str];
        type Row<'a> = (&'a str, Option<&'a str>, Names<'a>, Names<'a>, u32, bool);
        let rows: [Row<'_>; 14] = [
            ("pump-7", None, &[], &[], 30, true),
            ("pump-", None, &[], &[], 1, true),
            ("gate", None, &[], &[], 1, true),
            ("gate-1", None, &[], &[], 1, false),
            ("Pump-7", None, &[], &[], 1, false),
            ("xpump-7", None, &[], &[], 1, false),
            ("pump-7", None, &[], &[], 31, false),
            ("pump-7", Some("sensors"), &[], &[], 1, true),
            ("pump-7", Some("admins"), &[], &[], 1, false),
            ("pump-7", None, &["pump-7.dev.example"], &[], 1, true),
            ("pump-7", None, &["pump-8.dev.example"], &[], 1, false),
            (
                "pump-7",
                None,
                &["a.lab.example", "evil.example"],
                &[],
                1,
                false,
            ),
            ("pump-7", None, &["a.lab.example"], &["urn:dev:7"], 1, true),
            ("pump-7", None, &[], &["urn:other:7"], 1, false),
        ];
        for (name, unit, dns, uri, days, permitted) in rows {
            let owned = |names: &[&str]| {
                names
                    .iter()
                    .map(|&name| name.to_owned())
                    .collect::<Vec<_>>()
            };
            let names = DeviceNames::new(name, unit, &owned(dns), &owned(uri)).unwrap();
            let judged = rules.judge(&names, days);
            assert_eq!(
                judged.is_ok(),
                permitted,
                "{name} {unit:?} {dns:?} {uri:?}: {judged:?}"
            );
        }
    }

    #[test]
    fn idn_02_rules_that_cannot_be_read_certify_nobody() {
        let folder =
            std::env::temp_dir().join(format!("wardgate-rules-{:032x}", rand::random::<u128>()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join(FILE);
        assert!(Rules::read(&folder).is_ok(), "there is none");
        std::os::unix::fs::symlink(folder.join("mounted/rules.yaml"), &path).unwrap();
        assert!(Rules::read(&folder).is_err(), "a link to nothing");
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"common_name: [\xff]\n").unwrap();
        assert!(Rules::read(&folder).is_err(), "no text");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(Rules::read(&folder).is_err(), "a folder");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn idn_02_rules_that_are_not_understood_certify_nobody() {
        for text in [
            "",
            "\n",
            "# nothing\n",
            "common_name: []\n",
            "common_name: pump-*\n",
            "names: [a]\n",
            "common_name: [a]\nother: [b]\n",
            "{",
        ] {
            assert!(matches!(rules(text), Err(PkiError::Rules(_))), "{text:?}");
        }
        let absent = Rules::read(Path::new("nowhere")).unwrap();
        assert!(
            absent
                .judge(&DeviceNames::named("anybody").unwrap(), 3650)
                .is_ok()
        );
    }
}
