//! What is read back from the log's disk: each has exactly one spelling.

use weir_audit::{ChainState, Entry, HeadNote, IntentId, IntentRow, KeptCheckpoint, SignedCheckpoint, VerifierKey};

/// Entries, intents and kept checkpoints. `cbor`
pub(crate) fn entry(data: &[u8]) -> bool {
    let mut accepted = 0;
    if let Ok(entry) = Entry::decode(data) {
        accepted += 1;
        assert_eq!(entry.encode(), data);
    }
    if let Ok(row) = IntentRow::decode(IntentId([0; 16]), data) {
        accepted += 1;
        assert_eq!(row.encode(), data);
    }
    if let Ok(kept) = KeptCheckpoint::decode(data) {
        accepted += 1;
        assert_eq!(kept.encode(), data);
    }
    if let Ok(state) = ChainState::decode(data) {
        accepted += 1;
        assert_eq!(state.head.encode(&state.chain), data);
    }
    assert!(accepted <= 1, "nothing is two things");
    accepted == 1
}

/// Signed checkpoints and keys. `text`
pub(crate) fn note(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (note, key) = (text.parse::<SignedCheckpoint>(), text.parse::<VerifierKey>());
    for said in [note.as_ref().map(ToString::to_string).ok(), key.as_ref().map(ToString::to_string).ok()] {
        assert!(said.is_none_or(|said| said == text));
    }
    note.is_ok() || key.is_ok()
}

/// Notes of the head. `text`
pub(crate) fn head(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(note) = text.parse::<HeadNote>() else { return false };
    assert_eq!(note.to_string(), text);
    true
}
