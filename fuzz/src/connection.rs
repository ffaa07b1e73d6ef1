//! The bytes of a whole connection, in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pixeld_fuzz::checks::connection(input));
