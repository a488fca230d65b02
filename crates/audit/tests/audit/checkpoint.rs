//! Signed notes, keys, trust files and collected lines: what is read, and that nothing else is.

use weir_audit::checkpoint::{
    AnchorReader, COLLECTED_LINE_BYTES_MAX, CheckpointError, KeyError, NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, NoteError,
    SignatureFault, Signer, SignerError, TRUSTED_KEYS_MAX, TrustError, TrustedKeys, prune_signed_by,
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

/// The sizes that are found, and how many checkpoints cannot be read; the same whatever pieces the text comes in.
fn collected(text: &str) -> (Vec<u64>, u64) {
    let (found, reader) = read(text, text.len().max(1));
    for pieces in [1, 7] {
        let (again, other) = read(text, pieces);
        assert_eq!((again, other.unreadable(), other.cut()), (found.clone(), reader.unreadable(), reader.cut()));
    }
    (found, reader.unreadable())
}

fn read(text: &str, pieces: usize) -> (Vec<u64>, AnchorReader) {
    let (mut reader, mut found) = (AnchorReader::new(), Vec::new());
    text.as_bytes().chunks(pieces).for_each(|bytes| reader.bytes(bytes, &mut found));
    reader.end(&mut found);
    (found.iter().map(|found| found.checkpoint().size).collect(), reader)
}

fn line(size: u64) -> String {
    serde_json::json!({ "event": "audit.checkpoint", "size": size, "note": signed(size).to_string() }).to_string()
}

#[test]
fn checkpoints_are_found_in_whatever_a_collector_made_of_them() {
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
fn every_checkpoint_of_a_line_is_used_however_many_there_are() {
    // As exports of log stores have them: all in one line, in arrays, as objects and as texts.
    for many in [64, 65, 1000] {
        let lines: Vec<String> = (1..=many).map(line).collect();
        let joined = lines.join(" ");
        let texts = serde_json::json!({ "logEvents": lines.iter().map(|line| serde_json::json!({ "message": line })).collect::<Vec<_>>() });
        let objects = format!("[[{}]]", lines.join(","));
        for text in [joined, texts.to_string(), format!("{{\"events\":{objects}}}")] {
            let (found, reader) = read(&text, text.len());
            assert_eq!((found, reader.unreadable(), reader.cut()), ((1..=many).collect(), 0, 0));
        }
    }
    // What an event is wrapped in may be called an event itself.
    let wrapped = serde_json::json!({ "event": line(3), "source": "stdout" }).to_string();
    assert_eq!(collected(&wrapped), (vec![3], 0));
}

#[test]
fn a_long_line_is_used_up_to_its_limit_and_what_is_beyond_is_counted() {
    let padded = |before: usize, size: u64| format!("{}{}", "x".repeat(before), line(size));
    let length = line(7).len();
    let fits = padded(COLLECTED_LINE_BYTES_MAX - length, 7);
    let (found, reader) = read(&format!("first\n{fits}\n{}\n", line(8)), 1000);
    assert_eq!((found, reader.unreadable()), (vec![7, 8], 0), "at the limit");
    // The end of the line is beyond: the checkpoint is not whole any more.
    for over in [1, 40, length - 20, length + 100] {
        let long = padded(COLLECTED_LINE_BYTES_MAX - length + over, 7);
        let text = format!("first\n{}\n{long}\n{}\n", line(6), line(8));
        for pieces in [999, 64 << 10, text.len()] {
            let (found, reader) = read(&text, pieces);
            assert_eq!((found, reader.unreadable(), reader.first_unreadable()), (vec![6, 8], 1, Some(3)), "{over}");
        }
    }
    // Others that are long say nothing.
    let (found, reader) =
        read(&format!("first\n{}\n{}\n", "audit ".repeat(COLLECTED_LINE_BYTES_MAX / 3), line(8)), 4096);
    assert_eq!((found, reader.unreadable()), (vec![8], 0));
}

#[test]
fn checkpoints_that_cannot_be_read_are_counted_with_their_place() {
    let note = signed(1).to_string();
    let whole = line(1);
    let within = |bad: &str| {
        let (found, reader) = read(&format!("first\n{}\n{bad}\n{}\n", line(2), line(3)), 50);
        assert_eq!(found, [2, 3], "{bad}");
        assert_eq!(reader.first_unreadable().is_some(), reader.unreadable() > 0);
        assert!(reader.first_unreadable().is_none_or(|line| line == 3), "{bad}");
        assert_eq!(reader.cut(), 0);
        reader.unreadable()
    };
    let cut = whole.get(..whole.len() - 20).unwrap();
    assert_eq!(within(cut), 1);
    assert_eq!(within(&format!("{cut} {cut}")), 2);
    assert_eq!(within(&serde_json::json!({ "log": cut }).to_string()), 1);
    assert_eq!(within(&whole.replace("\\n1\\n", "\\n01\\n")), 1);
    assert_eq!(within("{\"event\":\"audit.checkpoint\"}"), 1);
    assert_eq!(within("{ \"event\" : \"audit.checkpoint\", \"note\": 5 }"), 1);
    assert_eq!(within(note.replace('\u{2014}', "-").trim_end()), 1, "a bare note with another dash");
    // What only speaks of them is none.
    for other in [
        "nothing here",
        "weir/audit/07070707070707070707070707070707",
        "{\"event\":\"audit.checkpoint_failed\",\"hint\":\"audit.checkpoint.every\"}",
        "event=\"audit.checkpoint_failed\" says that audit.checkpoint is not kept",
        "the event is called \"audit.checkpoint\"",
    ] {
        assert_eq!(within(other), 0, "{other}");
    }
    // Nor what a client chose to be called.
    let name = serde_json::json!({ "event": "login.refused", "principal": "{\"event\":\"audit.checkpoint\"}" });
    assert_eq!(within(&name.to_string()), 0);
    // A line that is a bomb costs its own length.
    assert_eq!(within(&"{\"event\":".repeat(3000)), 0);
    assert_eq!(within(&"{\"event\":\"audit.checkpoint\",\"a\":".repeat(3000)), 3000);
}

/// Files are cut where they are rotated, and read while they are written.
#[test]
fn what_the_edges_of_a_file_cut_short_is_no_damage() {
    let text = format!("{}\n{}\n{}\n", line(1), line(2), line(3));
    for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
        let (head, tail) = (text.get(..at).unwrap(), text.get(at..).unwrap());
        let (first, second) = (read(head, 100), read(tail, 100));
        let lines = text.get(..at).unwrap().matches('\n').count() as u64;
        let whole = |found: &[u64]| found.len() as u64;
        assert_eq!((first.1.unreadable(), second.1.unreadable()), (0, 0), "cut at {at}");
        assert!(whole(&first.0) >= lines && whole(&second.0) >= 2_u64.saturating_sub(lines), "cut at {at}");
        assert!(first.1.cut() <= 1 && second.1.cut() <= 1);
        assert!(whole(&first.0) + whole(&second.0) + 1 >= 3, "one is lost at most, cut at {at}");
    }
    let note = signed(1).to_string();
    for at in (0..note.len()).filter(|at| note.is_char_boundary(*at)) {
        let (found, reader) = read(&format!("{}{}", signed(2), note.get(..at).unwrap()), 100);
        assert_eq!((found.first(), reader.unreadable()), (Some(&2), 0), "cut at {at}");
    }
}
