//! Reads a log without writing anything, while the gateway runs or not.

use std::path::Path;
use std::thread;
use std::time::Duration;

use rocksdb::{DB, DBRawIterator};
use weir_audit::checkpoint::TrustedKeys;
use weir_audit::verify::{Doubt, Evidence, Expected, Report, Verdict, Verifier};
use weir_audit::{ChainId, ChainState, HeadNote, SignedCheckpoint};

use crate::checkpoints;
use crate::cut::read_cut;
use crate::database::{self, ENTRY, family, read_state};
use crate::error::StoreError;
use crate::files::Layout;
use crate::keys;

/// A log as it was when it was opened.
#[derive(Debug)]
pub struct Reader {
    pub(crate) db: DB,
    chain: Option<ChainId>,
    state: Result<Option<ChainState>, String>,
    note: Result<Option<HeadNote>, String>,
    cut: Result<Option<ChainState>, String>,
    checkpoint: Result<Option<SignedCheckpoint>, String>,
    keys: Result<Option<TrustedKeys>, String>,
}

/// What a log is held against beside what is kept with it.
#[derive(Clone, Debug, Default)]
pub struct Against {
    /// The keys that may have signed its checkpoints; without, those that are listed beside it, which proves less: whoever can write
    /// there can list others.
    pub trust: Option<TrustedKeys>,
    /// Checkpoints that were collected elsewhere; `None` = none were asked for.
    pub anchors: Option<Vec<SignedCheckpoint>>,
    /// How many more were collected of other logs.
    pub others: u64,
    /// The log that it should be; without, any that there are trusted keys of.
    pub chain: Option<ChainId>,
    /// Up to how many entries an earlier verification compared collected checkpoints.
    pub proven: u64,
    /// What else keeps the log from being proven.
    pub doubts: Vec<Doubt>,
}

/// The entries of a log, in order; see [`Reader::entries`].
pub struct Entries<'a> {
    rows: DBRawIterator<'a>,
    done: bool,
}

impl Reader {
    /// Opens what is durable now. A file that vanishes meanwhile, since the gateway compacts its log, is no error: it tries again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no log; otherwise what the file system or database says.
    pub fn open_read_only(data_dir: &Path) -> Result<Self, StoreError> {
        let layout = Layout::new(data_dir);
        // `CURRENT` is there from the moment on at which a database is one.
        if !layout.database.join("CURRENT").exists() {
            return Err(StoreError::NotFound { path: layout.data_dir });
        }
        let mut attempt = 0;
        loop {
            // The files first: the rows read after them are at least as new.
            let note = layout.head.read();
            let checkpoint = layout.checkpoint.read();
            match database::open_read_only(&layout.database) {
                Ok(db) => return Self::new(db, &layout, note, checkpoint),
                Err(error) if attempt < OPEN_RETRIES_MAX && vanished(&error) => attempt += 1,
                Err(error) => return Err(error),
            }
            thread::sleep(OPEN_RETRY_EVERY);
        }
    }

    fn new(
        db: DB,
        layout: &Layout,
        note: Result<Option<HeadNote>, StoreError>,
        checkpoint: Result<Option<SignedCheckpoint>, StoreError>,
    ) -> Result<Self, StoreError> {
        let damage = |error: StoreError| if error.is_damage() { Ok(error.to_string()) } else { Err(error) };
        let state = match read_state(&db) {
            Ok(state) => Ok(state),
            Err(error) => Err(damage(error)?),
        };
        let note = match note {
            Ok(note) => Ok(note),
            Err(error) => Err(damage(error)?),
        };
        let cut = match read_cut(&db) {
            Ok(cut) => Ok(cut),
            Err(error) => Err(damage(error)?),
        };
        let checkpoint = match checkpoint {
            Ok(checkpoint) => Ok(checkpoint),
            Err(error) => Err(damage(error)?),
        };
        let keys = match keys::listed_keys(&layout.data_dir) {
            Ok(keys) => Ok(keys),
            Err(error) => Err(damage(error)?),
        };
        // Only to check entries against; who may not read the keys goes without.
        let chain = keys::read_chain(layout).ok().flatten();
        Ok(Self { db, chain, state, note, checkpoint, keys, cut })
    }

    /// The chain: of the key file, else of the head row, else of the head file.
    #[must_use]
    pub fn chain(&self) -> Option<ChainId> {
        let state = || self.state.as_ref().ok().and_then(Option::as_ref).map(|state| state.chain);
        let note = || self.note.as_ref().ok().and_then(Option::as_ref).map(|note| note.chain);
        let checkpoint = || self.checkpoint().map(|signed| signed.checkpoint().chain);
        self.chain.or_else(state).or_else(checkpoint).or_else(note)
    }

    /// The checkpoint beside the database; `None` when there is none or it is damaged. Its signature is not looked at.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.checkpoint.as_ref().ok().and_then(Option::as_ref)
    }

    /// How many entries the checkpoint beside the database covers, or the head file of an older version.
    #[must_use]
    pub fn vouched(&self) -> Option<u64> {
        let note = || self.note.as_ref().ok().and_then(Option::as_ref).map(|note| note.size);
        self.checkpoint().map(|signed| signed.checkpoint().size).or_else(note)
    }

    /// The keys that are listed beside the log.
    #[must_use]
    pub fn listed_keys(&self) -> Option<&TrustedKeys> {
        self.keys.as_ref().ok().and_then(Option::as_ref)
    }

    /// The head row; `None` when there is none or it is damaged.
    #[must_use]
    pub fn head(&self) -> Option<&ChainState> {
        self.state.as_ref().ok().and_then(Option::as_ref)
    }

    /// Where the log begins when entries were pruned; `None` when none were, or the row that says so is damaged.
    #[must_use]
    pub fn cut(&self) -> Option<&ChainState> {
        self.cut.as_ref().ok().and_then(Option::as_ref)
    }

    /// The first entry that is left: 0 while nothing was pruned.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.cut().map_or(0, |cut| cut.head.size())
    }

    /// The entries from a sequence number on, as they are stored.
    ///
    /// # Errors
    /// When the database lacks its column families.
    pub fn entries(&self, from_seq: u64) -> Result<Entries<'_>, StoreError> {
        let mut rows = self.db.raw_iterator_cf(family(&self.db, ENTRY)?);
        rows.seek(from_seq.to_be_bytes());
        Ok(Entries { rows, done: false })
    }

    /// The stored bytes of one entry.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn entry(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(family(&self.db, ENTRY)?, seq.to_be_bytes()).map_err(StoreError::database("read"))
    }

    /// Checks every entry of this snapshot against each other, the head row, and the checkpoints.
    ///
    /// # Errors
    /// When the log could not be read for a reason that says nothing about its content.
    pub fn verify(&self, against: &Against) -> Result<Report, StoreError> {
        let unknown = ChainId([0; 16]);
        let expected = Expected {
            chain: self.chain().unwrap_or(unknown),
            head: self.head().cloned(),
            note: self.note.as_ref().ok().and_then(Clone::clone),
            cut: self.cut().cloned(),
        };
        let evidence = self.evidence(expected.chain, against)?;
        let mut verifier = Verifier::with_evidence(expected, evidence);
        for row in self.entries(0)? {
            match row {
                Ok((Some(seq), bytes)) => verifier.row(seq, &bytes),
                Ok((None, _)) => verifier.unreadable("a row has no sequence number"),
                Err(error) if error.is_damage() => verifier.unreadable("the database says that its bytes are damaged"),
                Err(error) => return Err(error),
            }
        }
        if let Err(damage) = &self.note {
            verifier.note_damaged(damage);
        }
        Ok(verifier.finish(|seq| self.entry(seq).ok().flatten()))
    }

    /// The checkpoints: of the file, of the database, and those that were collected.
    fn evidence(&self, chain: ChainId, against: &Against) -> Result<Evidence, StoreError> {
        let keys = against.trust.as_ref().or(self.listed_keys());
        let mut evidence = Evidence::new(chain, keys, against.trust.is_some());
        // First of all: what is another log's need not be looked at closely. Of a log without a name there is nothing to say.
        if let Some(asked) = against.chain.filter(|_| self.chain().is_some()) {
            evidence.asked(asked);
        }
        match &self.checkpoint {
            Ok(Some(checkpoint)) => evidence.kept(checkpoint),
            Ok(None) => {}
            Err(damage) => evidence.damaged(damage.clone()),
        }
        if let Err(damage) = &self.keys {
            evidence.damaged(damage.clone());
        }
        for row in checkpoints::all(&self.db)? {
            match row {
                Ok(kept) => evidence.kept(kept.signed()),
                Err(size) => evidence.damaged(format!("the row of the checkpoint of {size} entries is none")),
            }
        }
        if let Some(anchors) = &against.anchors {
            evidence.expect_anchors();
            anchors.iter().for_each(|anchor| evidence.anchor(anchor));
            evidence.foreign(against.others);
        }
        evidence.proven(against.proven);
        against.doubts.iter().for_each(|doubt| evidence.doubt(doubt.clone()));
        Ok(evidence)
    }
}

/// Checks the log of a data directory against what is kept with it.
///
/// # Errors
/// As [`Reader::open_read_only`] and [`Reader::verify`].
pub fn verify(data_dir: &Path) -> Result<Report, StoreError> {
    verify_against(data_dir, &Against::default())
}

/// Checks the log of a data directory. What is found is looked for again in a second snapshot: one that was taken while the gateway
/// deleted a file can lack entries that are there.
///
/// # Errors
/// As [`Reader::open_read_only`] and [`Reader::verify`].
pub fn verify_against(data_dir: &Path, against: &Against) -> Result<Report, StoreError> {
    let report = Reader::open_read_only(data_dir)?.verify(against)?;
    if report.verdict() != Verdict::Tampered {
        return Ok(report);
    }
    thread::sleep(OPEN_RETRY_EVERY);
    Reader::open_read_only(data_dir)?.verify(against)
}

impl Iterator for Entries<'_> {
    /// Sequence number (`None` = the row's key is none) and bytes.
    type Item = Result<(Option<u64>, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let Some((key, bytes)) = self.rows.item() else {
            self.done = true;
            return self.rows.status().err().map(|source| Err(StoreError::Database { what: "read", source }));
        };
        let row = (key.try_into().ok().map(u64::from_be_bytes), bytes.to_vec());
        self.rows.next();
        Some(Ok(row))
    }
}

impl std::fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").field("done", &self.done).finish_non_exhaustive()
    }
}

/// Whether an open failed because a file was deleted meanwhile.
fn vanished(error: &StoreError) -> bool {
    let StoreError::Database { source, .. } = error else { return false };
    let text = source.to_string();
    text.contains("No such file") || text.contains("Missing WAL")
}

/// How often an open is tried again.
const OPEN_RETRIES_MAX: u32 = 20;

/// How long it waits in between.
const OPEN_RETRY_EVERY: Duration = Duration::from_millis(20);
