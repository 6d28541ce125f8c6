//! cargo fuzz run websocket_head
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wardgate_fuzz::websocket_head::check(bytes));
