//! See [`podwalk_fuzz::plugin_result`].
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| podwalk_fuzz::plugin_result(bytes));
