//! The head of an upgrade: whatever is accepted asks for our path, from a page that is ours or listed, and shows no cookie without a page (IDN-14, TRN-11).

use wardgate::net::WebSocketConfig;
use wardgate::net::websocket::{OwnOrigin, judge};

const LISTED: &str = "https://app.example.com";

pub fn check(bytes: &[u8]) {
    let config = WebSocketConfig {
        path: "/mqtt".to_owned(),
        allowed_origins: vec![LISTED.to_owned()],
    };
    for secure in [false, true] {
        let own = OwnOrigin {
            secure,
            ports: &[8084],
        };
        let Ok((request, key)) = judge(bytes, &config, own) else {
            continue;
        };
        assert_eq!(request.path, config.path);
        assert!(!key.is_empty() && !request.host.is_empty());
        match &request.origin {
            Some(origin) => {
                let is_https = origin.starts_with("https://");
                let is_http = origin.starts_with("http://");
                assert!(is_https || (is_http && !secure), "{origin}");
                // Our own host by https on a listener without TLS may come in, but it brings no cookie.
                if !secure && is_https && origin != LISTED {
                    assert!(request.cookie.is_none(), "{origin}");
                }
            }
            None => assert!(request.cookie.is_none(), "a cookie without a page"),
        }
    }
}
