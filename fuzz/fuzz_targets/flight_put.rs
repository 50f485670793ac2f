#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| alula_fuzz::flight_put(input));
