//! Three accounts of what happened must agree: the clients', weir's log and the broker's disk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use crate::evidence::{Broker, Log, Span};
use crate::load::{Acknowledged, Outside};

/// What does not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A client saw it acknowledged, and no entry says that it was stored.
    AcknowledgedWithoutEntry(Acknowledged),
    /// A client saw it acknowledged, and it is not where it was said to be, or nowhere.
    AcknowledgedAndLost(Acknowledged),
    /// It is on the broker, and neither an entry nor a recovered intent says so.
    StoredWithoutEntry { partition: i32, offset: i64 },
    /// A client was given it, and no entry says so.
    ConsumedWithoutEntry { partition: i32, offset: i64 },
    /// It is on the broker once more, or behind a later one.
    NotInOrder { partition: i32, offset: i64, number: u64 },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AcknowledgedWithoutEntry(record) => write!(f, "acknowledged without an entry: {record}"),
            Self::AcknowledgedAndLost(record) => write!(f, "acknowledged and lost: {record}"),
            Self::StoredWithoutEntry { partition, offset } => {
                write!(f, "stored without an entry: {partition}-{offset}")
            }
            Self::ConsumedWithoutEntry { partition, offset } => {
                write!(f, "consumed without an entry: {partition}-{offset}")
            }
            Self::NotInOrder { partition, offset, number } => {
                write!(f, "record {number} is twice or too late at {partition}-{offset}")
            }
        }
    }
}

/// Compares the accounts.
pub(crate) fn compare(outside: &Outside, log: &Log, broker: &Broker) -> Vec<Finding> {
    let (stored, fetched) = (Cover::new(&log.stored), Cover::new(&log.fetched));
    let in_doubt = log.in_doubt.iter().collect::<HashSet<_>>();
    let at = broker.records.iter().map(|record| ((record.partition, record.number), record.offset));
    let at = at.collect::<HashMap<_, _>>();
    let mut findings = Vec::new();
    for record in &outside.acknowledged {
        match at.get(&(record.partition, record.number)) {
            Some(offset) if *offset == record.offset || record.offset < 0 => {
                if !stored.has(record.partition, *offset) {
                    findings.push(Finding::AcknowledgedWithoutEntry(*record));
                }
            }
            Some(_) | None => findings.push(Finding::AcknowledgedAndLost(*record)),
        }
    }
    let mut next = HashMap::new();
    for record in &broker.records {
        let (partition, offset, number) = (record.partition, record.offset, record.number);
        if !stored.has(partition, offset) && !in_doubt.contains(&broker.batches[record.batch]) {
            findings.push(Finding::StoredWithoutEntry { partition, offset });
        }
        // The producer numbers without gaps, so each record is the one after the one before it.
        if next.insert(partition, number + 1).unwrap_or(0) != number {
            findings.push(Finding::NotInOrder { partition, offset, number });
        }
    }
    let consumed = outside.consumed.iter().filter(|(partition, offset)| !fetched.has(*partition, *offset));
    findings.extend(consumed.map(|&(partition, offset)| Finding::ConsumedWithoutEntry { partition, offset }));
    findings
}

/// Spans, merged: per partition, first offset to last.
struct Cover(HashMap<i32, BTreeMap<i64, i64>>);

impl Cover {
    fn new(spans: &[Span]) -> Self {
        let mut sorted = spans.to_vec();
        sorted.sort_by_key(|span| span.first);
        let mut merged: HashMap<i32, BTreeMap<i64, i64>> = HashMap::new();
        for span in sorted {
            let partition = merged.entry(span.partition).or_default();
            match partition.last_entry() {
                Some(mut before) if span.first <= *before.get() + 1 => {
                    *before.get_mut() = span.last.max(*before.get());
                }
                Some(_) | None => {
                    partition.insert(span.first, span.last);
                }
            }
        }
        Self(merged)
    }

    fn has(&self, partition: i32, offset: i64) -> bool {
        let below = self.0.get(&partition).and_then(|spans| spans.range(..=offset).next_back());
        below.is_some_and(|(_, last)| offset <= *last)
    }
}
