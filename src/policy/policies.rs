//! A set of policies, whole and valid or not there at all.

use super::assertion::{Assertion, Failure};
use super::build::Builder;
use super::document::Document;
use super::index::Index;
use super::population::Population;
use super::rule::{Action, Rule, RuleId};
use super::who::Who;
use crate::problem::Problem;
use crate::units::Rate;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// All policies that are in force together. Never changed: a reload makes another one with a generation of its own (POL-6).
#[derive(Debug)]
pub struct Policies {
    pub(super) policies: Box<[Policy]>,
    pub(super) rules: Box<[Rule]>,
    pub(super) publish: Index,
    pub(super) subscribe: Index,
    pub(super) population: Population,
    pub(super) shared: super::applicable::Shared,
    warnings: Vec<Problem>,
    generation: u64,
}

#[derive(Debug)]
pub(super) struct Policy {
    pub(super) id: Box<str>,
    pub(super) name: RuleId,
    pub(super) description: Option<Box<str>>,
    pub(super) who: Who,
    pub(super) rules: Range<usize>,
    pub(super) limit: Option<MessageLimit>,
    pub(super) disconnect: bool,
    pub(super) audit: bool,
}

/// `limits.messages` of a policy: a bucket for each client that the policy concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageLimit {
    /// `file:line id`
    pub policy: RuleId,
    pub rate: Rate,
    pub burst: u32,
}

static GENERATION: AtomicU64 = AtomicU64::new(1);

impl Policies {
    /// Reads the files as one set, and runs the assertions in them: one that fails is a problem like any other.
    pub fn parse(files: &[(PathBuf, String)]) -> Result<Self, Vec<Problem>> {
        let (policies, assertions) = Self::parse_untested(files)?;
        let failures: Vec<_> = assertions
            .iter()
            .flat_map(|assertion| assertion.run(&policies))
            .map(|failure| failure.problem())
            .collect();
        if failures.is_empty() {
            Ok(policies)
        } else {
            Err(failures)
        }
    }

    /// For `policy test`, which tells more about a failure than [`Policies::parse`].
    pub fn parse_untested(
        files: &[(PathBuf, String)],
    ) -> Result<(Self, Vec<Assertion>), Vec<Problem>> {
        let mut builder = Builder::default();
        let mut assertions = Vec::new();
        for (file, text) in files {
            let document = Document::read(file, text);
            builder.open(file);
            builder.problems.extend(document.problems);
            for policy in document.policies {
                builder.policy(policy);
            }
            for test in document.tests {
                match Assertion::new(file, test) {
                    Ok(assertion) => assertions.push(assertion),
                    Err(problems) => builder.problems.extend(problems),
                }
            }
        }
        if builder.problems.is_empty() {
            Ok((Self::new(builder), assertions))
        } else {
            Err(builder.problems)
        }
    }

    /// Nothing is allowed.
    pub fn none() -> Self {
        Self::new(Builder::default())
    }

    /// Different for every set that this process made. Whoever remembers a decision remembers this with it (POL-6).
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What may be meant but hardly is; `check` prints it.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    pub fn len(&self) -> usize {
        self.policies.len()
    }

    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The assertions that do not hold.
    pub fn failures<'a>(
        &'a self,
        assertions: &'a [Assertion],
    ) -> impl Iterator<Item = Failure> + 'a {
        assertions.iter().flat_map(|assertion| assertion.run(self))
    }

    fn new(builder: Builder) -> Self {
        let (mut publish, mut subscribe) = (Index::new(), Index::new());
        for (number, rule) in (0..).zip(&builder.rules) {
            match rule.action {
                Action::Publish => publish.insert(number, &rule.pattern),
                Action::Subscribe => subscribe.insert(number, &rule.pattern),
            }
        }
        Self {
            population: Population::new(&builder.policies),
            policies: builder.policies.into(),
            rules: builder.rules.into(),
            publish,
            subscribe,
            shared: super::applicable::Shared::default(),
            warnings: builder.warnings,
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(super) fn rule(&self, number: u32) -> Option<&Rule> {
        self.rules.get(usize::try_from(number).ok()?)
    }

    pub(super) fn policy(&self, number: u32) -> Option<&Policy> {
        self.policies.get(usize::try_from(number).ok()?)
    }
}
