//! cargo fuzz run certificate
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wardgate_fuzz::certificate::check(bytes));
