//! The section turned into what connections are opened with; whatever could send a password in clear is refused here (IDN-7).

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ldap3::LdapConnSettings;
use rustls::ClientConfig;

use super::super::client_tls::client_config;
use crate::identity::ldap::{LdapConfig, LdapMode};
use crate::problem::Problem;
use crate::secret::Secret;

pub(super) struct Settings {
    pub(super) url: String,
    starttls: bool,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    /// Who searches.
    pub(super) bind_dn: Option<String>,
    pub(super) bind_password: Option<Arc<Secret>>,
}

impl Settings {
    pub(super) fn new(config: &LdapConfig, base: &Path) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut refused = |reason: &str| {
            problems.push(Problem::whole(
                base,
                format!("authentication.ldap: {reason}"),
            ));
        };
        let (scheme, host) = match parse(&config.url) {
            Some(parts) => parts,
            None => {
                refused("url: ldaps://HOST[:PORT] or ldap://HOST[:PORT], and nothing behind it");
                ("ldaps", "")
            }
        };
        let in_clear = scheme == "ldap" && !config.starttls;
        if in_clear && !is_loopback(host) && !config.allow_insecure {
            refused("starttls: false would send passwords in clear; it needs allow_insecure: true");
        }
        if config.cache.get() > LdapConfig::CACHE_MAX.get() {
            refused("cache: at most 1m");
        }
        match config.mode {
            LdapMode::Bind if config.bind_dn_template.is_none() => {
                refused("mode: bind needs bind_dn_template")
            }
            LdapMode::SearchBind if config.search.filter.is_none() => {
                refused("mode: search_bind needs search.filter")
            }
            LdapMode::Bind | LdapMode::SearchBind => {}
        }
        if config
            .search
            .filter
            .as_ref()
            .is_some_and(|filter| filter.asks_for_a_dn())
        {
            refused("search.filter: {dn} is not known before the search");
        }
        let has_password = config
            .search
            .bind_password
            .as_ref()
            .is_some_and(|password| !password.is_empty());
        if config.search.bind_dn.is_some() != has_password {
            refused("search: bind_dn and bind_password belong together, and neither is empty");
        }
        let tls = if in_clear {
            None
        } else {
            client_config(config.ca.as_deref(), base)
                .map_err(|problem| problems.push(problem))
                .ok()
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            url: config.url.clone(),
            starttls: scheme == "ldap" && config.starttls,
            tls,
            timeout: config.timeout.get(),
            bind_dn: config.search.bind_dn.clone(),
            bind_password: config.search.bind_password.clone(),
        })
    }

    pub(super) fn connection(&self) -> LdapConnSettings {
        let settings = LdapConnSettings::new()
            .set_conn_timeout(self.timeout)
            .set_starttls(self.starttls);
        match &self.tls {
            Some(config) => settings.set_config(config.clone()),
            None => settings,
        }
    }
}

/// Scheme and host. The library panics on what is no URL of a host, so nothing else may come to it.
fn parse(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !rest.ends_with(']') => (host, port),
        Some(_) | None => (rest, "389"),
    };
    let name_is_good = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    let good = matches!(scheme, "ldap" | "ldaps")
        && name_is_good
        && port.parse::<u16>().is_ok_and(|port| port > 0);
    good.then_some((scheme, host))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_a_host_and_a_port() {
        let rows = [
            ("ldaps://id.example", Some(("ldaps", "id.example"))),
            ("ldap://127.0.0.1:3389/", Some(("ldap", "127.0.0.1"))),
            ("ldapi:///run/slapd", None),
            ("ldap://", None),
            ("ldap:///", None),
            ("ldap://user@host", None),
            ("ldap://host/dc=example", None),
            ("ldap://host:0", None),
            ("ldap://host:x", None),
            ("ldap://[::1]:389", None),
            ("host", None),
            ("", None),
        ];
        for (url, expected) in rows {
            assert_eq!(parse(url), expected, "{url}");
        }
    }

    #[test]
    fn idn_07_passwords_never_travel_in_clear_by_accident() {
        let section = |url: &str, more: &str| {
            format!("{{url: '{url}', mode: bind, bind_dn_template: 'uid={{username}}'{more}}}")
        };
        let rows = [
            (section("ldaps://id.example", ""), true),
            (section("ldap://id.example", ""), true),
            (section("ldap://id.example", ", starttls: false"), false),
            (section("ldap://id.example", ", starttls: false, allow_insecure: true"), true),
            (section("ldap://127.0.0.1", ", starttls: false"), true),
            (section("ldap://localhost", ", starttls: false"), true),
            (section("ldap://127.0.0.1.example", ", starttls: false"), false),
            (section("ldap://id.example", ", cache: 2m"), false),
            (section("ldap://id.example", ", search: {bind_dn: cn=a}"), false),
            (section("ldap://id.example", ", search: {bind_dn: cn=a, bind_password: ''}"), false),
            (section("ldap://id.example", ", ca: missing.pem"), false),
            ("{url: 'ldaps://id.example', mode: bind}".to_owned(), false),
            ("{url: 'ldaps://id.example', mode: search_bind}".to_owned(), false),
            ("{url: 'ldaps://id.example', mode: search_bind, search: {filter: '(uid={username})'}}".to_owned(), true),
            ("{url: 'ldaps://id.example', mode: search_bind, search: {filter: '(uid={dn})'}}".to_owned(), false),
        ];
        for (text, good) in rows {
            let made = serde_saphyr::from_str::<LdapConfig>(&text)
                .map(|config| Settings::new(&config, Path::new(".")).is_ok());
            assert_eq!(made.unwrap_or(false), good, "{text}");
        }
    }
}
