//! The bytes of a body in chunks: it is answered as one with a length.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pixeld_fuzz::checks::chunks(input));
