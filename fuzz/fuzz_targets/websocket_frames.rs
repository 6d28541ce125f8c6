//! cargo fuzz run websocket_frames
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wardgate_fuzz::websocket_frames::check(bytes));
