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
                let scheme = if secure { "https://" } else { "http://" };
                assert!(origin == LISTED || origin.starts_with(scheme), "{origin}");
            }
            None => assert!(request.cookie.is_none(), "a cookie without a page"),
        }
    }
}
