//! The bytes of a whole connection, as they come and byte by byte, while time passes.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pixeld_fuzz::checks::segments(input));
