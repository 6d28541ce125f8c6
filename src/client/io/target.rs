//! Where to connect: `mqtt://host`, `mqtts://host:8883`, `ws://host/mqtt`, `wss://host:8084/mqtt`.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
}

impl Scheme {
    pub fn is_secure(self) -> bool {
        match self {
            Self::Mqtts | Self::Wss => true,
            Self::Mqtt | Self::Ws => false,
        }
    }

    pub fn is_websocket(self) -> bool {
        match self {
            Self::Ws | Self::Wss => true,
            Self::Mqtt | Self::Mqtts => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The product's own ports where nobody says another one.
    fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 8083,
            Self::Wss => 8084,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub scheme: Scheme,
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// Of the WebSocket upgrade.
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    #[error("a URL begins with mqtt://, mqtts://, ws:// or wss://")]
    Scheme,
    #[error("the URL names no host")]
    Host,
    #[error("{0:?} is no port")]
    Port(String),
    #[error(
        "a username and a password do not belong into a URL: use --username and --password-stdin"
    )]
    Credentials,
    #[error("mqtt:// and mqtts:// take no path")]
    Path,
    #[error("the URL holds a blank or a control character")]
    Character,
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(url: &str) -> Result<Self, InvalidTarget> {
        if url
            .chars()
            .any(|character| character.is_control() || character.is_whitespace())
        {
            return Err(InvalidTarget::Character);
        }
        let (scheme, rest) = url.split_once("://").ok_or(InvalidTarget::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => Scheme::Mqtt,
            "mqtts" | "ssl" | "tls" => Scheme::Mqtts,
            "ws" => Scheme::Ws,
            "wss" => Scheme::Wss,
            _ => return Err(InvalidTarget::Scheme),
        };
        let (authority, path) = match rest.find('/') {
            Some(index) => rest.split_at(index),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(InvalidTarget::Credentials);
        }
        let path = match path {
            "" | "/" if scheme.is_websocket() => "/mqtt",
            "" | "/" => "",
            _ if !scheme.is_websocket() => return Err(InvalidTarget::Path),
            path => path,
        };
        let (host, port) = split_port(authority)?;
        if host.is_empty() {
            return Err(InvalidTarget::Host);
        }
        let port = match port {
            None => scheme.default_port(),
            Some(port) => port
                .parse()
                .map_err(|_| InvalidTarget::Port(port.to_owned()))?,
        };
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }
}

impl Target {
    /// Host and port as a URL and the Host field write them.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}{}",
            self.scheme.name(),
            self.authority(),
            self.path
        )
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), InvalidTarget> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(InvalidTarget::Host)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(InvalidTarget::Host),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(InvalidTarget::Host),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_scheme_host_port_and_path() {
        let rows = [
            ("mqtt://localhost", Ok("mqtt://localhost:1883")),
            (
                "mqtts://broker.example:8884",
                Ok("mqtts://broker.example:8884"),
            ),
            ("MQTTS://[::1]", Ok("mqtts://[::1]:8883")),
            ("ws://h", Ok("ws://h:8083/mqtt")),
            ("wss://h:1/a/b?c=d", Ok("wss://h:1/a/b?c=d")),
            ("http://h", Err(InvalidTarget::Scheme)),
            ("localhost", Err(InvalidTarget::Scheme)),
            ("mqtt://", Err(InvalidTarget::Host)),
            ("mqtt://::1", Err(InvalidTarget::Host)),
            ("mqtt://[::1", Err(InvalidTarget::Host)),
            (
                "mqtt://h:65536",
                Err(InvalidTarget::Port("65536".to_owned())),
            ),
            ("mqtt://h:", Err(InvalidTarget::Port(String::new()))),
            ("mqtt://u:p@h", Err(InvalidTarget::Credentials)),
            ("mqtt://h/topic", Err(InvalidTarget::Path)),
            ("ws://h/a b", Err(InvalidTarget::Character)),
        ];
        for (url, expected) in rows {
            let target = url.parse::<Target>().map(|target| target.to_string());
            assert_eq!(target, expected.map(str::to_owned), "{url}");
        }
    }
}
