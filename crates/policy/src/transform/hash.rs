//! Keyed hashes that know themselves again.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A key for hashing texts.
///
/// A hash is the ASCII text
///
/// ```text
/// h:<key id>:<base64url, 32 characters, of>  digest (16 bytes) ‖ tag (8 bytes)
/// ```
///
/// The digest is HMAC-SHA256 (RFC 2104) of the text under one subkey, truncated to 128 bits; the tag is HMAC-SHA256 of
/// the digest under another, truncated to 64 bits. The tag is how the key knows its own hashes: such a text is left
/// alone, so that hashing twice is hashing once, and nobody without the key can make a text that passes for a hash.
///
/// Equal texts have equal hashes under one key, wherever they stand, so that records can still be joined.
pub struct HashKey {
    id: String,
    /// `h:<key id>:`
    prefix: Vec<u8>,
    digest: Hmac<Sha256>,
    tag: Hmac<Sha256>,
}

impl HashKey {
    /// Takes 32 random bytes. In hashes, characters of the id other than ASCII letters, digits, `.`, `_` and `-` are
    /// written as `_`.
    pub fn new(id: impl Into<String>, secret: [u8; 32]) -> HashKey {
        let id = id.into();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let shown: String = id.chars().map(|c| if plain(c) { c } else { '_' }).collect();
        let prefix = format!("h:{shown}:").into_bytes();
        let main = keyed(&secret);
        let subkey = |purpose: &[u8]| keyed(&main.clone().chain_update(purpose).finalize().into_bytes().into());
        HashKey { digest: subkey(b"weir hash 1 digest"), tag: subkey(b"weir hash 1 tag"), id, prefix }
    }

    /// The key's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Is the text a hash that this key made?
    pub(super) fn made(&self, text: &[u8]) -> bool {
        let Some(encoded) = text.strip_prefix(self.prefix.as_slice()) else { return false };
        let mut hash = [0; HASH_BYTES];
        if encoded.len() != ENCODED_BYTES || URL_SAFE_NO_PAD.decode_slice(encoded, &mut hash) != Ok(HASH_BYTES) {
            return false;
        }
        let (digest, tag) = hash.split_at(DIGEST_BYTES);
        self.tag.clone().chain_update(digest).verify_truncated_left(tag).is_ok()
    }

    /// Appends the hash of the text.
    pub(super) fn hash_into(&self, text: &[u8], hash: &mut Vec<u8>) {
        let digest = self.digest.clone().chain_update(text).finalize().into_bytes();
        let digest = digest.iter().take(DIGEST_BYTES);
        let mut raw = [0; HASH_BYTES];
        let (left, right) = raw.split_at_mut(DIGEST_BYTES);
        left.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
        let tag = self.tag.clone().chain_update(&*left).finalize().into_bytes();
        right.iter_mut().zip(tag).for_each(|(to, from)| *to = from);
        hash.extend_from_slice(&self.prefix);
        let mut encoded = [0; ENCODED_BYTES];
        // The buffer has the exact size.
        let length = URL_SAFE_NO_PAD.encode_slice(raw, &mut encoded).unwrap_or(0);
        hash.extend(encoded.iter().take(length));
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Bytes of the digest: 128 bits, so that equal digests mean equal texts up to 2^64 of them.
const DIGEST_BYTES: usize = 16;
/// Digest and tag (64 bits).
const HASH_BYTES: usize = 24;
/// The same as base64url; 24 is a multiple of 3, so there is one spelling only.
const ENCODED_BYTES: usize = 32;

fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC pads a short key with zeros to a block of 64 bytes.
    let mut block = [0; 64];
    block.iter_mut().zip(secret).for_each(|(to, from)| *to = *from);
    Hmac::new(&block.into())
}
