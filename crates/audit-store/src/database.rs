//! How RocksDB is set up: three column families under one memory cap.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, ErrorKind,
    LogLevel, Options, WriteBufferManager,
};

use weir_audit::ChainState;

use crate::error::StoreError;

/// The head row and the open intents.
pub(crate) const STATE: &str = "default";
/// `seq` (8 bytes, big-endian) to the entry's bytes.
pub(crate) const ENTRY: &str = "entry";
/// See `index.rs`.
pub(crate) const INDEX: &str = "index";

/// Key of the head row in [`STATE`].
pub(crate) const HEAD_KEY: &[u8] = b"head";
/// Key of the cut row in [`STATE`]: where a pruned log begins.
pub(crate) const CUT_KEY: &[u8] = b"cut";
/// Key in [`STATE`] of the sequence number of the entry that vouches for the cut.
pub(crate) const CUT_BY_KEY: &[u8] = b"cut-by";
/// Keys of open intents in [`STATE`] start so; 16 bytes of id follow.
pub(crate) const INTENT_PREFIX: &[u8] = b"intent/";

/// Opens the database for writing; `make`: there may be none yet.
pub(crate) fn open(path: &Path, make: bool) -> Result<DB, StoreError> {
    let (mut options, families) = options();
    options.create_if_missing(make);
    // Where one was taken away, what is in the others does not fit any more, and that is said of it.
    options.create_missing_column_families(true);
    DB::open_cf_descriptors(&options, path, families).map_err(|source| {
        if source.kind() == ErrorKind::IOError && source.to_string().contains("lock") {
            return StoreError::Locked { path: path.to_owned() };
        }
        // Nobody else removes files of a database that is open for writing.
        if source.kind() == ErrorKind::IOError && source.to_string().contains("No such file") {
            return StoreError::Damaged { what: "a file of its database is missing" };
        }
        StoreError::Database { what: "open", source }
    })
}

/// Opens what is durable now, without writing anything; also while another process writes.
pub(crate) fn open_read_only(path: &Path) -> Result<DB, StoreError> {
    let (mut options, families) = options();
    // Every file is opened at once and kept: the writer may delete it while this reader still needs it.
    options.set_max_open_files(-1);
    DB::open_cf_descriptors_read_only(&options, path, families, false).map_err(StoreError::database("open"))
}

/// A column family.
///
/// # Errors
/// Never: all three are opened with the database.
pub(crate) fn family<'a>(db: &'a DB, name: &str) -> Result<&'a ColumnFamily, StoreError> {
    db.cf_handle(name).ok_or(StoreError::Damaged { what: "a column family is missing" })
}

fn options() -> (Options, Vec<ColumnFamilyDescriptor>) {
    let cache = Cache::new_lru_cache(MEMORY_MAX);
    let mut options = Options::default();
    // Write buffers are charged to the cache: one cap for both.
    let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(WRITE_BUFFERS_MAX, false, cache.clone());
    options.set_write_buffer_manager(&buffers);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_open_files(256);
    options.set_max_background_jobs(2);
    // A record torn by a power cut at the very end was never acknowledged and is dropped; damage before it is an error. That nothing
    // acknowledged is missing is checked against the head row and the head file.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(1 << 20);
    options.set_keep_log_file_num(2);
    options.set_stats_dump_period_sec(0);
    options.set_manifest_preallocation_size(MANIFEST_PREALLOCATED);
    let families = [(STATE, 4 << 10), (ENTRY, 32 << 10), (INDEX, 16 << 10)];
    let families = families.map(|(name, block)| ColumnFamilyDescriptor::new(name, family_options(&cache, block)));
    (options, families.into())
}

fn family_options(cache: &Cache, block_size: usize) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(block_size);
    table.set_cache_index_and_filter_blocks(true);
    table.set_format_version(5);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(WRITE_BUFFER);
    options.set_max_write_buffer_number(3);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options
}

/// Bytes of block cache and write buffers together.
const MEMORY_MAX: usize = 32 << 20;

/// Bytes of all write buffers; the rest of the cap is for blocks.
const WRITE_BUFFERS_MAX: usize = 16 << 20;

/// Bytes of one write buffer.
const WRITE_BUFFER: usize = 4 << 20;

/// Bytes that a manifest takes ahead; RocksDB's own 4 MiB are a quarter of a small disk.
const MANIFEST_PREALLOCATED: usize = 64 << 10;

/// Bytes of all write-ahead logs: what every start and every reader reads again at most. Measured: 64 MiB took 200 to 300 ms to open.
const WAL_BYTES_MAX: u64 = 16 << 20;

/// The head row; `None` in a database without entries.
pub(crate) fn read_state(db: &DB) -> Result<Option<ChainState>, StoreError> {
    let row = db.get_pinned_cf(family(db, STATE)?, HEAD_KEY).map_err(StoreError::database("read"))?;
    let Some(row) = row else { return Ok(None) };
    ChainState::decode(&row).map(Some).map_err(|_| StoreError::Damaged { what: "the head row does not decode" })
}
