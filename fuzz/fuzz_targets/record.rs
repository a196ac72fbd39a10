//! See [`podwalk_fuzz::record`].
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| podwalk_fuzz::record(bytes));
