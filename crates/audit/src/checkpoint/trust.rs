//! Trust files: which keys may sign the checkpoints of which log. Kept by whoever audits, not by the gateway.

use super::verifier::{KeyError, VerifierKey};
use crate::ids::ChainId;

/// The keys of a trust file, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys(Vec<VerifierKey>);

/// A trust file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A key that is none.
    #[error("line {line}: {source}")]
    Key {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        source: KeyError,
    },
    /// A key twice.
    #[error("line {line}: this key is listed twice")]
    Twice {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A demand for witnesses, which cannot be met yet.
    #[error("line {line}: witnesses are not supported yet; `quorum none` asks for none")]
    Witness {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A line that says nothing known.
    #[error("line {line} is neither  log <key>  nor a key")]
    Line {
        /// Number of the line, from 1.
        line: usize,
    },
    /// More keys than [`TRUSTED_KEYS_MAX`].
    #[error("a trust file has at most {TRUSTED_KEYS_MAX} keys")]
    TooMany,
    /// No key at all.
    #[error("the trust file has no key")]
    Empty,
}

impl TrustedKeys {
    /// Reads a trust file: lines `log <key>` as in C2SP `tlog-policy`, or bare keys; empty lines and lines that start with `#` say
    /// nothing. The keys of one log stand in the order in which they were used.
    ///
    /// # Errors
    /// When a line says anything else. A demand that cannot be met is not passed over.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let mut keys: Vec<VerifierKey> = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let mut words = content.split([' ', '\t']).filter(|word| !word.is_empty());
            let key = match (words.next(), words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some(word), ..) if word.starts_with('#') => continue,
                (Some("quorum"), Some("none"), None, None) => continue,
                (Some("witness" | "group" | "quorum"), ..) => return Err(TrustError::Witness { line }),
                (Some("log"), Some(key), _, None) => key,
                (Some(key), None, ..) if key.contains('+') => key,
                _ => return Err(TrustError::Line { line }),
            };
            let key = key.parse().map_err(|source| TrustError::Key { line, source })?;
            if keys.contains(&key) {
                return Err(TrustError::Twice { line });
            }
            if keys.len() == TRUSTED_KEYS_MAX {
                return Err(TrustError::TooMany);
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(TrustError::Empty) } else { Ok(Self(keys)) }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[VerifierKey] {
        &self.0
    }

    /// Those of one log.
    #[must_use]
    pub fn of(&self, chain: &ChainId) -> Vec<VerifierKey> {
        let origin = chain.origin();
        self.0.iter().filter(|key| key.name() == origin).cloned().collect()
    }
}

/// Keys of one trust file.
pub const TRUSTED_KEYS_MAX: usize = 4096;
