//! The bytes of a body: pixeld judges them as the oracle does.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pixeld_fuzz::checks::body(input));
