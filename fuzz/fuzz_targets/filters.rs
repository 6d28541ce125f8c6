//! cargo fuzz run filters
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wardgate_fuzz::filters::check(bytes));
