//! What a verifier says.

use std::borrow::Cow;
use std::fmt;

use crate::Hash;

/// What is wrong with a range of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The bytes of an entry were altered.
    Edit,
    /// Entries are missing between others.
    Missing,
    /// Entries stand in another place than their own.
    Reorder,
    /// An entry stands there twice.
    Duplicate,
    /// Entries are missing at the end.
    Truncated,
    /// Rows follow that the stored head does not know.
    Extra,
    /// The stored head or the head file fits neither the entries nor this chain.
    Head,
    /// The rows fit each other, and not what the head file says of them.
    Fork,
    /// Entries are gone and no prune entry vouches for that, or another cut than the one that is there.
    Prune,
    /// The storage could not read on.
    Unreadable,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub class: Class,
    /// First sequence number concerned.
    pub first: u64,
    /// Last sequence number concerned.
    pub last: u64,
    /// Why; one line, without a byte of an entry.
    pub detail: Cow<'static, str>,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every entry is what and where it was, and the log is as long as its head file says at least.
    Verified,
    /// Something was altered, or is damaged.
    Tampered,
    /// Nothing was found, but nothing can be promised either: there are no entries, or no head file.
    Inconclusive,
}

/// What a verifier found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Rows read.
    pub rows: u64,
    /// The first place: 0, or where the last prune entry says that the log begins.
    pub first: u64,
    /// Places passed: one more than the highest sequence number.
    pub size: u64,
    /// What is wrong, in order.
    pub findings: Vec<Finding>,
    /// Findings beyond those listed.
    pub left_out: u64,
    /// Intact ranges, first and last sequence number. When findings were left out they end before the last one listed.
    pub good: Vec<(u64, u64)>,
    /// Entries newer than the head file: they are chained, but nothing outside the database knows of them yet.
    pub newer: Option<u64>,
    /// Whether there was a head file.
    pub has_note: bool,
    /// Root of the tree over the rows as they were found.
    pub root: Hash,
}

impl Report {
    pub(super) fn new(
        rows: u64,
        (first, size): (u64, u64),
        mut findings: Vec<Finding>,
        left_out: u64,
        newer: Option<u64>,
        has_note: bool,
        root: Hash,
    ) -> Self {
        findings.sort_by_key(|finding| (finding.first, finding.last, finding.class));
        let mut report = Self { rows, first, size, findings, left_out, good: Vec::new(), newer, has_note, root };
        report.good = report.good_ranges();
        report
    }

    /// What it comes to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.findings.is_empty() {
            Verdict::Tampered
        } else if self.rows == 0 || !self.has_note {
            Verdict::Inconclusive
        } else {
            Verdict::Verified
        }
    }

    fn good_ranges(&self) -> Vec<(u64, u64)> {
        let mut good = Vec::new();
        let mut from = self.first;
        for finding in self.findings.iter().filter(|finding| finding.class != Class::Head) {
            if finding.first > from {
                good.push((from, finding.first - 1));
            }
            from = from.max(finding.last.saturating_add(1));
        }
        if from < self.size && self.left_out == 0 {
            good.push((from, self.size - 1));
        }
        good
    }
}

impl Class {
    /// The word in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Edit => "EDIT",
            Self::Missing => "MISSING",
            Self::Reorder => "REORDER",
            Self::Duplicate => "DUPLICATE",
            Self::Truncated => "TRUNCATED",
            Self::Extra => "EXTRA",
            Self::Head => "HEAD",
            Self::Fork => "FORK",
            Self::Prune => "PRUNE",
            Self::Unreadable => "UNREADABLE",
        }
    }
}

impl Verdict {
    /// The word in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Tampered => "tampered",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// `entry 5: EDIT: …` or `entries 6–9: MISSING: …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, first, last, detail } = self;
        if first == last {
            write!(f, "entry {first}: {}: {detail}", class.name())
        } else {
            write!(f, "entries {first}–{last}: {}: {detail}", class.name())
        }
    }
}
