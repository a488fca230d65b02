//! What a verifier says.

use std::borrow::Cow;
use std::fmt;

use super::doubt::Doubt;
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
    /// The rows fit each other, and not what a checkpoint or the head file says of them.
    Fork,
    /// Checkpoints that were collected elsewhere know of entries that nothing here knows of.
    Rollback,
    /// A checkpoint is not by the key that it names, or by one that was not in use then, or is none.
    BadSignature,
    /// No known key signed a checkpoint.
    UnknownKey,
    /// It is another log than the one that was asked for, or that trusted keys and collected checkpoints are of.
    OtherLog,
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
    /// Every entry is what and where it was, and the log is as long as its checkpoints say at least.
    Verified,
    /// Something was altered, or is damaged.
    Tampered,
    /// Nothing was found, but nothing can be promised either: there is a [`Doubt`].
    Inconclusive,
}

/// How much of a log checkpoints cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Entries covered, from the beginning.
    pub size: u64,
    /// Entries after those.
    pub newer: u64,
    /// When the first of those after was recorded: wall clock, nanoseconds since 1970.
    pub since: Option<u64>,
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
    /// Entries newer than the newest checkpoint that is kept with the log: they are chained, but nothing outside the database knows of
    /// them yet.
    pub newer: Option<u64>,
    /// What the checkpoints that are kept with the log cover, or the head file of an older version.
    pub kept: Option<Coverage>,
    /// What collected checkpoints cover.
    pub anchored: Option<Coverage>,
    /// Collected checkpoints of this log and of others; `None` = none were asked for.
    pub anchors: Option<(u64, u64)>,
    /// What keeps it from being proven; none when there are findings.
    pub doubts: Vec<Doubt>,
    /// Whether what covers them is signed.
    pub signed: bool,
    /// Root of the tree over the rows as they were found.
    pub root: Hash,
}

impl Report {
    pub(super) fn new(mut report: Self) -> Self {
        report.findings.sort_by_key(|finding| (finding.first, finding.last, finding.class));
        report.good = report.good_ranges();
        // Where something is wrong, what is missing to prove the contrary is no news.
        if !report.findings.is_empty() {
            report.doubts.clear();
        }
        report
    }

    /// What it comes to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.findings.is_empty() {
            Verdict::Tampered
        } else if self.doubts.is_empty() {
            Verdict::Verified
        } else {
            Verdict::Inconclusive
        }
    }

    fn good_ranges(&self) -> Vec<(u64, u64)> {
        let mut good = Vec::new();
        let mut from = self.first;
        for finding in self.findings.iter().filter(|finding| finding.class.is_of_entries()) {
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
    /// Whether it says which entries are not what they were, rather than that something beside them is wrong.
    #[must_use]
    pub fn is_of_entries(self) -> bool {
        match self {
            Self::Head | Self::BadSignature | Self::UnknownKey | Self::OtherLog => false,
            Self::Edit
            | Self::Missing
            | Self::Reorder
            | Self::Duplicate
            | Self::Truncated
            | Self::Extra
            | Self::Fork
            | Self::Rollback
            | Self::Prune
            | Self::Unreadable => true,
        }
    }

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
            Self::Rollback => "ROLLBACK",
            Self::BadSignature => "BAD_SIGNATURE",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::OtherLog => "OTHER_LOG",
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

/// Entries that no checkpoint need cover, twice what weir writes between two: a longer tail says that checkpoints are gone.
pub const UNCOVERED_ENTRIES_MAX: u64 = 20_000;
