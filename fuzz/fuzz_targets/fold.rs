//! See [`podwalk_fuzz::fold`].
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| podwalk_fuzz::fold(bytes));
