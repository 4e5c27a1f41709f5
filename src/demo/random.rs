//! Random secrets.

use std::io;

use zeroize::Zeroizing;

use crate::os::fill_random;

/// The number of random bytes of a secret. In hexadecimal it has twice as many digits.
const KEY_BYTES: usize = 24;

/// Generates a secret of 48 hexadecimal digits.
pub(super) fn random_secret() -> io::Result<Zeroizing<String>> {
    let bytes = random_bytes::<KEY_BYTES>()?;
    Ok(Zeroizing::new(to_hex(&*bytes)))
}

/// Generates random bytes.
pub(super) fn random_bytes<const N: usize>() -> io::Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    fill_random(&mut *bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Encodes bytes in lower-case hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.collect()
}
