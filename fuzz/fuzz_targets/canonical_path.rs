#![no_main]
use egressd::route::CanonicalPath;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| { let _ = CanonicalPath::parse(bytes).map(|p| p.has_encoded_slash()); });
