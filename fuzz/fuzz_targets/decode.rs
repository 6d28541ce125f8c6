//! cargo fuzz run decode
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wardgate_fuzz::decode::check(bytes));
