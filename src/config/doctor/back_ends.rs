//! What happens when something that the broker depends on fails.

use super::Findings;
use crate::config::Config;
use crate::identity::Method;
use crate::identity::jwt::AclMode;
use crate::identity::ldap::LdapMode;
use crate::net::config::Doubt;
use crate::store::{Durability, Kind};
use crate::telemetry::OnFailure;

pub(super) fn examine(config: &Config, findings: &mut Findings) {
    directory(config, findings);
    keys(config, findings);
    revocation(config, findings);
    if uses(config, Method::PASSWORD) {
        findings.note(
            "when-it-fails",
            "authentication.password.file",
            "a users file that does not load stops the start; while running the last good one stays in force, and that is logged",
        );
    }
    match config.audit.on_failure {
        OnFailure::Deny => findings.note(
            "when-it-fails",
            "audit.on_failure",
            "deny: while the audit log cannot be written nobody logs in and no administrator changes anything; live traffic goes on",
        ),
        OnFailure::Continue => findings.warning(
            "when-it-fails",
            "audit.on_failure",
            "continue: while the audit log cannot be written logins and changes leave no trace",
            "deny, where the trail is evidence",
        ),
    }
    let embedded = config.store.kind == Kind::Embedded;
    match config.store.durability {
        Durability::Sync if embedded => {}
        Durability::Sync => findings.note(
            "when-it-fails",
            "store.kind",
            "memory: sessions, queues and retained messages end with the process",
        ),
        Durability::Interval | Durability::None => findings.warning(
            "when-it-fails",
            "store.durability",
            "what was acknowledged last can be lost with the power",
            "sync, unless every publisher can send it again",
        ),
    }
}

fn directory(config: &Config, findings: &mut Findings) {
    let Some(ldap) = &config.authentication.ldap else {
        return;
    };
    if ldap.url.starts_with("ldap://") && !ldap.starttls {
        let at = "authentication.ldap.starttls";
        if ldap.allow_insecure {
            findings.serious(
                "plaintext-credentials",
                at,
                "every password goes to the directory in clear",
                "ldaps://, or starttls: true",
            );
        } else {
            findings.note(
                "plaintext-credentials",
                at,
                "passwords go to the directory in clear, over loopback",
            );
        }
    }
    if ldap.mode == LdapMode::Bind && ldap.search.bind_dn.is_none() {
        findings.warning(
            "removal-unseen",
            "authentication.ldap.search.bind_dn",
            "none, and no password is kept to ask with: whoever is removed from the directory keeps a session that is connected",
            "an account that may read the people's entries",
        );
    }
    findings.note(
        "when-it-fails",
        "authentication.ldap",
        format!(
            "a directory that does not answer within {} refuses the login, never the next method's turn; a good login is remembered for {}",
            ldap.timeout, ldap.cache
        ),
    );
}

fn keys(config: &Config, findings: &mut Findings) {
    let Some(jwt) = &config.authentication.jwt else {
        return;
    };
    if let Some(jwks) = &jwt.jwks {
        findings.note(
            "when-it-fails",
            "authentication.jwt.jwks",
            format!(
                "a key set that cannot be read again leaves the last good keys for {}; then every token is refused, and sessions by its keys end",
                jwks.keep
            ),
        );
    }
    if jwt.acl().is_some_and(|acl| acl.mode == AclMode::Grant) {
        findings.note(
            "token-grants",
            "authentication.jwt.acl_mode",
            "grant: whoever signs tokens decides what their bearers may do, but for what a policy denies and for topics that begin with $",
        );
    }
    if jwt.audience.0.is_empty() {
        findings.warning(
            "token-audience",
            "authentication.jwt.audience",
            "none: a token that its issuer made for another service is good here",
            "audience: [NAME], and issuer too",
        );
    }
}

fn revocation(config: &Config, findings: &mut Findings) {
    let listeners = config.listeners.iter();
    let tls = listeners.filter_map(|(name, listener)| {
        Some((format!("listeners.{name}.tls"), listener.tls.as_ref()?))
    });
    let admin = config
        .admin
        .iter()
        .map(|admin| ("admin.tls".to_owned(), &admin.tls));
    for (at, tls) in tls.chain(admin) {
        if tls.crl.is_empty() {
            continue;
        }
        for (key, doubt, what) in [
            (
                "crl_stale",
                tls.crl_stale,
                "a revocation list past its next update",
            ),
            (
                "crl_missing",
                tls.crl_missing,
                "an issuer without a revocation list",
            ),
        ] {
            match doubt {
                Doubt::Deny => findings.note(
                    "when-it-fails",
                    format!("{at}.{key}"),
                    format!("deny: {what} refuses every certificate that it concerns"),
                ),
                Doubt::Allow => findings.warning(
                    "when-it-fails",
                    format!("{at}.{key}"),
                    format!("allow: {what} lets revoked certificates in"),
                    "deny, and renew the list well before it ends",
                ),
            }
        }
    }
}

fn uses(config: &Config, method: Method) -> bool {
    config
        .listeners
        .values()
        .flat_map(|listener| listener.authenticate.methods())
        .any(|used| used == method)
}
