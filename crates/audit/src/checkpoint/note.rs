//! Signed notes (C2SP `signed-note`): a text, an empty line, signature lines.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::SignatureFault;
use super::verifier::{KeyId, VerifierKey, is_key_name};

/// A note in parts. Nothing of it is authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Note {
    /// What is signed; ends with a line feed.
    pub(super) text: String,
    pub(super) signatures: Vec<NoteSignature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct NoteSignature {
    pub(super) name: String,
    pub(super) key_id: KeyId,
    pub(super) bytes: Vec<u8>,
}

/// Text that is no signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("a note has at most {NOTE_BYTES_MAX} bytes")]
    TooLong,
    /// A control character other than the line feed.
    #[error("a note has no control characters but line feeds")]
    Control,
    /// No empty line between text and signatures, or an empty text.
    #[error("a note is a text, an empty line and signatures")]
    Parts,
    /// A signature line that is none.
    #[error("signature {number} is not `— name base64`")]
    Signature {
        /// Which, from 1.
        number: usize,
    },
    /// More than [`NOTE_SIGNATURES_MAX`].
    #[error("a note has at most {NOTE_SIGNATURES_MAX} signatures")]
    TooMany,
}

impl Note {
    /// Which of these keys signed it, as its place among them. Only keys of this name count, and only signatures of this name.
    pub(super) fn signed_by(&self, name: &str, keys: &[VerifierKey]) -> Result<usize, SignatureFault> {
        let mut by = None;
        for signature in self.signatures.iter().filter(|signature| signature.name == name) {
            let known = |key: &VerifierKey| key.name() == name && key.id() == signature.key_id;
            for (at, key) in keys.iter().enumerate().filter(|(_, key)| known(key)) {
                if !key.verifies(self.text.as_bytes(), &signature.bytes) {
                    return Err(SignatureFault::Bad);
                }
                by = by.or(Some(at));
            }
        }
        by.ok_or(SignatureFault::UnknownKey)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for NoteSignature { name, key_id, bytes } in &self.signatures {
            let bytes = [key_id.0.as_slice(), bytes].concat();
            writeln!(f, "{DASH}{name} {}", STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        if text.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        if text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\n') {
            return Err(NoteError::Control);
        }
        // The last empty line: the text may hold others.
        let (head, lines) = text.rsplit_once("\n\n").ok_or(NoteError::Parts)?;
        if head.is_empty() || lines.is_empty() {
            return Err(NoteError::Parts);
        }
        let mut signatures = Vec::new();
        for (number, line) in (1..).zip(lines.split_inclusive('\n')) {
            if number > NOTE_SIGNATURES_MAX {
                return Err(NoteError::TooMany);
            }
            signatures.push(signature(line).ok_or(NoteError::Signature { number })?);
        }
        Ok(Self { text: format!("{head}\n"), signatures })
    }
}

fn signature(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix(DASH)?.strip_suffix('\n')?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (key_id, bytes) = bytes.split_first_chunk()?;
    let whole = is_key_name(name) && !bytes.is_empty();
    whole.then(|| NoteSignature { name: name.to_owned(), key_id: KeyId(*key_id), bytes: bytes.to_vec() })
}

/// How a signature line starts: an em dash and a space.
pub(super) const DASH: &str = "\u{2014} ";

/// Bytes of one note; a checkpoint with one signature has less than 300.
pub const NOTE_BYTES_MAX: usize = 16 << 10;

/// Signatures of one note, those of witnesses included.
pub const NOTE_SIGNATURES_MAX: usize = 64;
