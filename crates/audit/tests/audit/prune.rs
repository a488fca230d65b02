//! Pruned logs: what is left verifies from the cut on, and nobody takes entries away without an entry that says so.

use crate::common::{body, committer, entry, log_of, ticket};
use weir_audit::verify::{Class, Expected, Report, Verdict, verify};
use weir_audit::{
    ChainState, Committer, Entry, EntryBody, EntryError, EventId, Head, Kind, MemorySink, PRUNE_STEP, Prune, chain,
};

type Rows = Vec<(u64, Vec<u8>)>;

/// A log while it grows and is pruned.
struct Log {
    committer: Committer<MemorySink>,
    first: u64,
}

impl Log {
    fn new(entries: u64) -> Self {
        let mut committer = committer();
        log_of(&mut committer, 0..entries);
        Self { committer, first: 0 }
    }

    fn rows(&mut self) -> Rows {
        let entries = self.committer.sink_mut().entries().iter();
        entries.map(|sealed| (sealed.entry.seq, sealed.bytes.clone())).collect()
    }

    /// The log as it was when it had so many entries.
    fn at(&mut self, size: u64) -> Head {
        let mut head = ChainState::new(self.committer.state().chain).head;
        for (_, bytes) in self.rows().iter().take(usize::try_from(size).unwrap()) {
            head.last = chain::leaf_hash(bytes);
            head.last_at = Entry::decode(bytes).unwrap().at;
            head.frontier.push(head.last);
        }
        head
    }

    fn prune(&mut self, to: u64) {
        let prune = Prune { from: self.first, cut: self.at(to), note: None };
        assert_eq!(self.committer.commit(vec![(ticket(1), entry(pruning(prune)))]).receipts.len(), 1);
        self.first = to;
    }

    /// What is left of it, and what it is checked against.
    fn left(&mut self) -> (Expected, Rows) {
        let state = self.committer.state().clone();
        let cut = ChainState { chain: state.chain, head: self.at(self.first) };
        let expected = Expected {
            chain: state.chain,
            note: Some(state.head.note(state.chain)),
            head: Some(state),
            cut: (self.first > 0).then_some(cut),
        };
        let first = self.first;
        (expected, self.rows().into_iter().filter(|(seq, _)| *seq >= first).collect())
    }
}

fn pruning(prune: Prune) -> EntryBody {
    EntryBody { prune: Some(Box::new(prune)), ..EntryBody::new(Kind::Prune, EventId([3; 16]), body(0).at) }
}

fn run(expected: &Expected, rows: &Rows) -> Report {
    verify(expected.clone(), rows.iter().map(|(seq, bytes)| (*seq, bytes.as_slice())))
}

#[track_caller]
fn check(expected: &Expected, rows: &Rows, findings: &[(Class, u64, u64)]) {
    let report = run(expected, rows);
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.class, finding.first, finding.last)).collect();
    assert_eq!(found, findings, "{:?}", report.findings);
    assert_eq!(report.verdict(), if findings.is_empty() { Verdict::Verified } else { Verdict::Tampered });
}

#[test]
fn what_is_left_is_verified_from_the_cut_on() {
    let mut log = Log::new(600);
    for to in [256, 512] {
        log.prune(to);
        log_of(&mut log.committer, 600..610);
        let (expected, rows) = log.left();
        let report = run(&expected, &rows);
        assert_eq!((report.findings.as_slice(), report.verdict()), (&[][..], Verdict::Verified));
        assert_eq!((report.first, report.rows), (to, log.committer.state().head.size() - to));
        assert_eq!(report.good, [(to, report.size - 1)]);
        assert_eq!(report.root, log.committer.state().head.frontier.root(), "the tree is the whole log's");
    }
}

#[test]
fn a_minimum_without_its_entry_is_found() {
    let mut log = Log::new(600);
    log.first = 256;
    let (expected, rows) = log.left();
    check(&expected, &rows, &[(Class::Prune, 256, 256)]);
    // Without the row as well, entries are missing and the first one hangs in the air.
    let report = run(&Expected { cut: None, ..expected }, &rows);
    assert_eq!(report.findings.first().map(|finding| (finding.class, finding.last)), Some((Class::Missing, 255)));
}

#[test]
fn a_cut_that_is_not_the_entrys_is_found() {
    let mut log = Log::new(600);
    log.prune(256);
    let (expected, rows) = log.left();
    check(&expected, &rows, &[]);
    // More is gone than the entry says.
    log.first = 512;
    let (further, fewer) = log.left();
    check(&further, &fewer, &[(Class::Prune, 512, 512)]);
    // The row says that nothing is gone, and nothing is.
    log.first = 0;
    let (back, all) = log.left();
    check(&back, &all, &[(Class::Prune, 0, 0)]);
    // Entries that are gone stand there again.
    let (seq, bytes) = all[255].clone();
    let mut more = rows.clone();
    more.insert(0, (seq, bytes));
    check(&expected, &more, &[(Class::Prune, 255, 255)]);
    // Another chain's cut.
    let mut foreign = expected.clone();
    foreign.cut.as_mut().unwrap().chain.0[0] ^= 1;
    check(&foreign, &rows, &[(Class::Prune, 256, 256)]);
}

#[test]
fn every_flipped_bit_of_a_prune_entry_is_found() {
    let mut log = Log::new(600);
    log.prune(512);
    log_of(&mut log.committer, 600..602);
    let (expected, rows) = log.left();
    let at = rows.iter().position(|(_, bytes)| Entry::decode(bytes).unwrap().body.kind == Kind::Prune).unwrap();
    for bit in 0..rows[at].1.len() * 8 {
        let mut bad = rows.clone();
        bad[at].1[bit / 8] ^= 1 << (bit % 8);
        let report = run(&expected, &bad);
        let edit = report.findings.iter().any(|found| (found.class, found.first) == (Class::Edit, bad[at].0));
        assert!(edit, "bit {bit}: {:?}", report.findings);
    }
}

/// An attacker without the key makes up a prune entry and everything behind it: the rows fit each other, and not what stands outside.
#[test]
fn a_prune_entry_that_was_made_up_is_a_fork_from_what_stands_outside() {
    let mut log = Log::new(600);
    log_of(&mut log.committer, 600..605);
    let noted = log.committer.state().head.note(log.committer.state().chain);
    let mut forged = Log::new(600);
    forged.prune(512);
    log_of(&mut forged.committer, 600..610);
    let (expected, rows) = forged.left();
    check(&expected, &rows, &[]);
    check(&Expected { note: Some(noted), ..expected }, &rows, &[(Class::Fork, 512, 604)]);
}

#[test]
fn prune_entries_follow_each_other() {
    let mut log = Log::new(600);
    log.prune(256);
    // The second one says again that it begins at 0.
    log.first = 0;
    log.prune(512);
    let (expected, rows) = log.left();
    check(&expected, &rows, &[(Class::Prune, 601, 601)]);
}

#[test]
fn only_whole_steps_forward_are_entries() {
    let mut log = Log::new(600);
    let encode = |prune: Prune| {
        let entry = Entry {
            log: weir_audit::ChainId([7; 16]),
            seq: 700,
            prev: weir_audit::Hash([1; 32]),
            at: 1,
            split: None,
            body: EntryBody { at: 1, ..pruning(prune) },
        };
        Entry::decode(&entry.encode())
    };
    for (from, to, good) in [(0, 256, true), (256, 512, true), (0, 255, false), (1, 256, false), (256, 256, false)] {
        let prune = Prune { from, cut: log.at(to), note: Some("a note".into()) };
        assert_eq!(encode(prune).is_ok(), good, "{from} to {to}");
    }
    assert_eq!(PRUNE_STEP, 256);
    let long = Prune { from: 0, cut: log.at(256), note: Some("x".repeat(1025)) };
    assert!(matches!(encode(long), Err(EntryError::Cbor(_))));
    // The kind without the field, and the field without the kind.
    for body in [
        EntryBody::new(Kind::Prune, EventId([3; 16]), 1),
        EntryBody { kind: Kind::Boot, ..pruning(Prune { from: 0, cut: log.at(256), note: None }) },
    ] {
        let entry = Entry {
            log: weir_audit::ChainId([7; 16]),
            seq: 700,
            prev: weir_audit::Hash([1; 32]),
            at: body.at,
            split: None,
            body,
        };
        assert!(Entry::decode(&entry.encode()).is_err());
    }
}
