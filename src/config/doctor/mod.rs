//! What `wardgate doctor` finds in settings that are valid and yet not wise. Contract section 1.
//!
//! One file a question. Nothing here opens a socket: a configuration is judged as it is written, with the files that it names.

mod back_ends;
mod bounds;
mod expiry;
mod exposure;
mod files;
mod grants;

use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use super::sections::Config;

/// How bad it is. `Serious` makes the command fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// An attacker, or the next night, can use it.
    Serious,
    /// Wants a decision.
    Warning,
    /// Worth knowing: what is reachable, and what happens when something fails.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub grade: Grade,
    /// Names the question, for those who filter.
    pub check: &'static str,
    /// The setting, the file, or the `file:line id` of a statement.
    pub at: String,
    pub found: String,
    /// What to do about it; absent where nothing has to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

/// Findings under way; a question adds what it has to say.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn serious(
        &mut self,
        check: &'static str,
        at: impl Into<String>,
        found: impl Into<String>,
        advice: &'static str,
    ) {
        self.add(Grade::Serious, check, (at, found), Some(advice));
    }

    fn warning(
        &mut self,
        check: &'static str,
        at: impl Into<String>,
        found: impl Into<String>,
        advice: &'static str,
    ) {
        self.add(Grade::Warning, check, (at, found), Some(advice));
    }

    fn note(&mut self, check: &'static str, at: impl Into<String>, found: impl Into<String>) {
        self.add(Grade::Note, check, (at, found), None);
    }

    fn add(
        &mut self,
        grade: Grade,
        check: &'static str,
        (at, found): (impl Into<String>, impl Into<String>),
        advice: Option<&'static str>,
    ) {
        let finding = Finding {
            grade,
            check,
            at: at.into(),
            found: found.into(),
            advice,
        };
        // Listeners share files: one fault is told once.
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }
}

impl Config {
    /// Everything that the settings and the files they name leave to be desired, the worst first. `file` is where they were read from.
    pub fn examine(&self, file: &Path, now: SystemTime) -> Vec<Finding> {
        let mut findings = Findings::default();
        for problem in self.check_files(file) {
            let at = problem.file.display().to_string();
            let advice = "nothing starts or reloads until this is mended: see wardgate check";
            findings.serious("start", at, problem.message, advice);
        }
        exposure::examine(self, &mut findings);
        files::examine(self, file, &mut findings);
        grants::examine(self, &mut findings);
        expiry::examine(self, now, &mut findings);
        bounds::examine(self, &mut findings);
        back_ends::examine(self, &mut findings);
        // Stable: within a grade in the order of the questions.
        findings.0.sort_by_key(|finding| finding.grade);
        findings.0
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
