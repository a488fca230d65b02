//! Finds entries: by principal, topic, rule and time.

use std::cell::RefCell;

use rocksdb::DBRawIterator;
use weir_audit::{Entry, clip_text};

use crate::database::{INDEX, family};
use crate::error::StoreError;
use crate::index::{self, BLOCK_ENTRIES, Named, Prefix};
use crate::reader::Reader;

/// What to find. Several values of one field mean any of them; fields that are given must all hold.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Names of principals.
    pub principal: Vec<String>,
    /// Names of topics, whole.
    pub topic: Vec<String>,
    /// Names of rules.
    pub rule: Vec<String>,
    /// Not before this time: wall clock, nanoseconds since 1970.
    pub since: Option<u64>,
    /// Not after this time: wall clock, nanoseconds since 1970.
    pub until: Option<u64>,
    /// The newest so many.
    pub limit: Option<usize>,
    /// Ignore the index and read everything in the range.
    pub scan: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The entries, oldest first.
    pub rows: Vec<FoundRow>,
    /// The entries that the times select, whether they match or not; `None` = there are none.
    pub covered: Option<Covered>,
    /// The first entry that is left; what was before it was pruned.
    pub first: u64,
    /// Whether older ones were left out because of the limit.
    pub more: bool,
    /// Rows that were read and are no entries.
    pub undecodable: u64,
}

/// One entry with the bytes that are its evidence.
#[derive(Clone, Debug)]
pub struct FoundRow {
    /// The entry.
    pub entry: Entry,
    /// Its bytes as stored.
    pub bytes: Vec<u8>,
}

/// A range of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// First sequence number.
    pub first: u64,
    /// Last sequence number.
    pub last: u64,
    /// Time of the first: wall clock, nanoseconds since 1970.
    pub first_at: u64,
    /// Time of the last: wall clock, nanoseconds since 1970.
    pub last_at: u64,
}

impl Reader {
    /// Finds entries. Times never go back along the log, so a range of times is a range of entries and needs no index.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn query(&self, query: &Query) -> Result<Found, StoreError> {
        let query = &query.clipped();
        let mut found = Found { first: self.first(), ..Found::default() };
        let Some(covered) = self.covered(query)? else { return Ok(found) };
        found.covered = Some(covered);
        let limit = query.limit.unwrap_or(usize::MAX);
        let cursor = Cursor::new(self, query)?;
        // Newest first, block by block, until there are enough.
        let mut block = cursor.floor(covered.last / BLOCK_ENTRIES)?;
        while let Some(number) = block {
            let first = (number * BLOCK_ENTRIES).max(covered.first);
            let last = (number * BLOCK_ENTRIES + (BLOCK_ENTRIES - 1)).min(covered.last);
            let mut rows = self.matching(query, first, last, &mut found.undecodable)?;
            while let Some(row) = rows.pop() {
                if found.rows.len() == limit {
                    found.more = true;
                    break;
                }
                found.rows.push(row);
            }
            block = match number.checked_sub(1) {
                Some(below) if !found.more && below >= covered.first / BLOCK_ENTRIES => cursor.floor(below)?,
                Some(_) | None => None,
            };
        }
        found.rows.reverse();
        Ok(found)
    }

    /// The matching entries of a range, oldest first.
    fn matching(
        &self,
        query: &Query,
        first: u64,
        last: u64,
        undecodable: &mut u64,
    ) -> Result<Vec<FoundRow>, StoreError> {
        let mut rows = Vec::new();
        for row in self.entries(first)? {
            let (seq, bytes) = row?;
            if seq.is_none_or(|seq| seq > last) {
                break;
            }
            match Entry::decode(&bytes) {
                Ok(entry) if query.matches(&entry) => rows.push(FoundRow { entry, bytes }),
                Ok(_) => {}
                Err(_) => *undecodable += 1,
            }
        }
        Ok(rows)
    }

    /// The entries between two times.
    fn covered(&self, query: &Query) -> Result<Option<Covered>, StoreError> {
        let end = match self.last_seq()? {
            Some(last) => last.saturating_add(1),
            None => return Ok(None),
        };
        let first = match query.since {
            Some(since) => self.partition_point(end, |at| at < since)?,
            None => self.first(),
        };
        let behind = match query.until {
            Some(until) => self.partition_point(end, |at| at <= until)?,
            None => end,
        };
        let Some(last) = behind.checked_sub(1).filter(|last| *last >= first) else { return Ok(None) };
        let first_at = self.at_or_after(first)?.unwrap_or_default();
        let last_at = self.at_or_after(last)?.unwrap_or_default();
        Ok(Some(Covered { first, last, first_at, last_at }))
    }

    /// The first sequence number below `end` whose time is not `before`.
    fn partition_point(&self, end: u64, before: impl Fn(u64) -> bool) -> Result<u64, StoreError> {
        let (mut low, mut high) = (self.first(), end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at_or_after(middle)?.is_some_and(&before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Time of the first entry from a sequence number on that decodes.
    fn at_or_after(&self, seq: u64) -> Result<Option<u64>, StoreError> {
        for row in self.entries(seq)? {
            if let Ok(entry) = Entry::decode(&row?.1) {
                return Ok(Some(entry.at));
            }
        }
        Ok(None)
    }

    fn last_seq(&self) -> Result<Option<u64>, StoreError> {
        let mut rows = self.db.raw_iterator_cf(family(&self.db, crate::database::ENTRY)?);
        rows.seek_to_last();
        let last = rows.key().and_then(|key| key.try_into().ok()).map(u64::from_be_bytes);
        rows.status().map_err(StoreError::database("read"))?;
        Ok(last)
    }
}

impl Query {
    /// Names as entries keep them.
    fn clipped(&self) -> Self {
        let clip = |names: &[String]| names.iter().map(|name| clip_text(name).into_owned()).collect();
        Self { principal: clip(&self.principal), topic: clip(&self.topic), rule: clip(&self.rule), ..self.clone() }
    }

    fn matches(&self, entry: &Entry) -> bool {
        let body = &entry.body;
        let any = |wanted: &[String], name: &str| wanted.iter().any(|wanted| wanted == name);
        (self.principal.is_empty() || body.principal.as_ref().is_some_and(|it| any(&self.principal, &it.id)))
            && (self.topic.is_empty() || body.parts.iter().any(|it| any(&self.topic, &it.topic)))
            && (self.rule.is_empty() || body.rule_hits.iter().any(|it| any(&self.rule, &it.rule)))
    }
}

/// Walks the blocks that may hold matches, from the newest to the oldest.
struct Cursor<'a> {
    rows: RefCell<DBRawIterator<'a>>,
    /// One list of alternatives per field that is given.
    fields: Vec<Vec<Prefix>>,
}

impl<'a> Cursor<'a> {
    fn new(reader: &'a Reader, query: &Query) -> Result<Self, StoreError> {
        let fields = [(Named::Principal, &query.principal), (Named::Topic, &query.topic), (Named::Rule, &query.rule)];
        let given = fields.into_iter().filter(|(_, names)| !names.is_empty() && !query.scan);
        let fields = given.map(|(kind, names)| names.iter().map(|name| index::prefix(kind, name)).collect());
        let rows = RefCell::new(reader.db.raw_iterator_cf(family(&reader.db, INDEX)?));
        Ok(Self { rows, fields: fields.collect() })
    }

    /// The newest block, at most this one, in which every field has one of its names.
    fn floor(&self, block: u64) -> Result<Option<u64>, StoreError> {
        let mut candidate = block;
        loop {
            let before = candidate;
            for field in &self.fields {
                let mut newest = None;
                for prefix in field {
                    newest = newest.max(self.floor_of(prefix, candidate)?);
                }
                let Some(newest) = newest else { return Ok(None) };
                candidate = newest;
            }
            if candidate == before {
                return Ok(Some(candidate));
            }
        }
    }

    /// The newest block, at most this one, that has this name.
    fn floor_of(&self, prefix: &Prefix, block: u64) -> Result<Option<u64>, StoreError> {
        let mut rows = self.rows.borrow_mut();
        rows.seek_for_prev(index::key(prefix, block));
        let found = rows.key().and_then(|key| key.strip_prefix(prefix.as_slice())?.try_into().ok());
        rows.status().map_err(StoreError::database("read"))?;
        Ok(found.map(u64::from_be_bytes))
    }
}
