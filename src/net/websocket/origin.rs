//! Whose pages may connect: the Origin header against our own origin and the list. Contract section 4; IDN-14.

/// Where our web listeners are found: what makes a page "same-origin".
#[derive(Clone, Copy, Debug)]
pub struct OwnOrigin<'a> {
    /// TLS on this listener: pages come by https.
    pub secure: bool,
    /// The ports of all our web listeners with that scheme, the admin port included.
    pub ports: &'a [u16],
}

impl OwnOrigin<'_> {
    /// Same scheme, and the host that the request itself was sent to, with a port of one of our own web listeners.
    /// `host` is the Host header. Browsers write all three in lower case, and nothing else is understood.
    ///
    /// Without TLS only an address or `localhost` can be the same: any other name may be somebody's who lets it resolve to us after his page
    /// was loaded (DNS rebinding). With TLS the browser has checked that the name is ours.
    pub(super) fn is_same(self, origin: &str, host: &str) -> bool {
        let (scheme, default_port) = if self.secure {
            ("https://", 443)
        } else {
            ("http://", 80)
        };
        let Some((origin_host, port)) = origin.strip_prefix(scheme).and_then(host_and_port) else {
            return false;
        };
        let Some((own_host, _)) = host_and_port(host) else {
            return false;
        };
        origin_host == own_host
            && (self.secure || cannot_be_rebound(own_host))
            && self.ports.contains(&port.unwrap_or(default_port))
    }
}

fn cannot_be_rebound(host: &str) -> bool {
    host == "localhost" || host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Splits `host[:port]`, an IPv6 host with its brackets.
pub(super) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => {
            let (host, port) = text.split_at_checked(colon)?;
            let digits = port.strip_prefix(':')?;
            if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            (host, Some(digits.parse().ok()?))
        }
        Some(_) | None => (text, None),
    };
    let inner = match host.strip_prefix('[') {
        Some(rest) => {
            let address = rest.strip_suffix(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            return Some((host, port));
        }
        None => host,
    };
    let is_host = !inner.is_empty()
        && inner
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    is_host.then_some((host, port))
}

/// As a browser serialises one (RFC 6454 section 6.1): a scheme in lower case, a host, a port that is not the scheme's own.
pub(in crate::net) fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let default_port = match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let known_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.')
        });
    let host = host_and_port(rest);
    known_scheme
        && !rest.bytes().any(|byte| byte.is_ascii_uppercase())
        && host.is_some_and(|(_, port)| port.is_none() || port != default_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idn_14_same_origin_is_scheme_host_and_one_of_our_ports() {
        let own = OwnOrigin {
            secure: true,
            ports: &[8084, 18083, 443],
        };
        let rows = [
            ("https://gate.example:8084", "gate.example:8084", true),
            ("https://gate.example:18083", "gate.example:8084", true),
            ("https://gate.example", "gate.example:8084", true),
            ("https://gate.example:9000", "gate.example:8084", false),
            ("http://gate.example:8084", "gate.example:8084", false),
            ("HTTPS://gate.example:8084", "gate.example:8084", false),
            ("https://GATE.example:8084", "gate.example:8084", false),
            ("https://gate.example.evil:8084", "gate.example:8084", false),
            ("https://evil-gate.example:8084", "gate.example:8084", false),
            ("https://a.gate.example:8084", "gate.example:8084", false),
            ("https://gate.example:8084/", "gate.example:8084", false),
            ("https://x@gate.example:8084", "gate.example:8084", false),
            ("https://gate.example:08084", "gate.example:8084", false),
            ("https://gate.example:", "gate.example:8084", false),
            ("https://[::1]:8084", "[::1]:8084", true),
            ("https://[::1]:8084", "[::2]:8084", false),
            ("null", "gate.example:8084", false),
            ("", "gate.example:8084", false),
            ("https://", "", false),
        ];
        for (origin, host, expected) in rows {
            assert_eq!(
                own.is_same(origin, host),
                expected,
                "{origin:?} at {host:?}"
            );
        }
        let plain = OwnOrigin {
            secure: false,
            ports: &[80],
        };
        for (host, expected) in [
            ("localhost", true),
            ("192.0.2.7", true),
            ("[::1]", true),
            ("gate.example", false),
            ("192.0.2.7.evil.example", false),
        ] {
            let origin = format!("http://{host}");
            assert_eq!(plain.is_same(&origin, host), expected, "{host}");
        }
        assert!(!plain.is_same("https://localhost", "localhost"));
    }

    #[test]
    fn what_may_stand_in_allowed_origins() {
        let rows = [
            ("https://app.example.com", true),
            ("http://localhost:3000", true),
            ("https://[::1]:8443", true),
            ("app://obsidian.md", true),
            ("https://app.example.com/", false),
            ("https://*.example.com", false),
            ("https://App.example.com", false),
            ("https://app.example.com:443", false),
            ("app.example.com", false),
            ("null", false),
            ("*", false),
            ("", false),
        ];
        for (origin, expected) in rows {
            assert_eq!(is_origin(origin), expected, "{origin:?}");
        }
    }
}
