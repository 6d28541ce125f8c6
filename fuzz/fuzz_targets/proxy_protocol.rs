//! cargo fuzz run proxy_protocol
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wardgate_fuzz::proxy_protocol::check(bytes));
