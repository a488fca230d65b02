//! Checks a stored log: rows of (sequence number, bytes) in the order of storage, against the head that was stored with them, the head
//! file that older versions kept beside them, and signed checkpoints.
//!
//! It goes on after the first finding and lists what is intact on both sides. Which row an altered one is follows from the links: each
//! entry holds the hash of the one before it.
//!
//! ```text
//! one broken link,  4 ─✗─ 5 ─── 6     entry 4 was altered: its hash is not what 5 says
//! two in a row,     4 ─✗─ 5 ─✗─ 6     entry 5 was altered where it holds the hash of 4
//! ```

mod doubt;
mod evidence;
mod report;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::chain::{ChainState, HeadNote, leaf_hash};
use crate::entry::Entry;
use crate::hash::Hash;
use crate::ids::ChainId;
use crate::prune::Prune;
use crate::tree::Frontier;

pub use doubt::Doubt;
pub use evidence::Evidence;
pub use report::{Class, Coverage, Finding, Report, UNCOVERED_ENTRIES_MAX, Verdict};

/// What the rows are compared with.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The chain that every entry must belong to.
    pub chain: ChainId,
    /// The head that was stored in the batch of the last entry; `None` = there is none.
    pub head: Option<ChainState>,
    /// The head file beside the database; `None` = there is none, and nothing can be said about how long the log should be.
    pub note: Option<HeadNote>,
    /// Where the log begins, when entries were pruned; `None` = at its origin.
    pub cut: Option<ChainState>,
}

/// Checks rows one at a time.
#[derive(Debug)]
pub struct Verifier {
    expected: Expected,
    rows: u64,
    /// The sequence number that comes next; also the number of places passed.
    next: u64,
    before: Before,
    /// The link before row `next - 1` is broken, and it is not known yet which side was altered.
    pending: bool,
    /// Root and last leaf where the head file's size was reached.
    at_note: Option<(Hash, Hash)>,
    frontier: Frontier,
    missing: Vec<(u64, u64)>,
    displaced: Vec<Displaced>,
    findings: Vec<Finding>,
    left_out: u64,
    /// Why the rows could not be read to their end.
    stopped: Option<String>,
    /// The last entry that pruned.
    pruned: Option<(u64, Box<Prune>)>,
    evidence: Evidence,
}

/// What is known of the row before.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// Its hash, and whether something was found in it already.
    Row { leaf: Hash, blamed: bool },
    /// It is missing.
    Gap,
}

/// A row that holds the entry of another place or chain.
#[derive(Clone, Copy, Debug)]
struct Displaced {
    row: u64,
    claims: u64,
    leaf: Hash,
    foreign: bool,
}

/// Checks rows that are in memory.
#[must_use]
pub fn verify<'a>(expected: Expected, rows: impl IntoIterator<Item = (u64, &'a [u8])>) -> Report {
    let mut verifier = Verifier::new(expected);
    let mut seen = BTreeMap::new();
    for (seq, bytes) in rows {
        verifier.row(seq, bytes);
        seen.entry(seq).or_insert(bytes);
    }
    verifier.finish(|seq| seen.get(&seq).map(|bytes| bytes.to_vec()))
}

impl Verifier {
    /// A verifier before the first row, without signed checkpoints.
    #[must_use]
    pub fn new(expected: Expected) -> Self {
        Self::with_evidence(expected, Evidence::default())
    }

    /// A verifier before the first row.
    #[must_use]
    pub fn with_evidence(expected: Expected, evidence: Evidence) -> Self {
        let begin = expected.cut.clone().unwrap_or_else(|| ChainState::new(expected.chain)).head;
        let before = Before::Row { leaf: begin.last, blamed: false };
        let mut verifier = Self {
            expected,
            rows: 0,
            next: begin.size(),
            before,
            pending: false,
            at_note: None,
            frontier: begin.frontier,
            missing: Vec::new(),
            displaced: Vec::new(),
            findings: Vec::new(),
            left_out: 0,
            stopped: None,
            pruned: None,
            evidence,
        };
        verifier.evidence.begins_at(&verifier.frontier);
        verifier.capture_note();
        verifier
    }

    /// The next row as it is stored.
    pub fn row(&mut self, seq: u64, bytes: &[u8]) {
        self.rows += 1;
        if seq < self.first() {
            self.find(Class::Prune, seq, seq, "it stands before the first entry that is left".into());
            return;
        }
        if seq < self.next {
            self.late(seq);
            return;
        }
        if seq > self.next {
            self.settle();
            self.missing.push((self.next, seq - 1));
            self.before = Before::Gap;
        }
        self.next = seq.saturating_add(1);
        let leaf = leaf_hash(bytes);
        let blamed = self.place(seq, bytes, leaf);
        self.before = Before::Row { leaf, blamed };
        self.frontier.push(leaf);
        self.capture_note();
    }

    /// Rows from here on could not be read; no row follows.
    pub fn unreadable(&mut self, detail: &str) {
        self.stopped = Some(detail.to_owned());
    }

    /// The head file is there and not what was written.
    pub fn note_damaged(&mut self, detail: &str) {
        self.find(Class::Head, self.next, self.next, Cow::Owned(detail.to_owned()));
    }

    /// The verdict. `lookup` gives the bytes of a row by its sequence number, to tell a copy from an altered entry.
    #[must_use]
    pub fn finish(mut self, mut lookup: impl FnMut(u64) -> Option<Vec<u8>>) -> Report {
        self.check_last_link();
        self.settle();
        self.judge_displaced(&mut lookup);
        for (first, last) in std::mem::take(&mut self.missing) {
            self.find(Class::Missing, first, last, "no row is there".into());
        }
        self.check_sizes();
        self.check_cut();
        self.check_root();
        self.check_note();
        self.check_evidence();
        let noted = self.expected.note.as_ref().filter(|_| !self.evidence.is_trusted()).map(|note| note.size);
        let noted = noted.map(|size| Coverage { size, newer: self.next.saturating_sub(size), since: None });
        let signed = self.evidence.kept_coverage(self.next);
        let kept = signed.or(noted);
        let anchored = self.evidence.anchored_coverage(self.next);
        let doubts = self.evidence.doubts(self.rows, self.next, kept);
        Report::new(Report {
            rows: self.rows,
            first: self.first(),
            size: self.next,
            findings: self.findings,
            left_out: self.left_out,
            good: Vec::new(),
            newer: kept.map(|kept| kept.newer),
            kept,
            anchored,
            anchors: self.evidence.anchors(),
            doubts,
            signed: signed.is_some() || anchored.is_some(),
            root: self.frontier.root(),
        })
    }

    /// Judges a row at its place in the order; whether something was found in it.
    fn place(&mut self, seq: u64, bytes: &[u8], leaf: Hash) -> bool {
        let entry = match Entry::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.settle_before(seq);
                self.find(Class::Edit, seq, seq, Cow::Owned(format!("it does not decode: {error}")));
                return true;
            }
        };
        let foreign = entry.log != self.expected.chain;
        if foreign || entry.seq != seq {
            self.settle_before(seq);
            if self.displaced.len() < FINDINGS_MAX {
                self.displaced.push(Displaced { row: seq, claims: entry.seq, leaf, foreign });
            } else {
                self.left_out += 1;
            }
            return true;
        }
        self.evidence.entry(seq, &entry);
        if let Some(prune) = entry.body.prune {
            self.prune(seq, prune);
        }
        match self.before {
            Before::Gap => {}
            Before::Row { leaf, .. } if leaf == entry.prev => self.settle_before(seq),
            Before::Row { blamed: true, .. } => {}
            Before::Row { blamed: false, .. } if self.pending => {
                self.pending = false;
                self.find(Class::Edit, seq - 1, seq - 1, "it does not hold the hash of the entry before it".into());
            }
            Before::Row { blamed: false, .. } => self.pending = true,
        }
        false
    }

    /// A row behind its place in the order.
    fn late(&mut self, seq: u64) {
        let range = self.missing.iter().position(|(first, last)| (*first..=*last).contains(&seq));
        let Some((first, last)) = range.map(|at| self.missing.remove(at)) else {
            self.find(Class::Duplicate, seq, seq, "a second row has this number".into());
            return;
        };
        self.missing.extend((first < seq).then(|| (first, seq - 1)));
        self.missing.extend((seq < last).then(|| (seq + 1, last)));
        self.find(Class::Reorder, seq, seq, "it comes after later entries".into());
    }

    /// A link broke before the row before `seq`, and the link to `seq` says nothing against that row: the one before it was altered.
    fn settle_before(&mut self, seq: u64) {
        if std::mem::take(&mut self.pending) {
            match seq.checked_sub(2) {
                Some(edited) if edited < self.first() => {
                    let detail = "the first entry that is left does not hold the hash of the cut before it";
                    self.find(Class::Prune, seq - 1, seq - 1, detail.into());
                }
                Some(edited) => {
                    self.find(Class::Edit, edited, edited, "its hash is not what the next entry holds".into())
                }
                None => self.find(Class::Edit, 0, 0, "it does not start from the origin of this chain".into()),
            }
        }
    }

    fn settle(&mut self) {
        self.settle_before(self.next);
    }

    /// The link behind the last entry is the head's.
    fn check_last_link(&mut self) {
        let Some(head) = self.expected.head.as_ref().map(|state| &state.head) else { return };
        let Before::Row { leaf, blamed: false } = self.before else { return };
        let Some(last) = self.next.checked_sub(1) else { return };
        if head.size() != self.next || leaf == head.last {
            return;
        }
        if std::mem::take(&mut self.pending) {
            self.find(Class::Edit, last, last, "it does not hold the hash of the entry before it".into());
        } else if self.frontier.root() != head.frontier.root() {
            self.find(Class::Edit, last, last, "its hash is not what the head holds".into());
        } else {
            self.find(Class::Head, last, last, "the stored head holds another last hash".into());
        }
    }

    fn judge_displaced(&mut self, lookup: &mut impl FnMut(u64) -> Option<Vec<u8>>) {
        let displaced = std::mem::take(&mut self.displaced);
        let size = self.expected.head.as_ref().map_or(self.next, |state| state.head.size());
        for row in &displaced {
            let absent = |(first, last): &(u64, u64)| (*first..=*last).contains(&row.claims);
            let (class, detail) = if row.foreign {
                (Class::Edit, "it names another chain")
            } else if displaced.binary_search_by_key(&row.claims, |other| other.row).is_ok() {
                (Class::Reorder, "it holds an entry of another place, and that place holds another's")
            } else if lookup(row.claims).is_some_and(|bytes| leaf_hash(&bytes) == row.leaf) {
                (Class::Duplicate, "it holds a copy of another entry")
            } else if self.missing.iter().any(absent) || (self.next..size).contains(&row.claims) {
                (Class::Reorder, "it holds an entry that is missing at its own place")
            } else {
                (Class::Edit, "it holds another number than its row")
            };
            self.find(class, row.row, row.row, detail.into());
        }
    }

    fn check_sizes(&mut self) {
        let size = self.expected.head.as_ref().map(|state| state.head.size());
        let noted = self.expected.note.as_ref().map_or(0, |note| note.size);
        let (kept, collected) = self.evidence.claimed();
        let known = size.unwrap_or(0).max(noted).max(kept);
        let last = known.max(collected).saturating_sub(1);
        if let Some(detail) = self.stopped.take() {
            self.find(Class::Unreadable, self.next, last.max(self.next), Cow::Owned(detail));
        } else if known > self.next {
            let by = match size {
                Some(size) if size > self.next => "the stored head knows of these entries",
                Some(_) | None if kept > self.next => "a checkpoint knows of these entries",
                Some(_) | None => "the head file knows of these entries",
            };
            self.find(Class::Truncated, self.next, last, by.into());
        } else if collected > self.next {
            let detail = "collected checkpoints vouch for these entries and nothing here knows of them: an older copy was put in place, or \
                          somebody with the key signed what never was";
            self.find(Class::Rollback, self.next, last, detail.into());
        }
        match size {
            Some(size) if size < self.next => {
                self.find(Class::Extra, size, self.next - 1, "the stored head does not know of these rows".into());
            }
            None if self.rows > 0 => {
                self.find(Class::Head, self.next - 1, self.next - 1, "the stored head is missing or unreadable".into());
            }
            Some(_) | None => {}
        }
    }

    /// The first place: the minimum index.
    fn first(&self) -> u64 {
        self.expected.cut.as_ref().map_or(0, |cut| cut.head.size())
    }

    /// An entry that pruned. Each goes on where the one before it ended.
    fn prune(&mut self, seq: u64, prune: Box<Prune>) {
        let follows = self.pruned.as_ref().is_none_or(|(_, before)| before.cut.size() == prune.from);
        if !follows || prune.cut.size() > seq {
            self.find(Class::Prune, seq, seq, "it prunes what the prune entry before it did not leave".into());
        }
        self.pruned = Some((seq, prune));
    }

    /// That entries are gone is vouched for by the last prune entry, and by nothing else.
    fn check_cut(&mut self) {
        let first = self.first();
        let foreign = self.expected.cut.as_ref().is_some_and(|cut| cut.chain != self.expected.chain);
        let cut = self.expected.cut.as_ref().map(|cut| &cut.head);
        let detail = match (&self.pruned, cut) {
            _ if foreign => "the cut is another chain's",
            (None, None) => return,
            (Some((_, prune)), Some(cut)) if prune.cut == *cut => return,
            // What could not be read may be the entry that is looked for.
            (None, Some(_)) if !self.findings.is_empty() => return,
            (None, Some(_)) => "earlier entries are gone and no entry says so",
            (Some(_), _) => "the log does not begin where its last prune entry says",
        };
        self.find(Class::Prune, first, first, detail.into());
    }

    fn check_root(&mut self) {
        let Some(state) = &self.expected.head else { return };
        if state.chain != self.expected.chain {
            self.find(Class::Head, self.next, self.next, "the stored head is another chain's".into());
        } else if self.findings.is_empty() && state.head.frontier.root() != self.frontier.root() {
            self.find(Class::Head, self.next, self.next, "the stored head holds another root".into());
        }
    }

    fn check_note(&mut self) {
        let Some(note) = &self.expected.note else { return };
        if note.chain != self.expected.chain {
            self.find(Class::Head, self.next, self.next, "the head file is another chain's".into());
            return;
        }
        if note.size < self.first() {
            let detail = "the head file is older than the first entry that is left";
            self.find(Class::Head, self.next, self.next, detail.into());
            return;
        }
        let explained = self.findings.iter().any(|finding| finding.first < note.size);
        if !explained && self.at_note.is_some_and(|found| found != (note.root, note.last)) {
            let last = note.size.saturating_sub(1);
            self.find(
                Class::Fork,
                self.first(),
                last,
                "the rows fit each other and not the head file: the log was rewritten".into(),
            );
        }
    }

    fn check_evidence(&mut self) {
        let forks: Vec<_> = self.evidence.forks().collect();
        for (first, last, detail) in forks {
            let explained = |finding: &Finding| finding.first <= last && finding.class.is_of_entries();
            if !self.findings.iter().any(explained) {
                self.find(Class::Fork, first.max(self.first()).min(last), last, detail.into());
            }
        }
        let (findings, left_out) = self.evidence.take_findings(self.next);
        for Finding { class, first, last, detail } in findings {
            self.find(class, first, last, detail);
        }
        self.left_out += left_out;
    }

    fn capture_note(&mut self) {
        let Before::Row { leaf, .. } = self.before else { return };
        if self.missing.is_empty() {
            self.evidence.reached(&self.frontier);
        }
        if self.expected.note.as_ref().is_some_and(|note| note.size == self.next) && self.missing.is_empty() {
            self.at_note = Some((self.frontier.root(), leaf));
        }
    }

    fn find(&mut self, class: Class, first: u64, last: u64, detail: Cow<'static, str>) {
        if let Some(before) = self.findings.last_mut()
            && before.class == class
            && before.last.checked_add(1) == Some(first)
            && before.detail == detail
        {
            before.last = last;
        } else if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { class, first, last, detail });
        } else {
            self.left_out += 1;
        }
    }
}

/// Findings kept; more are counted.
const FINDINGS_MAX: usize = 10_000;
