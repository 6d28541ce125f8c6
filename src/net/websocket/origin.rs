//! Whose pages may connect: the Origin header against our own origin and the list. Contract section 4; IDN-14.

/// Where our web listeners are found: what makes a page "same-origin".
#[derive(Clone, Copy, Debug)]
pub struct OwnOrigin<'a> {
    /// TLS on this listener: pages come by https.
    pub secure: bool,
    /// The ports of all our web listeners with that scheme, the admin port included.
    pub ports: &'a [u16],
}

/// What the page that an Origin names is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Same,
    /// An https origin of our host on a listener without TLS: a proxy ended the TLS, or a program that claims https whatever it does (paho
    /// does). No browser opens a plaintext socket from an https page, so it may come in; a cookie it may not bring.
    SameButForTls,
    Other,
}

impl OwnOrigin<'_> {
    /// `Same`: the same scheme, and the host that the request itself was sent to, with that request's port or one of our own web listeners.
    /// `host` is the Host header. Browsers write all three in lower case, and nothing else is understood.
    ///
    /// Without TLS only an address or `localhost` can be the same: any other name may be somebody's who lets it resolve to us after his page
    /// was loaded (DNS rebinding). With TLS the browser has checked that the name is ours.
    pub(super) fn judge(self, origin: &str, host: &str) -> Page {
        let (tls, rest) = match (
            origin.strip_prefix("https://"),
            origin.strip_prefix("http://"),
        ) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Page::Other,
        };
        let (Some((origin_host, origin_port)), Some((own_host, own_port))) =
            (host_and_port(rest), host_and_port(host))
        else {
            return Page::Other;
        };
        let default_port = if tls { 443 } else { 80 };
        let port = origin_port.unwrap_or(default_port);
        let is_our_port = port == own_port.unwrap_or(default_port) || self.ports.contains(&port);
        if origin_host != own_host || !is_our_port {
            return Page::Other;
        }
        match (self.secure, tls) {
            (true, true) => Page::Same,
            (true, false) => Page::Other,
            (false, true) => Page::SameButForTls,
            (false, false) if cannot_be_rebound(own_host) => Page::Same,
            (false, false) => Page::Other,
        }
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
        use Page::{Other, Same};
        let own = OwnOrigin {
            secure: true,
            ports: &[8084, 18083, 443],
        };
        let rows = [
            ("https://gate.example:8084", "gate.example:8084", Same),
            ("https://gate.example:18083", "gate.example:8084", Same),
            ("https://gate.example", "gate.example:8084", Same),
            // A port that was mapped to ours.
            ("https://gate.example:9000", "gate.example:9000", Same),
            ("https://gate.example:9000", "gate.example:8084", Other),
            ("https://gate.example:9000", "gate.example", Other),
            ("http://gate.example:8084", "gate.example:8084", Other),
            ("HTTPS://gate.example:8084", "gate.example:8084", Other),
            ("https://GATE.example:8084", "gate.example:8084", Other),
            ("https://gate.example.evil:8084", "gate.example:8084", Other),
            ("https://evil-gate.example:8084", "gate.example:8084", Other),
            ("https://a.gate.example:8084", "gate.example:8084", Other),
            ("https://gate.example:8084/", "gate.example:8084", Other),
            ("https://x@gate.example:8084", "gate.example:8084", Other),
            ("https://gate.example:08084", "gate.example:8084", Other),
            ("https://gate.example:", "gate.example:8084", Other),
            ("https://[::1]:8084", "[::1]:8084", Same),
            ("https://[::1]:8084", "[::2]:8084", Other),
            ("null", "gate.example:8084", Other),
            ("", "gate.example:8084", Other),
            ("https://", "", Other),
        ];
        for (origin, host, expected) in rows {
            assert_eq!(own.judge(origin, host), expected, "{origin:?} at {host:?}");
        }
    }

    #[test]
    fn without_tls_no_name_is_ours_but_localhost() {
        use Page::{Other, Same, SameButForTls};
        let own = OwnOrigin {
            secure: false,
            ports: &[],
        };
        let rows = [
            ("http://localhost:8083", "localhost:8083", Same),
            ("http://192.0.2.7:8083", "192.0.2.7:8083", Same),
            ("http://[::1]:8083", "[::1]:8083", Same),
            ("http://gate.example:8083", "gate.example:8083", Other),
            ("http://192.0.2.7.evil:8083", "192.0.2.7.evil:8083", Other),
            (
                "https://gate.example:8083",
                "gate.example:8083",
                SameButForTls,
            ),
            ("https://gate.example", "gate.example", SameButForTls),
            ("https://evil.example:8083", "gate.example:8083", Other),
        ];
        for (origin, host, expected) in rows {
            assert_eq!(own.judge(origin, host), expected, "{origin:?} at {host:?}");
        }
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
