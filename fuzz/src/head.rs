//! The bytes of a head: it is judged the same in one piece and byte by byte, in linear time.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pixeld_fuzz::checks::head(input));
