//! Subjects that the rules around a statement can tell apart.

use super::super::assertion::{PROTOCOLS, method, protocol};
use super::super::attribute::Attribute;
use super::super::build::METHODS;
use super::super::pattern::{Level, Pattern};
use super::super::policies::Policies;
use super::super::rule::Rule;
use super::super::who::{Condition, Who};
use crate::address::Cidr;
use crate::identity::{CertificateNames, Identity, Method, Subject};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// More are not tried: the change is then told as not ruled out.
const MOST: usize = 3000;
/// A value that no policy names.
const NOBODY: &str = "somebody";

/// For each attribute that matters the sets of values that matter; an empty set is a missing attribute.
pub(super) struct Cast<'a> {
    roles: Vec<(Attribute, Vec<Vec<String>>)>,
    addresses: Vec<IpAddr>,
    relevant: Vec<&'a Rule>,
    complete: bool,
}

impl<'a> Cast<'a> {
    pub(super) fn new(seed: &'a Rule, home: &Policies, sets: [&'a Policies; 2]) -> Self {
        let own = home.policy(seed.policy).map(|policy| &policy.who);
        let mut named = Named::default();
        let mut relevant = Vec::new();
        // The rules that can change what the seed does, each with its policy's conditions.
        for set in sets {
            let meets = |rule: &&Rule| {
                rule.action == seed.action && !rule.audit && may_meet(&rule.pattern, &seed.pattern)
            };
            for rule in set.rules.iter().filter(meets) {
                named.who(set.policy(rule.policy).map(|policy| &policy.who));
                relevant.push(rule);
            }
        }
        named.who(own);
        named.patterns(&relevant, &seed.pattern);
        let addresses = named.addresses();
        let mut roles: Vec<_> = named
            .texts
            .into_iter()
            .map(|(attribute, values)| role(attribute, values, own))
            .collect();
        let combinations = roles.iter().try_fold(addresses.len(), |all, (_, choices)| {
            all.checked_mul(choices.len())
        });
        let complete = combinations.is_some_and(|all| all <= MOST);
        // Those with many values change last, so that what is tried first differs in all others.
        roles.sort_by_key(|(_, choices)| std::cmp::Reverse(choices.len()));
        Self {
            roles,
            addresses,
            relevant,
            complete,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Plain, and names that the groups of the rules tell apart.
    pub(super) fn shares(&self) -> Vec<Option<String>> {
        let globs = self
            .relevant
            .iter()
            .filter_map(|rule| rule.share.as_deref());
        let names: BTreeSet<_> = globs
            .flatten()
            .flat_map(|glob| {
                [
                    glob.as_str().replace('*', ""),
                    glob.as_str().replace('*', "x"),
                ]
            })
            .filter(|name| !name.is_empty())
            .chain(["anygroup".to_owned()])
            .collect();
        std::iter::once(None)
            .chain(names.into_iter().map(Some))
            .collect()
    }

    /// All combinations, or the first [`MOST`] of them.
    pub(super) fn subjects(&self) -> impl Iterator<Item = Subject> {
        (0..MOST).map_while(move |number| {
            let mut rest = number;
            let mut pick = |choices: usize| {
                let choice = rest.checked_rem(choices).unwrap_or(0);
                rest = rest.checked_div(choices).unwrap_or(0);
                choice
            };
            let ip = self.addresses.get(pick(self.addresses.len())).copied()?;
            let mut values = BTreeMap::new();
            for (attribute, choices) in self.roles.iter().rev() {
                let chosen = choices.get(pick(choices.len()))?;
                values.insert(attribute.clone(), chosen.clone());
            }
            // A rest means that all combinations have been.
            (rest == 0).then(|| subject(ip, &values))
        })
    }
}

/// What the conditions and filters say about each attribute.
#[derive(Default)]
struct Named {
    texts: BTreeMap<Attribute, BTreeSet<String>>,
    blocks: BTreeSet<Cidr>,
}

impl Named {
    fn who(&mut self, who: Option<&Who>) {
        for condition in who.iter().flat_map(|who| &who.0) {
            match condition {
                Condition::Any => {}
                Condition::Text(attribute, globs) => {
                    let known = self.texts.entry(attribute.clone()).or_default();
                    for glob in globs {
                        known.insert(glob.as_str().replace('*', ""));
                        known.insert(glob.as_str().replace('*', NOBODY));
                    }
                }
                Condition::Network(blocks) => self.blocks.extend(blocks.iter().copied()),
                Condition::Not(inner) => self.who(Some(inner)),
            }
        }
    }

    /// A placeholder may meet the literals, and the values of other placeholders, in its level.
    fn patterns(&mut self, relevant: &[&Rule], seed: &Pattern) {
        let all = || relevant.iter().map(|rule| &rule.pattern).chain([seed]);
        for pattern in all() {
            for (index, level) in pattern.levels().iter().enumerate() {
                let Level::Value(template) = level else {
                    continue;
                };
                let known = self.texts.entry(template.attribute.clone()).or_default();
                for other in all().filter_map(|pattern| pattern.levels().get(index)) {
                    let met = match other {
                        Level::Literal(literal) => literal
                            .strip_prefix(&*template.before)
                            .and_then(|rest| rest.strip_suffix(&*template.after)),
                        Level::Single => None,
                        Level::Value(_) => Some("same"),
                    };
                    known.extend(met.filter(|met| !met.is_empty()).map(str::to_owned));
                }
                // Reads as `+` in a deny although it is there.
                known.insert("no/level".to_owned());
            }
        }
    }

    /// Every block has an inside and an outside; nested ones meet at their edges.
    fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses = BTreeSet::from([IpAddr::from([203, 0, 113, 77])]);
        for block in &self.blocks {
            addresses.extend(edges(block));
        }
        addresses.into_iter().collect()
    }
}

/// The choices for one attribute, without those that the seed's own conditions rule out.
fn role(
    attribute: Attribute,
    named: BTreeSet<String>,
    own: Option<&Who>,
) -> (Attribute, Vec<Vec<String>>) {
    let mut choices: Vec<Vec<String>> = match &attribute {
        Attribute::Auth => known(METHODS.iter().map(|method| method.0), &named),
        Attribute::Protocol => known(PROTOCOLS.into_iter(), &named),
        Attribute::Username
        | Attribute::ClientId
        | Attribute::Ip
        | Attribute::Listener
        | Attribute::Namespace
        | Attribute::Group
        | Attribute::Certificate(_)
        | Attribute::Claim(_) => open(&attribute, named),
    };
    for condition in own.iter().flat_map(|who| &who.0) {
        if let Condition::Text(about, globs) = condition
            && *about == attribute
        {
            choices.retain(|choice| {
                choice
                    .iter()
                    .any(|value| globs.iter().any(|glob| glob.matches(value)))
            });
        }
    }
    (attribute, choices)
}

/// Of a few known values those that are named, and one that is not.
fn known<'a>(
    all: impl Iterator<Item = &'a str> + Clone,
    named: &BTreeSet<String>,
) -> Vec<Vec<String>> {
    let of = |name: &str| vec![name.to_owned()];
    if named
        .iter()
        .any(|name| all.clone().all(|known| known != name))
    {
        return all.map(of).collect();
    }
    let unnamed = all.clone().find(|name| !named.contains(*name));
    let named = all.filter(|name| named.contains(*name));
    unnamed.into_iter().chain(named).map(of).collect()
}

/// Somebody whom nothing names, nothing at all, each value named, and two at once where there can be.
fn open(attribute: &Attribute, named: BTreeSet<String>) -> Vec<Vec<String>> {
    let nobody = format!("{NOBODY}-{attribute}").replace(['/', '+', '#'], "-");
    let named = named.into_iter().filter(|value| !value.is_empty());
    let values: Vec<_> = std::iter::once(nobody).chain(named).collect();
    let mut choices: Vec<Vec<String>> = values.iter().map(|value| vec![value.clone()]).collect();
    choices.insert(1, Vec::new());
    if attribute.is_multiple() {
        for (index, one) in values.iter().enumerate() {
            let others = values.iter().skip(index.saturating_add(1));
            choices.extend(others.map(|other| vec![one.clone(), other.clone()]));
        }
    }
    choices
}

fn edges(block: &Cidr) -> Vec<IpAddr> {
    match block.network() {
        IpAddr::V4(first) => {
            let first = first.to_bits();
            let size = u32::MAX.checked_shr(u32::from(block.length())).unwrap_or(0);
            let last = first | size;
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|bits| IpAddr::V4(bits.into()))
                .to_vec()
        }
        IpAddr::V6(first) => {
            let first = first.to_bits();
            let size = u128::MAX
                .checked_shr(u32::from(block.length()))
                .unwrap_or(0);
            let last = first | size;
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|bits| IpAddr::V6(bits.into()))
                .to_vec()
        }
    }
}

/// Whether some topic may be meant by both, whatever their placeholders stand for.
fn may_meet(one: &Pattern, two: &Pattern) -> bool {
    let (levels, others) = (one.levels(), two.levels());
    let fits = match (one.is_open(), two.is_open()) {
        (true, true) => true,
        (true, false) => levels.len() <= others.len(),
        (false, true) => others.len() <= levels.len(),
        (false, false) => levels.len() == others.len(),
    };
    fits && levels.iter().zip(others).all(|pair| match pair {
        (Level::Literal(one), Level::Literal(two)) => one == two,
        (Level::Literal(_) | Level::Single | Level::Value(_), _) => true,
    })
}

fn subject(ip: IpAddr, values: &BTreeMap<Attribute, Vec<String>>) -> Subject {
    use super::super::attribute::CertificateField as Field;
    let all = |attribute: Attribute| values.get(&attribute).cloned().unwrap_or_default();
    let one = |attribute: Attribute| all(attribute).pop().unwrap_or_default();
    // What no rule asks for may be anything, and something plain reads best.
    let plain = |attribute: Attribute, plain: &str| match values.contains_key(&attribute) {
        true => one(attribute),
        false => plain.to_owned(),
    };
    let method = method(&plain(Attribute::Auth, "password")).unwrap_or(Method::PASSWORD);
    let names = |field| all(Attribute::Certificate(field));
    let name = |field| one(Attribute::Certificate(field));
    let has_certificate = values.iter().any(|(attribute, values)| {
        matches!(attribute, Attribute::Certificate(_)) && !values.is_empty()
    });
    Subject {
        identity: Identity {
            groups: all(Attribute::Group).into_iter().map(Into::into).collect(),
            certificate: has_certificate.then(|| {
                Arc::new(CertificateNames {
                    common_name: names(Field::CommonName),
                    organizational_unit: names(Field::OrganizationalUnit),
                    organization: names(Field::Organization),
                    san_dns: names(Field::SanDns),
                    san_uri: names(Field::SanUri),
                    san_email: names(Field::SanEmail),
                    subject_dn: name(Field::SubjectDn),
                    issuer: name(Field::Issuer),
                    serial: name(Field::Serial),
                    fingerprint: name(Field::Fingerprint),
                })
            }),
            claims: values
                .iter()
                .filter_map(|(attribute, values)| match attribute {
                    Attribute::Claim(name) if !values.is_empty() => {
                        Some((name.to_string(), values.clone()))
                    }
                    Attribute::Claim(_)
                    | Attribute::Username
                    | Attribute::ClientId
                    | Attribute::Ip
                    | Attribute::Listener
                    | Attribute::Auth
                    | Attribute::Namespace
                    | Attribute::Protocol
                    | Attribute::Group
                    | Attribute::Certificate(_) => None,
                })
                .collect(),
            ..Identity::new(
                method,
                plain(Attribute::Namespace, method.0).into(),
                plain(Attribute::Username, NOBODY).into(),
            )
        },
        client_id: plain(Attribute::ClientId, NOBODY).into(),
        ip,
        listener: one(Attribute::Listener).into(),
        protocol: protocol(&plain(Attribute::Protocol, "mqtt")).unwrap_or("mqtt"),
    }
}
