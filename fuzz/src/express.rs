//! The bytes of a whole connection: the short way answers them as hyper does.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pixeld_fuzz::checks::express(input));
