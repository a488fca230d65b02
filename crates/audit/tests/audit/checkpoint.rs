//! Signed notes, keys, trust files and collected lines: what is read, and that nothing else is.

use weir_audit::checkpoint::{
    AnchorReader, CheckpointError, KeyError, NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, NoteError, SignatureFault, Signer,
    SignerError, TRUSTED_KEYS_MAX, TrustError, TrustedKeys, prune_signed_by,
};
use weir_audit::tree::Frontier;
use weir_audit::{ChainId, Checkpoint, CheckpointKey, Hash, Head, Prune, SignedCheckpoint, VerifierKey, chain};

const CHAIN: ChainId = ChainId([7; 16]);

fn key(seed: u8) -> CheckpointKey {
    CheckpointKey::from_seed(CHAIN, &[seed; 32]).unwrap()
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint { chain: CHAIN, size, root: Hash([9; 32]) }
}

fn signed(size: u64) -> SignedCheckpoint {
    key(1).sign(&checkpoint(size)).unwrap()
}

/// Made by another implementation, Go's `golang.org/x/mod/sumdb/note`, from the same key and text; read, and made, byte by byte.
#[test]
fn notes_are_those_of_another_implementation() {
    let text = include_str!("go-note.txt");
    let (vkey, note) = text.split_once('\n').unwrap();
    assert_eq!(vkey, key(1).verifier().to_string());
    assert_eq!(note, signed(4).to_string());
    let read: SignedCheckpoint = note.parse().unwrap();
    assert_eq!(read.signed_by(&[vkey.parse().unwrap()]), Ok(0));
    assert_eq!(read.checkpoint(), checkpoint(4));
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_note_is_refused() {
    let note = signed(1_234_567).to_string();
    let keys = [key(1).verifier().clone()];
    let accepted = |text: &str| text.parse::<SignedCheckpoint>().is_ok_and(|read| read.signed_by(&keys).is_ok());
    assert!(accepted(&note));
    for (byte, bit) in (0..note.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut bad = note.clone().into_bytes();
        bad[byte] ^= 1 << bit;
        assert!(!String::from_utf8(bad).is_ok_and(|bad| accepted(&bad)), "byte {byte}, bit {bit}");
    }
    for cut in (0..note.len()).filter(|cut| note.is_char_boundary(*cut)) {
        assert!(!accepted(note.get(..cut).unwrap()), "cut at {cut}");
    }
}

#[track_caller]
fn check(text: &str, expected: CheckpointError) {
    assert_eq!(text.parse::<SignedCheckpoint>(), Err(expected), "{text}");
}

#[test]
fn one_checkpoint_has_one_text() {
    let note = signed(12).to_string();
    check(&note.replace("\n12\n", "\n012\n"), CheckpointError::Size);
    check(&note.replace("\n12\n", "\n+12\n"), CheckpointError::Size);
    check(&note.replace("\n12\n", "\n18446744073709551616\n"), CheckpointError::Size);
    check(&note.replace("\n12\n", "\n\n"), CheckpointError::Size);
    check(&note.replace("weir/audit/07", "weir/other/07"), CheckpointError::Origin);
    check(&note.replace("weir/audit/07", "weir/audit/7"), CheckpointError::Origin);
    check(&note.replace("=\n\n", "\n\n"), CheckpointError::Root);
    check(&note.replace("=\n\n", "=\nmore\n\n"), CheckpointError::LeftOver);
    check(&note.replace("=\n\n", "=\n\n\n"), CheckpointError::LeftOver);
    check(&note.replace('\n', "\r\n"), CheckpointError::Note(NoteError::Control));
    check(&note.replace("\n\n", "\n"), CheckpointError::Note(NoteError::Parts));
    check(&format!("\n{note}"), CheckpointError::Origin);
    check(&note.replace('\u{2014}', "-"), CheckpointError::Note(NoteError::Signature { number: 1 }));
    check(&format!("{note}more\n"), CheckpointError::Note(NoteError::Signature { number: 2 }));
    check(note.trim_end(), CheckpointError::Note(NoteError::Signature { number: 1 }));
    check("", CheckpointError::Note(NoteError::Parts));
}

#[test]
fn limits_of_a_note_hold_at_their_edges() {
    let note = signed(12).to_string();
    let line = note.lines().last().unwrap();
    let with = |lines: usize| note.clone() + &format!("{line}\n").repeat(lines - 1);
    assert!(with(NOTE_SIGNATURES_MAX).parse::<SignedCheckpoint>().is_ok());
    check(&with(NOTE_SIGNATURES_MAX + 1), CheckpointError::Note(NoteError::TooMany));
    // A witness's line of any length: not ours, and passed over.
    let foreign = |bytes: usize| {
        let fixed = note.len() + "\u{2014} w \n".len();
        format!("{note}\u{2014} w {}\n", "A".repeat((bytes - fixed) / 4 * 4))
    };
    assert!(foreign(NOTE_BYTES_MAX).len() <= NOTE_BYTES_MAX);
    assert!(foreign(NOTE_BYTES_MAX).parse::<SignedCheckpoint>().is_ok());
    check(&foreign(NOTE_BYTES_MAX + 8), CheckpointError::Note(NoteError::TooLong));
}

#[test]
fn a_signature_counts_only_by_a_known_key_of_the_same_log() {
    let (ours, other) = (key(1).verifier().clone(), key(2).verifier().clone());
    let elsewhere = CheckpointKey::from_seed(ChainId([8; 16]), &[1; 32]).unwrap();
    let note = signed(4);
    assert_eq!(note.signed_by(&[other.clone(), ours.clone()]), Ok(1));
    assert_eq!(note.signed_by(std::slice::from_ref(&other)), Err(SignatureFault::UnknownKey));
    assert_eq!(note.signed_by(&[]), Err(SignatureFault::UnknownKey));
    // The same secret under another log's name is another key.
    assert_eq!(note.signed_by(&[elsewhere.verifier().clone()]), Err(SignatureFault::UnknownKey));
    assert_eq!(elsewhere.sign(&checkpoint(4)).map(|_| ()), Err(KeyError::Id));
    // A second line that lies about a known key spoils the note.
    let lie = note.to_string().lines().last().unwrap().replace("AAAA", "AAAB");
    let signature = signed(5).to_string().lines().last().unwrap().to_owned();
    let both: SignedCheckpoint = format!("{note}{signature}\n").parse().unwrap();
    assert_eq!(both.signed_by(std::slice::from_ref(&ours)), Err(SignatureFault::Bad), "{lie}");
    // One by a stranger does not.
    let signature = key(3).sign(&checkpoint(4)).unwrap().to_string().lines().last().unwrap().to_owned();
    let both: SignedCheckpoint = format!("{note}{signature}\n").parse().unwrap();
    assert_eq!(both.signed_by(&[ours]), Ok(0));
    assert_eq!(both.key_ids().count(), 2);
}

#[test]
fn verifier_keys_are_read_back_and_nothing_else() {
    let text = key(1).verifier().to_string();
    assert_eq!(text.parse().as_ref(), Ok(key(1).verifier()));
    for (at, character) in text.char_indices() {
        let swapped = if character == 'A' { 'B' } else { 'A' };
        let mut bad = text.clone();
        bad.replace_range(at..at + character.len_utf8(), swapped.encode_utf8(&mut [0; 4]));
        assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
    }
    let bad = |text: &str| text.parse::<VerifierKey>().unwrap_err();
    assert_eq!(bad(""), KeyError::Form);
    assert_eq!(bad("name+00000000"), KeyError::Form);
    assert_eq!(bad("a name+00000000+AAAA"), KeyError::Form);
    assert_eq!(bad("name+00000000+BAAA"), KeyError::Algorithm);
    assert_eq!(bad("name+00000000+AQAA"), KeyError::Algorithm);
    assert!(!format!("{:?}", key(1)).contains("1, 1, 1"), "the secret is not shown");
}

#[test]
fn a_signer_signs_only_what_can_extend_what_it_signed() {
    let mut signer = Signer::new(key(1), None).unwrap();
    signer.sign(&checkpoint(4)).unwrap();
    assert_eq!(signer.sign(&checkpoint(4)).unwrap(), signed(4), "the same again");
    let other = Checkpoint { root: Hash([8; 32]), ..checkpoint(4) };
    assert_eq!(signer.sign(&other), Err(SignerError::Other { size: 4 }));
    assert_eq!(signer.sign(&checkpoint(3)), Err(SignerError::Shorter { signed: 4, size: 3 }));
    assert_eq!(signer.sign(&Checkpoint { chain: ChainId([8; 16]), ..checkpoint(5) }), Err(SignerError::Chain));
    signer.sign(&checkpoint(5)).unwrap();
    assert_eq!(signer.last().map(|last| last.checkpoint().size), Some(5));
    // The same after a restart, whichever key signed last.
    for last in [signed(5), key(2).sign(&checkpoint(5)).unwrap()] {
        let mut signer = Signer::new(key(1), Some(last.clone())).unwrap();
        assert_eq!(signer.last_by_another_key().is_some(), last != signed(5));
        assert_eq!(signer.sign(&checkpoint(4)), Err(SignerError::Shorter { signed: 5, size: 4 }));
        signer.sign(&checkpoint(6)).unwrap();
        assert_eq!(signer.last_by_another_key(), None);
    }
    let forged: SignedCheckpoint = signed(5).to_string().replace("\n5\n", "\n6\n").parse().unwrap();
    assert_eq!(Signer::new(key(1), Some(forged)).map(|_| ()), Err(SignerError::NotOurs));
    let foreign = CheckpointKey::from_seed(ChainId([8; 16]), &[1; 32]).unwrap();
    assert_eq!(Signer::new(foreign, Some(signed(5))).map(|_| ()), Err(SignerError::Chain));
}

#[test]
fn the_note_of_a_prune_entry_is_signed_and_says_what_the_entry_says() {
    let mut frontier = Frontier::new();
    (0..256_u64).for_each(|leaf| frontier.push(chain::leaf_hash(&leaf.to_be_bytes())));
    let cut = Head { last: Hash([1; 32]), last_at: 5, frontier };
    let mut prune = Prune { from: 0, cut, note: None };
    let keys = [key(2).verifier().clone(), key(1).verifier().clone()];
    assert_eq!(prune_signed_by(&prune, &CHAIN, &keys), Ok(None));
    prune.note = Some(key(1).sign_prune(&prune));
    assert_eq!(prune_signed_by(&prune, &CHAIN, &keys), Ok(Some(1)));
    assert_eq!(prune_signed_by(&prune, &CHAIN, &keys[..1]), Err(SignatureFault::UnknownKey));
    assert_eq!(prune_signed_by(&prune, &ChainId([8; 16]), &keys), Err(SignatureFault::Bad));
    // A checkpoint of the same size and root is no prune note.
    let checkpoint = Checkpoint { chain: CHAIN, size: 256, root: prune.cut.frontier.root() };
    let confused = Prune { note: Some(key(1).sign(&checkpoint).unwrap().to_string()), ..prune.clone() };
    assert_eq!(prune_signed_by(&confused, &CHAIN, &keys), Err(SignatureFault::Bad));
    let mut other = prune.clone();
    other.cut.frontier.push(Hash([1; 32]));
    assert_eq!(prune_signed_by(&other, &CHAIN, &keys), Err(SignatureFault::Bad));
}

#[test]
fn trust_files_are_read_whole_or_not_at_all() {
    let (one, two) = (key(1).verifier().clone(), key(2).verifier().clone());
    let elsewhere = CheckpointKey::from_seed(ChainId([8; 16]), &[1; 32]).unwrap();
    let text = format!(
        "# kept by security\n\nlog {one} https://example.com/log\n  {two}\t\nlog {}\nquorum none\n",
        elsewhere.verifier()
    );
    let keys = TrustedKeys::parse(&text).unwrap();
    assert_eq!(keys.of(&CHAIN), [one.clone(), two]);
    assert_eq!(keys.of(&ChainId([8; 16])), [elsewhere.verifier().clone()]);
    assert_eq!(keys.of(&ChainId([9; 16])), []);
    let fails = |text: String, expected: TrustError| assert_eq!(TrustedKeys::parse(&text), Err(expected));
    fails(String::new(), TrustError::Empty);
    fails("# nothing\n".to_owned(), TrustError::Empty);
    fails(format!("log {one}\n{one}\n"), TrustError::Twice { line: 2 });
    fails(format!("log {one}\nwitness w {one}\n"), TrustError::Witness { line: 2 });
    fails(format!("log {one}\nquorum w\n"), TrustError::Witness { line: 2 });
    fails(format!("key {one}\n"), TrustError::Line { line: 1 });
    fails(format!("log {one} url more\n"), TrustError::Line { line: 1 });
    fails("log x+00000000+AQAA\n".to_owned(), TrustError::Key { line: 1, source: KeyError::Algorithm });
    let many = |count: usize| -> String {
        let key = |number: usize| {
            let mut chain = [0; 16];
            chain[..8].copy_from_slice(&number.to_be_bytes());
            CheckpointKey::from_seed(ChainId(chain), &[1; 32]).unwrap().verifier().to_string() + "\n"
        };
        (0..count).map(key).collect()
    };
    assert!(TrustedKeys::parse(&many(TRUSTED_KEYS_MAX)).is_ok());
    fails(many(TRUSTED_KEYS_MAX + 1), TrustError::TooMany);
}

fn collected(text: &str) -> (Vec<u64>, u64) {
    let (mut reader, mut found) = (AnchorReader::new(), Vec::new());
    text.lines().for_each(|line| reader.line(line, &mut found));
    reader.end(&mut found);
    (found.iter().map(|found| found.checkpoint().size).collect(), reader.unreadable())
}

#[test]
fn checkpoints_are_found_in_whatever_a_collector_made_of_them() {
    let line = |size: u64| {
        let note = signed(size).to_string();
        serde_json::json!({ "event": "audit.checkpoint", "size": size, "note": note }).to_string()
    };
    let docker = serde_json::json!({ "log": line(3) + "\n", "stream": "stdout" }).to_string();
    let shipped = serde_json::json!({ "kubernetes": { "pod": "weir-0" }, "inner": { "message": docker } }).to_string();
    let text = format!(
        "weir 0.1.0\n{}\n2026-01-02T03:04:05Z stdout F {} trailing {{\n{}{}\n{shipped}\n\n{{ not json\n{}",
        line(1),
        line(2),
        line(5),
        line(6),
        signed(4),
    );
    assert_eq!(collected(&text), (vec![1, 2, 5, 6, 3, 4], 0));
    // Notes one after the other, and with other lines around.
    assert_eq!(collected(&format!("{}{}text\n{}", signed(1), signed(2), signed(3))), (vec![1, 2, 3], 0));
}

#[test]
fn lines_that_speak_of_a_checkpoint_and_hold_none_are_counted() {
    let note = signed(1).to_string();
    let line = serde_json::json!({ "event": "audit.checkpoint", "note": note }).to_string();
    assert_eq!(collected(line.get(..line.len() - 20).unwrap()), (vec![], 1));
    assert_eq!(collected(&line.replace("\\n1\\n", "\\n01\\n")), (vec![], 1));
    assert_eq!(collected("{\"event\":\"audit.checkpoint\"}"), (vec![], 1));
    assert_eq!(collected(note.get(..note.len() - 3).unwrap()), (vec![], 1));
    assert_eq!(collected("weir 0.1.0\nnothing here\n"), (vec![], 0));
    // A line that is a bomb costs its own length.
    assert_eq!(collected(&"{\"audit.checkpoint\":".repeat(3000)), (vec![], 1));
}
