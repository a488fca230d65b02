//! The OAUTHBEARER client initial response (RFC 7628 section 3.1, KIP-255, KIP-342):
//!
//! ```text
//!  n,,^Aauth=Bearer eyJhbGciOi...^Ahost=kafka^A^A        ^A is byte 0x01
//!  | |  |                          |           |
//!  | |  the token                  extension   end of the list
//!  | authorization identity, `a=name` or nothing
//!  no channel binding
//! ```

use crate::token::{TOKEN_BYTES_MAX, Token};

/// What an OAUTHBEARER client says first. Extensions are read and dropped: they are the client's claim about itself, never identity.
#[derive(Debug, Clone)]
pub struct ClientInitial {
    /// The bearer token, not verified yet.
    pub token: Token,
    /// The identity that the client asks to act as; it must be the token's principal.
    pub authzid: Option<String>,
}

/// Reads a client initial response. There is exactly one reading: what Kafka's own parser would resolve (a key given twice, bytes behind
/// the end) is refused here.
///
/// # Errors
///
/// `SaslError` says what is wrong; it holds no byte of the message.
pub fn parse_client_initial(auth_bytes: &[u8]) -> Result<ClientInitial, SaslError> {
    if auth_bytes.len() > CLIENT_INITIAL_BYTES_MAX {
        return Err(SaslError::TooLong);
    }
    let (authzid, pairs) = parse_gs2_header(auth_bytes)?;
    let pairs = pairs.strip_prefix(b"\x01").ok_or(SaslError::Malformed("no separator behind the GS2 header"))?;
    // The list ends with a separator of its own, behind the one that ends the last pair.
    let pairs = pairs.strip_suffix(b"\x01").ok_or(SaslError::Malformed("no separator at the end"))?;
    let pairs = pairs.strip_suffix(b"\x01").ok_or(SaslError::Malformed("the last value is not ended"))?;

    let mut token = None;
    let mut keys: Vec<&[u8]> = Vec::new();
    for pair in pairs.split(|byte| *byte == SEPARATOR) {
        let (key, value) = parse_pair(pair)?;
        if keys.iter().any(|seen| seen.eq_ignore_ascii_case(key)) {
            return Err(SaslError::DuplicateKey);
        }
        if keys.len() > EXTENSIONS_MAX {
            return Err(SaslError::TooManyExtensions);
        }
        keys.push(key);
        if key == b"auth" {
            token = Some(parse_auth(value)?);
        } else if key.eq_ignore_ascii_case(b"auth") {
            return Err(SaslError::Malformed("`auth` in other letters"));
        }
    }
    Ok(ClientInitial { token: token.ok_or(SaslError::NoToken)?, authzid })
}

/// Why a client initial response is refused. Every cause is the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// Longer than `CLIENT_INITIAL_BYTES_MAX`.
    #[error("the OAUTHBEARER message is longer than {CLIENT_INITIAL_BYTES_MAX} bytes")]
    TooLong,
    /// GS2 flag `y` or `p=`: weir offers no channel binding.
    #[error("the client asks for channel binding, which OAUTHBEARER here does not offer")]
    ChannelBinding,
    /// The authorization identity is empty, not ASCII, or wrongly escaped.
    #[error("the authorization identity is not a valid SASL name")]
    AuthzidInvalid,
    /// The structure is wrong; the text says where.
    #[error("the OAUTHBEARER message is malformed: {0}")]
    Malformed(&'static str),
    /// A key stands twice; Kafka would take the last.
    #[error("the OAUTHBEARER message names a key twice")]
    DuplicateKey,
    /// More than `EXTENSIONS_MAX` extensions.
    #[error("the OAUTHBEARER message has more than {EXTENSIONS_MAX} extensions")]
    TooManyExtensions,
    /// No `auth=`.
    #[error("the OAUTHBEARER message has no `auth` value")]
    NoToken,
    /// `auth=` with a scheme other than Bearer.
    #[error("the authorization scheme is not `Bearer`")]
    NotBearer,
    /// The token has characters that no bearer token has (RFC 6750 section 2.1).
    #[error("the token is not a bearer token")]
    TokenInvalid,
    /// Longer than `TOKEN_BYTES_MAX`.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TokenTooLong,
}

impl SaslError {
    /// Stable word for log lines, metrics and entries.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "sasl_too_long",
            Self::ChannelBinding => "sasl_channel_binding",
            Self::AuthzidInvalid => "sasl_authzid_invalid",
            Self::Malformed(_) => "sasl_malformed",
            Self::DuplicateKey => "sasl_duplicate_key",
            Self::TooManyExtensions => "sasl_too_many_extensions",
            Self::NoToken => "sasl_no_token",
            Self::NotBearer => "sasl_not_bearer",
            Self::TokenInvalid => "sasl_token_invalid",
            Self::TokenTooLong => "token_too_long",
        }
    }
}

/// Splits off `n,[a=name],` (RFC 5801 section 4).
fn parse_gs2_header(message: &[u8]) -> Result<(Option<String>, &[u8]), SaslError> {
    match message.first() {
        Some(b'n') => {}
        Some(b'y' | b'p') => return Err(SaslError::ChannelBinding),
        Some(_) | None => return Err(SaslError::Malformed("no GS2 header")),
    }
    let rest = message.strip_prefix(b"n,").ok_or(SaslError::Malformed("no GS2 header"))?;
    let end = rest.iter().position(|byte| *byte == b',').ok_or(SaslError::Malformed("the GS2 header is not ended"))?;
    let (field, rest) = rest.split_at(end);
    let pairs = rest.strip_prefix(b",").unwrap_or(rest);
    if field.is_empty() {
        return Ok((None, pairs));
    }
    let name = field.strip_prefix(b"a=").ok_or(SaslError::Malformed("the GS2 header has an unknown field"))?;
    Ok((Some(parse_saslname(name)?), pairs))
}

/// A comma is written `=2C` and an equals sign `=3D`; nothing else is escaped, and only ASCII is taken.
fn parse_saslname(name: &[u8]) -> Result<String, SaslError> {
    let mut text = String::new();
    let mut rest = name;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'=' => {
                let (escape, tail) = rest.split_first_chunk::<2>().ok_or(SaslError::AuthzidInvalid)?;
                rest = tail;
                text.push(match escape {
                    b"2C" => ',',
                    b"3D" => '=',
                    _ => return Err(SaslError::AuthzidInvalid),
                });
            }
            0x20..=0x7E => text.push(char::from(*byte)),
            _ => return Err(SaslError::AuthzidInvalid),
        }
    }
    if text.is_empty() { Err(SaslError::AuthzidInvalid) } else { Ok(text) }
}

fn parse_pair(pair: &[u8]) -> Result<(&[u8], &[u8]), SaslError> {
    let equals = pair.iter().position(|byte| *byte == b'=').ok_or(SaslError::Malformed("a pair without `=`"))?;
    let (key, value) = pair.split_at(equals);
    let value = value.strip_prefix(b"=").unwrap_or(value);
    if key.is_empty() || !key.iter().all(u8::is_ascii_alphabetic) {
        return Err(SaslError::Malformed("a key that is not letters"));
    }
    let visible = |byte: &u8| matches!(byte, 0x21..=0x7E | b' ' | b'\t' | b'\r' | b'\n');
    if value.is_empty() || !value.iter().all(visible) {
        return Err(SaslError::Malformed("a value that is empty or not visible ASCII"));
    }
    Ok((key, value))
}

/// `Bearer` in any case, one or more spaces, the token (RFC 6750 section 2.1).
fn parse_auth(value: &[u8]) -> Result<Token, SaslError> {
    let space = value.iter().position(|byte| *byte == b' ').ok_or(SaslError::NotBearer)?;
    let (scheme, token) = value.split_at(space);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(SaslError::NotBearer);
    }
    let start = token.iter().position(|byte| *byte != b' ').ok_or(SaslError::TokenInvalid)?;
    let token = token.get(start..).unwrap_or_default();
    if token.len() > TOKEN_BYTES_MAX {
        return Err(SaslError::TokenTooLong);
    }
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = token.get(..token.len().saturating_sub(padding)).unwrap_or_default();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    if body.is_empty() || !body.iter().all(allowed) {
        return Err(SaslError::TokenInvalid);
    }
    std::str::from_utf8(token).map(Token::new).map_err(|_| SaslError::TokenInvalid)
}

const SEPARATOR: u8 = 0x01;

/// Longest client initial response that is parsed, in bytes: the longest token and as much again for extensions.
pub const CLIENT_INITIAL_BYTES_MAX: usize = 2 * TOKEN_BYTES_MAX;

/// Most extensions (KIP-342) in one message. Clients send none or two or three; the limit keeps the search for duplicates short.
pub const EXTENSIONS_MAX: usize = 16;
