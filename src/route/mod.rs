//! placeholder
pub struct Pattern;
pub struct CanonicalPath<'a>(&'a [u8]);
impl<'a> CanonicalPath<'a> {
    pub fn parse(r: &'a [u8]) -> Result<Self, ()> {
        let s = std::str::from_utf8(r).map_err(|_| ())?;
        if s.contains("..") || s.contains("//") || s.contains('\\') {
            Err(())
        } else {
            Ok(Self(r))
        }
    }
    pub fn has_encoded_slash(&self) -> bool {
        self.0.windows(3).any(|w| w == b"%2F")
    }
}
