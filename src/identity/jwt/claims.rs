//! What a verified token says, each claim of its exact type and each rule of the configuration applied. RFC 7519 section 4, IDN-9

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Number, Value};

use super::acl::{AclMode, AclRules, TokenAcl};
use super::token::InvalidToken;
use crate::identity::{Identity, Rejection, check_username};
use crate::mqtt::Text;

const CLAIMS_MAX: usize = 64;
const VALUES_MAX: usize = 64;
/// The year 9999: what a date can still be written as.
const SECONDS_MAX: u64 = 253_402_300_799;

/// What the configuration asks of every token.
#[derive(Clone, Debug)]
pub struct Rules {
    /// None named: any issuer whose key is ours.
    pub issuers: Vec<String>,
    /// None named: only tokens without an audience. RFC 7519 section 4.1.3
    pub audiences: Vec<String>,
    pub leeway: Duration,
    pub lifetime_max: Duration,
    pub username_claim: String,
    pub client_id_claim: Option<String>,
    pub groups_claim: Option<String>,
    pub acl: Option<AclRules>,
}

/// Claims as somebody tells of them, without a token that proves them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub username: Option<String>,
    pub issuer: Option<String>,
    pub groups: Vec<Arc<str>>,
    pub values: BTreeMap<String, Vec<String>>,
    pub acl: Option<TokenAcl>,
}

/// A token that may log somebody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub username: Arc<str>,
    pub issuer: Option<String>,
    pub groups: Vec<Arc<str>>,
    /// Scalars as text, lists with a value each; objects and null are left out.
    pub values: BTreeMap<String, Vec<String>>,
    pub acl: Option<TokenAcl>,
    pub valid_until: SystemTime,
}

impl Rules {
    pub fn judge(
        &self,
        claims: &Map<String, Value>,
        client_id: &str,
        now: SystemTime,
    ) -> Result<Claims, InvalidToken> {
        if claims.len() > CLAIMS_MAX {
            return Err(InvalidToken::Malformed("payload"));
        }
        let valid_until = self.judge_times(claims, now)?;
        let issuer = self.judge_issuer(claims)?;
        self.judge_audience(claims)?;
        // Checked even where another claim names the user.
        optional_text(claims, "sub")?;
        let username = text(claims, &self.username_claim)?;
        check_username(username).map_err(|reason| refused(&self.username_claim, reason))?;
        if let Some(claim) = &self.client_id_claim
            && text(claims, claim)? != client_id
        {
            return Err(refused(claim, "is not the client identifier of CONNECT"));
        }
        Ok(Claims {
            username: Arc::from(username),
            issuer: issuer.map(str::to_owned),
            groups: self.groups(claims)?,
            acl: self.acl(claims)?,
            values: self.values(claims)?,
            valid_until,
        })
    }

    /// For those who ask what a token would give: nothing of time, issuer or audience is judged. `Err`: a login would be refused.
    pub fn told(&self, claims: &Map<String, Value>) -> Result<Told, InvalidToken> {
        Ok(Told {
            username: optional_text(claims, &self.username_claim)?.map(str::to_owned),
            issuer: optional_text(claims, "iss")?.map(str::to_owned),
            groups: self.groups(claims)?,
            values: self.values(claims)?,
            acl: self.acl(claims)?,
        })
    }

    /// Whether the settings of now would take a token that earlier ones took. Its times are watched elsewhere.
    pub fn still_take(&self, identity: &Identity) -> Result<(), Rejection> {
        let named = |claim: &str, ours: &[String]| {
            let values = identity.claims.get(claim).map_or(&[][..], Vec::as_slice);
            values.iter().any(|value| ours.contains(value))
        };
        if !self.issuers.is_empty() && !named("iss", &self.issuers) {
            return Err(Rejection::TokenNoLonger("its issuer is not ours any more"));
        }
        let has_audience = identity.claims.contains_key("aud");
        if (has_audience || !self.audiences.is_empty()) && !named("aud", &self.audiences) {
            return Err(Rejection::TokenNoLonger(
                "its audience is not this server any more",
            ));
        }
        let stands = match (&self.acl, identity.acl.as_deref()) {
            (None, None) => true,
            (Some(rules), None) => rules.mode == AclMode::Grant,
            (Some(rules), Some(acl)) => rules.claim == acl.claim && rules.mode == acl.mode,
            (None, Some(_)) => false,
        };
        match stands {
            true => Ok(()),
            false => Err(Rejection::TokenNoLonger(
                "its list means something else by now",
            )),
        }
    }

    /// `exp` rounds down and `nbf` up, so that a fraction never adds a second.
    fn judge_times(
        &self,
        claims: &Map<String, Value>,
        now: SystemTime,
    ) -> Result<SystemTime, InvalidToken> {
        let expiration =
            time(claims, "exp", Rounding::Down)?.ok_or_else(|| refused("exp", "is missing"))?;
        let end_of_leeway = expiration.checked_add(self.leeway).unwrap_or(expiration);
        if now >= end_of_leeway {
            return Err(refused("exp", "the token has expired"));
        }
        let latest = now.checked_add(self.leeway).unwrap_or(now);
        if time(claims, "nbf", Rounding::Up)?.is_some_and(|not_before| not_before > latest) {
            return Err(refused("nbf", "the token is not valid yet"));
        }
        if time(claims, "iat", Rounding::Down)?.is_some_and(|issued| issued > latest) {
            return Err(refused("iat", "the token was issued in the future"));
        }
        if expiration
            .duration_since(now)
            .is_ok_and(|left| left > self.lifetime_max)
        {
            return Err(refused("exp", "the token lives longer than max_lifetime"));
        }
        // A token that is taken within the leeway lives to its end; every other ends when it says.
        Ok(if now < expiration {
            expiration
        } else {
            end_of_leeway
        })
    }

    fn judge_issuer<'a>(
        &self,
        claims: &'a Map<String, Value>,
    ) -> Result<Option<&'a str>, InvalidToken> {
        let issuer = optional_text(claims, "iss")?;
        if self.issuers.is_empty() {
            return Ok(issuer);
        }
        match issuer {
            Some(issuer) if self.issuers.iter().any(|known| known == issuer) => Ok(Some(issuer)),
            Some(_) => Err(refused("iss", "is not ours")),
            None => Err(refused("iss", "is missing")),
        }
    }

    fn judge_audience(&self, claims: &Map<String, Value>) -> Result<(), InvalidToken> {
        let audience = strings(claims, "aud")?;
        if audience.is_empty() && self.audiences.is_empty() {
            return Ok(());
        }
        if audience
            .iter()
            .any(|one| self.audiences.iter().any(|own| own == one))
        {
            return Ok(());
        }
        Err(refused("aud", "does not name this server"))
    }

    fn groups(&self, claims: &Map<String, Value>) -> Result<Vec<Arc<str>>, InvalidToken> {
        let Some(claim) = &self.groups_claim else {
            return Ok(Vec::new());
        };
        let groups = strings(claims, claim)?;
        for group in &groups {
            check_username(group).map_err(|reason| refused(claim, reason))?;
        }
        Ok(groups.into_iter().map(Arc::from).collect())
    }

    fn acl(&self, claims: &Map<String, Value>) -> Result<Option<TokenAcl>, InvalidToken> {
        match &self.acl {
            Some(rules) => rules.read(claims),
            None => Ok(None),
        }
    }

    fn values(
        &self,
        claims: &Map<String, Value>,
    ) -> Result<BTreeMap<String, Vec<String>>, InvalidToken> {
        // A list of statements is no value to compare with.
        let acl = self.acl.as_ref().map(|acl| &acl.claim);
        let mut all = BTreeMap::new();
        for (name, value) in claims.iter().filter(|(name, _)| Some(*name) != acl) {
            Text::try_from(name.as_str()).map_err(|_| InvalidToken::Malformed("claim name"))?;
            let values = values(name, value)?;
            if !values.is_empty() {
                all.insert(name.clone(), values);
            }
        }
        Ok(all)
    }
}

#[derive(Clone, Copy)]
enum Rounding {
    Down,
    Up,
}

/// A NumericDate: a finite number of seconds that is not negative and not beyond all calendars.
fn time(
    claims: &Map<String, Value>,
    claim: &str,
    rounding: Rounding,
) -> Result<Option<SystemTime>, InvalidToken> {
    let number = match claims.get(claim) {
        None => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
        ) => {
            return Err(refused(claim, "is not a number"));
        }
    };
    let seconds = whole_seconds(number, rounding)
        .filter(|seconds| *seconds <= SECONDS_MAX)
        .ok_or_else(|| refused(claim, "is not a date"))?;
    Ok(SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
}

fn whole_seconds(number: &Number, rounding: Rounding) -> Option<u64> {
    if let Some(seconds) = number.as_u64() {
        return Some(seconds);
    }
    let seconds = number.as_f64().filter(|seconds| *seconds >= 0.0)?;
    let seconds = match rounding {
        Rounding::Down => seconds.floor(),
        Rounding::Up => seconds.ceil(),
    };
    Some(Duration::try_from_secs_f64(seconds).ok()?.as_secs())
}

fn optional_text<'a>(
    claims: &'a Map<String, Value>,
    claim: &str,
) -> Result<Option<&'a str>, InvalidToken> {
    match claims.get(claim) {
        None => Ok(None),
        Some(value) => validated(value, claim).map(Some),
    }
}

fn text<'a>(claims: &'a Map<String, Value>, claim: &str) -> Result<&'a str, InvalidToken> {
    optional_text(claims, claim)?.ok_or_else(|| refused(claim, "is missing"))
}

/// One string or a list of them; absent is none.
fn strings<'a>(claims: &'a Map<String, Value>, claim: &str) -> Result<Vec<&'a str>, InvalidToken> {
    match claims.get(claim) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= VALUES_MAX => {
            items.iter().map(|item| validated(item, claim)).collect()
        }
        Some(Value::Array(_)) => Err(refused(claim, "has too many values")),
        Some(value) => Ok(vec![validated(value, claim)?]),
    }
}

/// Client text, through the same validation as a packet's (TRN-3).
fn validated<'a>(value: &'a Value, claim: &str) -> Result<&'a str, InvalidToken> {
    let text = value
        .as_str()
        .ok_or_else(|| refused(claim, "is not a string"))?;
    Text::try_from(text).map_err(|_| refused(claim, "holds a control character"))?;
    Ok(text)
}

fn values(name: &str, value: &Value) -> Result<Vec<String>, InvalidToken> {
    match value {
        Value::Array(items) if items.len() > VALUES_MAX => {
            Err(refused(name, "has too many values"))
        }
        Value::Array(items) => items
            .iter()
            .map(|item| scalar(item, name))
            .filter_map(Result::transpose)
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Ok(scalar(value, name)?.into_iter().collect())
        }
    }
}

fn scalar(value: &Value, claim: &str) -> Result<Option<String>, InvalidToken> {
    match value {
        Value::String(_) => validated(value, claim).map(|text| Some(text.to_owned())),
        Value::Bool(_) | Value::Number(_) => Ok(Some(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => Ok(None),
    }
}

fn refused(claim: &str, reason: &'static str) -> InvalidToken {
    InvalidToken::Claim {
        claim: claim.chars().take(64).collect(),
        reason,
    }
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
