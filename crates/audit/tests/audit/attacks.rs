//! The attacker has the signing key and the directory; the auditor has the trust file and what was collected. Whatever the one does, the
//! other is told that it is not proven, and what he is told is true.

#![expect(clippy::indexing_slicing, reason = "test code")]

use weir_audit::checkpoint::{KeyId, TrustedKeys};
use weir_audit::verify::{Class, Doubt, Evidence, Expected, Report, UNCOVERED_ENTRIES_MAX, Verdict, Verifier};
use weir_audit::{
    ChainId, ChainState, Checkpoint, CheckpointKey, Entry, EntryBody, EventId, Kind, Prune, SignedCheckpoint, chain,
};

use crate::common::{START, body};

const CHAIN: ChainId = ChainId([7; 16]);
const OTHER: ChainId = ChainId([8; 16]);

fn key(chain: ChainId, seed: u8) -> CheckpointKey {
    CheckpointKey::from_seed(chain, &[seed; 32]).unwrap()
}

fn id(seed: u8) -> KeyId {
    key(CHAIN, seed).verifier().id()
}

/// A log of one history, with all that was pruned of it still there.
#[derive(Clone)]
struct Log {
    chain: ChainId,
    rows: Vec<Vec<u8>>,
    states: Vec<ChainState>,
    first: u64,
}

impl Log {
    /// So many entries; another `history` has other ones.
    fn new(chain: ChainId, history: u64, entries: u64) -> Self {
        let mut log = Self { chain, rows: Vec::new(), states: vec![ChainState::new(chain)], first: 0 };
        log.grow(history, entries);
        log
    }

    /// To so many entries.
    fn grow(&mut self, history: u64, entries: u64) {
        (self.size()..entries).for_each(|seq| self.push(EntryBody { count: 1 + history, ..body(seq) }));
    }

    fn size(&self) -> u64 {
        self.rows.len() as u64
    }

    fn state(&self, size: u64) -> &ChainState {
        &self.states[usize::try_from(size).unwrap()]
    }

    fn push(&mut self, body: EntryBody) {
        let mut state = self.state(self.size()).clone();
        let at = body.at.max(state.head.last_at);
        let entry = Entry { log: self.chain, seq: self.size(), prev: state.head.last, at, split: None, body };
        let bytes = entry.encode();
        state.head.last = chain::leaf_hash(&bytes);
        state.head.last_at = at;
        state.head.frontier.push(state.head.last);
        self.rows.push(bytes);
        self.states.push(state);
    }

    fn prune(&mut self, to: u64) {
        let mut prune = Prune { from: self.first, cut: self.state(to).head.clone(), note: None };
        prune.note = Some(key(self.chain, 1).sign_prune(&prune));
        let bare = EntryBody::new(Kind::Prune, EventId([3; 16]), START);
        self.push(EntryBody { prune: Some(Box::new(prune)), ..bare });
        self.first = to;
    }

    fn change_key(&mut self) {
        let before = self.signed(self.size(), 1).to_string();
        self.push(EntryBody { reason: Some(before), ..EntryBody::new(Kind::KeyChange, EventId([3; 16]), START) });
    }

    fn signed(&self, size: u64, seed: u8) -> SignedCheckpoint {
        key(self.chain, seed).sign(&Checkpoint::of(self.state(size))).unwrap()
    }

    fn all_signed(&self, sizes: &[u64]) -> Vec<SignedCheckpoint> {
        sizes.iter().map(|size| self.signed(*size, 1)).collect()
    }
}

/// What the auditor has.
#[derive(Clone, Default)]
struct Auditor<'a> {
    anchors: Option<&'a [SignedCheckpoint]>,
    /// Keys of these logs, in order; of the log itself with seed 1 when there are none.
    trust: &'a [(ChainId, u8)],
    asked: Option<ChainId>,
    proven: u64,
}

impl Auditor<'_> {
    /// The log, with a checkpoint of each of these sizes and key numbers kept.
    fn verify(&self, log: &Log, kept: &[(u64, u8)]) -> Report {
        let trust = if self.trust.is_empty() { &[(CHAIN, 1)] } else { self.trust };
        let lines: String = trust.iter().map(|(chain, seed)| format!("{}\n", key(*chain, *seed).verifier())).collect();
        let mut evidence = Evidence::new(log.chain, Some(&TrustedKeys::parse(&lines).unwrap()), true);
        self.asked.into_iter().for_each(|asked| evidence.asked(asked));
        kept.iter().for_each(|(size, seed)| evidence.kept(&log.signed(*size, *seed)));
        if let Some(anchors) = self.anchors {
            evidence.expect_anchors();
            anchors.iter().for_each(|anchor| evidence.anchor(anchor));
        }
        evidence.proven(self.proven);
        let expected = Expected {
            chain: log.chain,
            head: log.states.last().cloned(),
            note: None,
            cut: (log.first > 0).then(|| log.state(log.first).clone()),
        };
        let mut verifier = Verifier::with_evidence(expected, evidence);
        let rows = (0..).zip(&log.rows).filter(|(seq, _)| *seq >= log.first);
        rows.for_each(|(seq, bytes)| verifier.row(seq, bytes));
        verifier.finish(|_| None)
    }

    /// With a checkpoint of the whole log.
    fn look(&self, log: &Log) -> Report {
        self.verify(log, &[(log.size(), 1)])
    }
}

fn holding(anchors: &[SignedCheckpoint]) -> Auditor<'_> {
    Auditor { anchors: Some(anchors), ..Auditor::default() }
}

#[track_caller]
fn proven(report: &Report) {
    assert_eq!((report.verdict(), &report.findings), (Verdict::Verified, &Vec::new()), "{:?}", report.doubts);
}

#[track_caller]
fn doubted(report: &Report, doubts: &[Doubt]) {
    assert_eq!((report.findings.as_slice(), report.doubts.as_slice()), (&[][..], doubts));
    assert_eq!(report.verdict(), Verdict::Inconclusive);
}

/// The findings, each as its class and range.
#[track_caller]
fn found(report: &Report, findings: &[(Class, u64, u64)]) {
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.class, finding.first, finding.last)).collect();
    assert_eq!(found, findings, "{:?}", report.findings);
    assert_eq!(report.verdict(), Verdict::Tampered);
}

#[test]
fn what_was_collected_before_a_cut_is_compared_or_said_not_to_be() {
    let mut log = Log::new(CHAIN, 0, 600);
    log.prune(512);
    log.grow(0, 620);
    let anchors = log.all_signed(&[0, 100, 256, 300, 512, 550, 600, 620]);
    proven(&holding(&log.all_signed(&[512, 550, 620])).look(&log));
    doubted(&holding(&anchors).look(&log), &[Doubt::Pruned { checkpoints: 3, first: 512 }]);
    // An earlier verification compared them, and what it compared last can be compared again.
    for (proven_to, good) in [(300, false), (511, false), (512, true), (600, true), (620, true)] {
        let report = Auditor { proven: proven_to, ..holding(&anchors) }.look(&log);
        assert_eq!(report.verdict() == Verdict::Verified, good, "proven to {proven_to}: {:?}", report.doubts);
    }
    // Without that one nothing leads from then to now.
    let without = log.all_signed(&[100, 620]);
    let report = Auditor { proven: 600, ..holding(&without) }.look(&log);
    doubted(&report, &[Doubt::Pruned { checkpoints: 1, first: 512 }]);
    // One that came after the earlier verification and before the cut was compared by nobody.
    let late = [log.all_signed(&[512, 600, 620]), log.all_signed(&[500])].concat();
    proven(&Auditor { proven: 600, ..holding(&late) }.look(&log));
    // Where the cut is made of several subtrees, the trees before it can be told from it.
    let mut long = Log::new(CHAIN, 0, 900);
    long.prune(768);
    proven(&holding(&long.all_signed(&[0, 512, 768, 901])).look(&long));
}

#[test]
fn a_rewritten_log_that_says_it_was_pruned_is_never_proven_by_the_checkpoints_of_the_true_one() {
    let truth = Log::new(CHAIN, 0, 900);
    let collected = truth.all_signed(&[100, 300, 512, 700, 900]);
    for (cut, size) in [(256, 900), (512, 900), (768, 900), (768, 1100), (1024, 1100)] {
        let mut forged = Log::new(CHAIN, 1, size);
        forged.prune(cut);
        forged.grow(1, size + 10);
        // The gateway goes on with it, and what it prints is collected as ever.
        let later = [collected.clone(), forged.all_signed(&[size + 5, size + 10])].concat();
        for anchors in [collected.clone(), later.clone()] {
            for proven in [0, 300, 900] {
                let report = Auditor { proven, ..holding(&anchors) }.look(&forged);
                assert_ne!(report.verdict(), Verdict::Verified, "cut at {cut}, proven to {proven}");
            }
        }
        // Control: who collected nothing before does not notice.
        proven(&holding(&forged.all_signed(&[size + 10])).look(&forged));
        let report = Auditor { proven: 900, ..holding(&later) }.look(&forged);
        match cut {
            // The collected ones that lie behind the cut disagree, and so does that of 512 entries, which can be told from 768.
            256 => found(&report, &[(Class::Fork, 256, 899)]),
            512 => found(&report, &[(Class::Fork, 512, 899)]),
            768 => found(&report, &[(Class::Fork, 0, 511), (Class::Fork, 768, 899)]),
            _ => doubted(&report, &[Doubt::Pruned { checkpoints: 5, first: 1024 }]),
        }
    }
}

#[test]
fn checkpoints_of_what_is_gone_must_not_contradict_each_other_or_the_log() {
    let mut log = Log::new(CHAIN, 0, 600);
    log.prune(256);
    log.prune(512);
    let other = Log::new(CHAIN, 1, 600);
    // Two of as many entries.
    let anchors = [log.signed(300, 1), other.signed(300, 1), log.signed(602, 1)];
    found(&holding(&anchors).look(&log), &[(Class::Fork, 0, 299)]);
    // One kept, one collected.
    let anchors = [other.signed(300, 1), log.signed(602, 1)];
    found(&holding(&anchors).verify(&log, &[(300, 1), (602, 1)]), &[(Class::Fork, 0, 299)]);
    // A checkpoint and a prune entry that stands in the log.
    let mut pruned = Log::new(CHAIN, 0, 600);
    pruned.prune(256);
    pruned.grow(0, 700);
    pruned.prune(512);
    let anchors = [other.signed(256, 1), pruned.signed(701, 1)];
    found(&holding(&anchors).look(&pruned), &[(Class::Fork, 0, 255)]);
    // A newer key before an older one.
    let both = &[(CHAIN, 1), (CHAIN, 2)];
    let anchors = [log.signed(100, 2), log.signed(300, 1), log.signed(602, 2)];
    let report = Auditor { trust: both, ..holding(&anchors) }.verify(&log, &[(602, 2)]);
    assert!(report.findings.iter().any(|finding| (finding.class, finding.last) == (Class::BadSignature, 299)));
}

#[test]
fn a_log_that_ends_with_an_older_key_is_not_what_the_trust_file_names() {
    let both = &[(CHAIN, 1), (CHAIN, 2)];
    let mut truth = Log::new(CHAIN, 0, 40);
    truth.change_key();
    truth.grow(0, 60);
    let kept = [(40, 1), (60, 2)];
    let auditor = Auditor { trust: both, ..Auditor::default() };
    proven(&auditor.verify(&truth, &kept));
    // The first key was stolen, and its thief leaves the change out; he may go on for as long as he likes.
    let older = Doubt::OlderKey { signed: id(1), last: id(2) };
    for size in [30, 40, 60, 80] {
        let forged = Log::new(CHAIN, 1, size);
        doubted(&auditor.verify(&forged, &[(size, 1)]), std::slice::from_ref(&older));
    }
    // The entry is there and nothing of the second key, or an old copy was put back.
    let mut cut = Log::new(CHAIN, 0, 40);
    cut.change_key();
    doubted(&auditor.verify(&cut, &[(40, 1)]), std::slice::from_ref(&older));
    // With what the second key signed it is proven.
    let anchors = truth.all_signed(&[40]).into_iter().chain([truth.signed(60, 2)]).collect::<Vec<_>>();
    let with = Auditor { anchors: Some(&anchors), ..auditor };
    assert_eq!(with.verify(&Log::new(CHAIN, 1, 80), &[(80, 1)]).verdict(), Verdict::Tampered);
    let report = with.verify(&cut, &[(40, 1)]);
    assert!(report.findings.iter().any(|finding| finding.class == Class::Rollback), "{:?}", report.findings);
    // Who wants to look at the old copy says so, with the trust file of then.
    proven(&Auditor::default().verify(&cut, &[(40, 1)]));
    // The thief changes to a key of his own.
    let mut changed = Log::new(CHAIN, 1, 40);
    changed.change_key();
    changed.grow(1, 60);
    let report = auditor_of(both).verify(&changed, &[(40, 1), (60, 9)]);
    assert!(report.findings.iter().any(|finding| finding.class == Class::UnknownKey), "{:?}", report.findings);
}

fn auditor_of(trust: &[(ChainId, u8)]) -> Auditor<'_> {
    Auditor { trust, ..Auditor::default() }
}

#[test]
fn another_log_in_its_place_is_said_to_be_another() {
    let (mine, other) = (Log::new(CHAIN, 0, 50), Log::new(OTHER, 0, 60));
    let (own, foreign) = (mine.all_signed(&[50]), other.all_signed(&[20, 60]));
    let both: &[(ChainId, u8)] = &[(CHAIN, 1), (OTHER, 1)];
    let of = |log: &Log| (Class::OtherLog, 0, log.size() - 1);
    // A trust file of one log says which it is.
    found(&holding(&own).look(&other), &[of(&other)]);
    // One of both does not, and collected lines of both do not either.
    let which = [Doubt::WhichLog { logs: 2 }];
    let mixed = [own.clone(), foreign.clone()].concat();
    for log in [&mine, &other] {
        doubted(&Auditor { trust: both, ..holding(&mixed) }.look(log), &which);
    }
    // He says which.
    let asked = Auditor { trust: both, asked: Some(CHAIN), ..holding(&mixed) };
    let report = asked.look(&mine);
    proven(&report);
    assert_eq!(report.anchors, Some((1, 2)), "those of the other are counted");
    found(&asked.look(&other), &[of(&other)]);
    let detail = asked.look(&other).findings[0].detail.to_string();
    assert_eq!(detail, format!("this is {}, and {} was asked for", OTHER.origin(), CHAIN.origin()));
    // All that a trusted key signed is of another log.
    found(&Auditor { trust: both, ..holding(&own) }.look(&other), &[of(&other)]);
    let report = Auditor { trust: both, asked: Some(OTHER), ..holding(&own) }.look(&other);
    doubted(&report, &[Doubt::NoAnchor { own: 0, others: 1 }]);
    // What nobody trusted signed says nothing of the kind.
    let report = holding(&foreign).look(&mine);
    doubted(&report, &[Doubt::NoAnchor { own: 0, others: 2 }]);
}

#[test]
fn checkpoints_taken_away_leave_a_doubt() {
    let log = Log::new(CHAIN, 0, 60);
    let anchors = log.all_signed(&[40, 50]);
    proven(&holding(&anchors).verify(&log, &[(55, 1)]));
    doubted(&holding(&anchors).verify(&log, &[]), &[Doubt::NotKept]);
    doubted(&Auditor::default().verify(&log, &[]), &[Doubt::NoCheckpoint]);
    // The very first one covers nothing.
    doubted(&Auditor::default().verify(&log, &[(0, 1)]), &[Doubt::NoCheckpoint]);
    doubted(&holding(&log.all_signed(&[0])).look(&log), &[Doubt::NoAnchor { own: 1, others: 0 }]);
    // A long tail stands out, whatever covers the beginning.
    let long = Log::new(CHAIN, 0, UNCOVERED_ENTRIES_MAX + 50);
    proven(&holding(&anchors).verify(&long, &[(50, 1)]));
    let tail = Doubt::Tail { entries: UNCOVERED_ENTRIES_MAX + 10 };
    let anchors = log.all_signed(&[40]);
    doubted(&holding(&anchors).verify(&long, &[(40, 1)]), std::slice::from_ref(&tail));
    doubted(&holding(&anchors).verify(&long, &[]), &[Doubt::NotKept, tail]);
}

#[test]
fn rewritten_rolled_back_or_signed_ahead_of_itself_it_is_proven() {
    let truth = Log::new(CHAIN, 0, 60);
    let anchors = truth.all_signed(&[20, 40, 60]);
    // The tail written anew.
    let mut forged = Log::new(CHAIN, 0, 30);
    forged.grow(1, 70);
    found(&holding(&anchors).look(&forged), &[(Class::Fork, 20, 59)]);
    // An older copy, as it was and gone on.
    found(&holding(&anchors).look(&Log::new(CHAIN, 0, 30)), &[(Class::Rollback, 30, 59)]);
    let mut on = Log::new(CHAIN, 0, 45);
    on.grow(1, 90);
    let later = [anchors.clone(), on.all_signed(&[80, 90])].concat();
    found(&holding(&later).look(&on), &[(Class::Fork, 40, 59)]);
    // A checkpoint of entries that never were, kept or printed.
    let ahead = Log::new(CHAIN, 0, 99);
    let printed = [anchors.clone(), ahead.all_signed(&[99])].concat();
    found(&holding(&printed).look(&truth), &[(Class::Rollback, 60, 98)]);
}
