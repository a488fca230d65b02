//! Signed checkpoints against rewritten logs: what each attacker can and cannot hide (rows of the tamper matrix).
//!
//! The log: entries 0–19 under the first key, 20 changes the key, 21–39 under the second; a checkpoint each ten entries.

#![expect(clippy::indexing_slicing, reason = "test code")]

use weir_audit::checkpoint::TrustedKeys;
use weir_audit::verify::{Class, Evidence, Expected, Report, Verdict, verify};
use weir_audit::{
    ChainId, ChainState, Checkpoint, CheckpointKey, Entry, EntryBody, EventId, Kind, SignedCheckpoint, chain,
};

use crate::common::{START, body};

const CHAIN: ChainId = ChainId([7; 16]);
const SIZES: [u64; 5] = [10, 20, 25, 30, 40];
const CHANGE: u64 = 20;

fn key(seed: u8) -> CheckpointKey {
    CheckpointKey::from_seed(CHAIN, &[seed; 32]).unwrap()
}

/// Rows, where they stand, and the checkpoints that are kept with them.
#[derive(Clone)]
struct Log {
    bodies: Vec<EntryBody>,
    rows: Vec<(u64, Vec<u8>)>,
    states: Vec<ChainState>,
    kept: Vec<SignedCheckpoint>,
}

impl Log {
    /// Chains bodies as somebody does who knows the format: no key is needed for that.
    fn chained(bodies: Vec<EntryBody>) -> Self {
        let mut state = ChainState::new(CHAIN);
        let (mut rows, mut states) = (Vec::new(), vec![state.clone()]);
        for (seq, body) in (0..).zip(&bodies) {
            let at = body.at.max(state.head.last_at);
            let entry = Entry { log: CHAIN, seq, prev: state.head.last, at, split: None, body: body.clone() };
            let bytes = entry.encode();
            state.head.last = chain::leaf_hash(&bytes);
            state.head.last_at = at;
            state.head.frontier.push(state.head.last);
            rows.push((seq, bytes));
            states.push(state.clone());
        }
        Self { bodies, rows, states, kept: Vec::new() }
    }

    fn new() -> Self {
        let mut bodies: Vec<EntryBody> = (0..CHANGE).map(body).collect();
        let before = Self::chained(bodies.clone()).signed(20, 1);
        let change = EntryBody::new(Kind::KeyChange, EventId([3; 16]), START + CHANGE * 1_000_000);
        bodies.push(EntryBody { reason: Some(before.to_string()), ..change });
        bodies.extend((CHANGE + 1..40).map(body));
        let mut log = Self::chained(bodies);
        log.kept = SIZES.iter().map(|size| log.signed(*size, if *size <= CHANGE { 1 } else { 2 })).collect();
        log
    }

    fn signed(&self, size: u64, seed: u8) -> SignedCheckpoint {
        key(seed).sign(&Checkpoint::of(&self.states[usize::try_from(size).unwrap()])).unwrap()
    }

    /// One entry altered and everything behind it hashed again. The checkpoints are as they were.
    fn rewritten(&self, seq: usize) -> Self {
        let mut bodies = self.bodies.clone();
        bodies[seq].count += 1;
        Self { kept: self.kept.clone(), ..Self::chained(bodies) }
    }

    fn cut(&self, size: u64) -> Self {
        let left = usize::try_from(size).unwrap();
        let mut cut = self.clone();
        cut.rows.truncate(left);
        cut.states.truncate(left + 1);
        cut
    }

    /// Signs the checkpoints anew, those that a key of this number is known for.
    fn re_signed(mut self, seed_of: impl Fn(u64) -> Option<u8>) -> Self {
        let last = u64::try_from(self.rows.len()).unwrap();
        let resign = |kept: &SignedCheckpoint| {
            let size = kept.checkpoint().size;
            (size <= last).then(|| seed_of(size).map_or_else(|| kept.clone(), |seed| self.signed(size, seed)))
        };
        self.kept = self.kept.iter().filter_map(resign).collect();
        self
    }

    fn verify(&self, trust: &[u8], anchors: Option<&[SignedCheckpoint]>) -> Report {
        let lines: String = trust.iter().map(|seed| format!("log {}\n", key(*seed).verifier())).collect();
        let keys = TrustedKeys::parse(&lines).ok();
        let mut evidence = Evidence::new(CHAIN, keys.as_ref(), true);
        self.kept.iter().for_each(|kept| evidence.kept(kept));
        if let Some(anchors) = anchors {
            evidence.expect_anchors();
            anchors.iter().for_each(|anchor| evidence.anchor(anchor));
        }
        let head = self.states.last().cloned();
        let expected = Expected { chain: CHAIN, head, note: None, cut: None };
        let mut verifier = weir_audit::verify::Verifier::with_evidence(expected, evidence);
        self.rows.iter().for_each(|(seq, bytes)| verifier.row(*seq, bytes));
        verifier.finish(|_| None)
    }
}

/// The classes found, each once.
#[track_caller]
fn check(report: &Report, expected: &[Class]) {
    let mut classes: Vec<_> = report.findings.iter().map(|finding| finding.class).collect();
    classes.sort();
    classes.dedup();
    assert_eq!(classes, expected, "{:?}", report.findings);
    let verdict = if expected.is_empty() { Verdict::Verified } else { Verdict::Tampered };
    assert_eq!(report.verdict(), verdict);
}

const KEYS: &[u8] = &[1, 2];

#[test]
fn an_intact_log_with_a_change_of_keys_is_verified_and_what_is_not_covered_is_counted() {
    let log = Log::new();
    let report = log.verify(KEYS, None);
    check(&report, &[]);
    assert_eq!(report.kept.map(|kept| (kept.size, kept.newer, kept.since)), Some((40, 0, None)));
    let mut older = log.clone();
    older.kept.truncate(4);
    let report = older.verify(KEYS, Some(&log.kept[..2]));
    check(&report, &[]);
    let at = |seq: u64| Some(body(seq).at);
    assert_eq!(report.kept.map(|kept| (kept.size, kept.newer, kept.since)), Some((30, 10, at(30))));
    let anchored = report.anchored.map(|anchored| (anchored.size, anchored.newer, anchored.since));
    assert_eq!(anchored, Some((20, 20, Some(START + CHANGE * 1_000_000))));
    // A change that is written again, since weir ended before the new key signed, is one change.
    let mut bodies = log.bodies.clone();
    bodies[21] = bodies[20].clone();
    let mut again = Log::chained(bodies);
    again.kept = SIZES.iter().map(|size| again.signed(*size, if *size <= CHANGE { 1 } else { 2 })).collect();
    check(&again.verify(KEYS, None), &[]);
}

/// T3
#[test]
fn a_cut_tail_is_found_up_to_the_newest_checkpoint_that_the_attacker_could_not_remove() {
    let log = Log::new();
    for size in 0..40 {
        let cut = log.cut(size);
        check(&cut.verify(KEYS, None), &[Class::Truncated]);
        // With the checkpoints of its own time the shorter log is consistent; collected ones tell.
        let mut older = cut.clone();
        older.kept.retain(|kept| kept.checkpoint().size <= size);
        let unseen = older.verify(KEYS, None);
        // Before the second key signed it is not what a trust file with both expects.
        let expected = if size < 25 { Verdict::Inconclusive } else { Verdict::Verified };
        assert_eq!(unseen.verdict(), expected, "control, cut to {size}: {:?}", unseen.findings);
        check(&older.verify(KEYS, Some(&log.kept)), &[Class::Rollback]);
        let found = older.verify(KEYS, Some(&log.kept)).findings[0].clone();
        assert_eq!((found.first, found.last), (size, 39));
    }
    // What no checkpoint covers can be cut unseen, and was counted before.
    let mut newer = log.clone();
    newer.kept.truncate(4);
    let cut = newer.cut(30);
    check(&cut.verify(KEYS, Some(&newer.kept)), &[]);
}

/// T4
#[test]
fn without_a_key_a_rewritten_log_fits_no_checkpoint() {
    let log = Log::new();
    for seq in 0..40 {
        if seq == 20 {
            continue;
        }
        let forged = log.rewritten(seq);
        let report = forged.verify(KEYS, None);
        // Before the change of keys the entry that changes it disagrees too.
        let mut classes: Vec<_> = report.findings.iter().map(|finding| finding.class).collect();
        classes.dedup();
        assert_eq!(classes.first(), Some(&Class::Fork), "entry {seq}: {:?}", report.findings);
        assert!(report.findings[0].first <= seq as u64 && report.findings[0].last >= seq as u64);
        // Notes that say what the attacker wants, with the signatures that are there.
        let mut lying = forged.clone();
        lying.kept = log
            .kept
            .iter()
            .map(|kept| {
                let said = Checkpoint::of(&forged.states[usize::try_from(kept.checkpoint().size).unwrap()]);
                let (_, signature) =
                    kept.to_string().split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
                format!("{}\n{signature}", said.body()).parse().unwrap()
            })
            .collect();
        let report = lying.verify(KEYS, None);
        assert!(report.findings.iter().any(|finding| finding.class == Class::BadSignature), "{:?}", report.findings);
        // No checkpoints at all: nothing is proven, and that is not success.
        let mut bare = forged;
        bare.kept.clear();
        assert_ne!(bare.verify(KEYS, None).verdict(), Verdict::Verified);
    }
}

/// T5
#[test]
fn with_the_current_key_a_rewritten_log_is_told_by_collected_checkpoints_alone() {
    let log = Log::new();
    let forged = log.rewritten(30).re_signed(|size| (size > 30).then_some(2));
    check(&forged.verify(KEYS, None), &[]);
    let report = forged.verify(KEYS, Some(&log.kept));
    check(&report, &[Class::Fork]);
    assert_eq!((report.findings[0].first, report.findings[0].last), (30, 39));
}

/// T6 and T15
#[test]
fn a_later_key_cannot_write_what_came_before_it_anew() {
    let log = Log::new();
    // Everything signed with the second key; the first is destroyed.
    let forged = log.rewritten(5).re_signed(|_| Some(2));
    let report = forged.verify(KEYS, None);
    assert!(report.findings.iter().any(|finding| finding.class == Class::BadSignature), "{:?}", report.findings);
    // The old checkpoints stripped: the change of keys holds the last of them.
    let mut stripped = forged.clone();
    stripped.kept.retain(|kept| kept.checkpoint().size > CHANGE);
    check(&stripped.verify(KEYS, None), &[Class::BadSignature]);
    // The change taken away as well: the second key was not in use from the beginning, says the trust file.
    let mut bodies = stripped.bodies.clone();
    bodies[20] = body(20);
    let mut unchanged = Log::chained(bodies);
    unchanged.kept = stripped.kept.clone();
    check(&unchanged.re_signed(|_| Some(2)).verify(KEYS, None), &[Class::BadSignature]);
    // An old range of the true log signed again with the newer key.
    let again = log.clone().re_signed(|size| (size <= CHANGE).then_some(2));
    check(&again.verify(KEYS, None), &[Class::BadSignature]);
}

/// T7
#[test]
fn a_copy_that_went_on_differently_is_told_by_collected_checkpoints_alone() {
    let log = Log::new();
    // Restored as it was at 25 entries, and continued by the same gateway with the same key.
    let mut bodies = log.bodies[..25].to_vec();
    bodies.extend((25..45).map(|seq| body(seq + 100)));
    let mut fork = Log::chained(bodies);
    fork.kept = log.kept[..3].to_vec();
    fork.kept.extend([30, 45].map(|size| fork.signed(size, 2)));
    check(&fork.verify(KEYS, None), &[]);
    let report = fork.verify(KEYS, Some(&log.kept));
    check(&report, &[Class::Fork]);
    assert_eq!(report.findings[0].first, 25, "they agree up to there");
}

/// T12
#[test]
fn a_key_that_only_the_log_names_is_unknown() {
    let forged = Log::new().rewritten(5).re_signed(|_| Some(9));
    let report = forged.verify(KEYS, None);
    assert!(report.findings.iter().any(|finding| finding.class == Class::UnknownKey), "{:?}", report.findings);
    // The first key was forgotten in the trust file: not trusted either.
    check(&Log::new().verify(&[2], None), &[Class::UnknownKey]);
}

/// T16, and collected lines of somebody else's log.
#[test]
fn nothing_to_hold_a_log_against_is_inconclusive() {
    let log = Log::new();
    assert_eq!(log.cut(0).re_signed(|_| None).verify(KEYS, None).verdict(), Verdict::Inconclusive);
    assert_eq!(log.verify(KEYS, Some(&[])).verdict(), Verdict::Inconclusive);
    let other = CheckpointKey::from_seed(ChainId([8; 16]), &[1; 32]).unwrap();
    let foreign = other.sign(&Checkpoint { chain: ChainId([8; 16]), ..Checkpoint::of(&log.states[40]) }).unwrap();
    let report = log.verify(KEYS, Some(std::slice::from_ref(&foreign)));
    assert_eq!((report.verdict(), report.anchors), (Verdict::Inconclusive, Some((0, 1))));
    let report = log.verify(KEYS, Some(&[foreign, log.kept[4].clone()]));
    assert_eq!((report.verdict(), report.anchors), (Verdict::Verified, Some((1, 1))));
    // No key at all is no proof either.
    assert_eq!(log.verify(&[], None).verdict(), Verdict::Inconclusive);
}

/// Every checkpoint that a gateway could have made is accepted, alone and together.
#[test]
fn no_intact_log_gives_a_false_alarm() {
    let log = Log::new();
    for size in 1..=40 {
        let seed = if size <= CHANGE { 1 } else { 2 };
        let mut only = log.cut(size.max(21));
        only.kept.retain(|kept| kept.checkpoint().size <= size.max(21));
        let anchor = log.signed(size, seed);
        // With the trust file of then.
        check(&only.verify(&KEYS[..usize::from(seed)], Some(&[anchor])), &[]);
    }
    let rows = log.rows.iter().map(|(seq, bytes)| (*seq, bytes.as_slice()));
    let expected = Expected { chain: CHAIN, head: log.states.last().cloned(), note: None, cut: None };
    assert_eq!(verify(expected, rows).findings, []);
}
