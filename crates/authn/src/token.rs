use std::fmt;

use zeroize::Zeroizing;

/// A bearer token: whoever holds it is its principal. Overwritten when dropped; `Debug` prints its length only.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes the text of a token. Nothing is checked here: `Identity::verify` does.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The token itself, for the code that verifies it. Never for a log line, an error or an entry.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the token has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.len())
    }
}

/// Longest token that is looked at, in bytes. Issuers that put hundreds of groups into a token reach about 12 KiB; the limit is above
/// that and far below a frame before login.
pub const TOKEN_BYTES_MAX: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn debug_prints_a_length_and_no_byte_of_the_token() {
        assert_eq!(format!("{:?}", Token::new("secret")), "Token(6 bytes)");
    }
}
