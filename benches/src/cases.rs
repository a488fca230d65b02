//! The rows of the tables: what is measured, what it is measured against, and what it is to reach.

use std::hint::black_box;
use std::sync::Arc;

use weir_policy::{Inspector, RuleSet, Scratch, json};
use weir_protocol::records::{self, Codec, Edits, Inspect, Limits, Options, RecordView, Verdict};

use crate::codecs::Own;
use crate::{RECORDS, Selector, coded_batch_of, document, library_pass, library_path, rules, small_document};

/// Three values by fixed paths.
pub const FIXED: &str = r#"{path: "$.card.number", transform: mask}, {path: "$.customer.email", transform: mask}, {path: "$.customer.name", transform: mask}"#;

/// Records of 1 KB in a batch of about 16 KB, Kafka's default `batch.size`.
const RECORDS_OF_16_KB: usize = 16;

/// Records in a batch of 100-byte records.
const SMALL_RECORDS: usize = 10_000;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Names it in files and on command lines.
    pub id: &'static str,
    /// Names it in tables.
    pub name: &'static str,
    /// The fields of the rule; none: no rule on the topic.
    fields: Option<&'static str>,
    /// Compression of the batch.
    pub codec: Codec,
    shape: Shape,
    has_digest: bool,
    /// The same work done otherwise.
    pub baseline: Baseline,
    /// What it is to reach.
    pub goal: Goal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One batch of 1 KB records.
    Large,
    /// The same records in batches of 16 KB.
    Batches,
    /// One batch of 100-byte records.
    Small,
}

/// What a row is measured against.
#[derive(Clone, Copy, Debug)]
pub enum Baseline {
    /// `kafka-protocol`'s record module with `serde_json`.
    Values(Selector),
    /// `kafka-protocol`'s record module, decoding and encoding.
    Pass,
    /// The codec's own decompression and fast compression.
    Codec,
}

impl Baseline {
    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Values(_) => "kafka-protocol + serde_json",
            Self::Pass => "kafka-protocol",
            Self::Codec => "the codec alone",
        }
    }
}

/// What a row is to reach.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// So fast.
    Speed {
        /// Gigabytes of batch a second.
        gb_per_s: f64,
        /// How many times as fast as the baseline.
        times: f64,
    },
    /// So many records.
    Records {
        /// Millions of records a second.
        m_per_s: f64,
    },
    /// So little on top of the baseline.
    Extra {
        /// Milliseconds for each megabyte of plain records.
        ms_per_mb: f64,
    },
    /// Shown, no more.
    None,
}

const fn case(id: &'static str, name: &'static str, fields: &'static str, baseline: Baseline, goal: Goal) -> Case {
    let fields = Some(fields);
    Case { id, name, fields, codec: Codec::None, shape: Shape::Large, has_digest: false, baseline, goal }
}

const fn coded(id: &'static str, name: &'static str, codec: Codec, shape: Shape) -> Case {
    let goal = Goal::Extra { ms_per_mb: 0.8 };
    Case { codec, shape, ..case(id, name, FIXED, Baseline::Codec, goal) }
}

/// All rows, in the order of the table.
pub const CASES: &[Case] = &[
    case(
        "fixed",
        "three fixed paths, masked",
        FIXED,
        Baseline::Values(Selector::Fixed),
        Goal::Speed { gb_per_s: 1.0, times: 8.0 },
    ),
    Case {
        has_digest: true,
        ..case("digest", "the same, with the digest", FIXED, Baseline::Values(Selector::Fixed), Goal::None)
    },
    case(
        "anywhere",
        "one `..name`, masked",
        r#"{path: "$..email", transform: mask}"#,
        Baseline::Values(Selector::Anywhere),
        Goal::Speed { gb_per_s: 0.7, times: 0.0 },
    ),
    case(
        "nothing",
        "selectors that match nothing",
        r#"{path: "$.absent.field", transform: mask}"#,
        Baseline::Values(Selector::Nothing),
        Goal::Speed { gb_per_s: 1.5, times: 0.0 },
    ),
    Case {
        fields: None,
        ..case("unruled", "no rule on the topic", "", Baseline::Pass, Goal::Speed { gb_per_s: 10.0, times: 0.0 })
    },
    Case {
        shape: Shape::Small,
        ..case(
            "small",
            "100 B records, one field masked",
            r#"{path: "$.email", transform: mask}"#,
            Baseline::Values(Selector::Small),
            Goal::Records { m_per_s: 3.0 },
        )
    },
    coded("gzip", "three fixed paths, gzip", Codec::Gzip, Shape::Large),
    coded("snappy", "three fixed paths, snappy", Codec::Snappy, Shape::Large),
    coded("lz4", "three fixed paths, lz4", Codec::Lz4, Shape::Large),
    coded("zstd", "three fixed paths, zstd", Codec::Zstd, Shape::Large),
    coded("gzip-16k", "the same in batches of 16 KB, gzip", Codec::Gzip, Shape::Batches),
    coded("snappy-16k", "the same in batches of 16 KB, snappy", Codec::Snappy, Shape::Batches),
    coded("lz4-16k", "the same in batches of 16 KB, lz4", Codec::Lz4, Shape::Batches),
    coded("zstd-16k", "the same in batches of 16 KB, zstd", Codec::Zstd, Shape::Batches),
];

/// A row with its input made and its memory warm after the first call.
pub struct Work {
    case: Case,
    originals: Vec<Vec<u8>>,
    frames: Vec<Vec<u8>>,
    rules: Option<Arc<RuleSet>>,
    codecs: records::Scratch,
    scratch: Scratch,
    own: Own,
    records: usize,
    plain_bytes: usize,
    is_wasteful: bool,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("case", &self.case.id).field("batches", &self.frames.len()).finish_non_exhaustive()
    }
}

impl Work {
    /// Makes the input of a row.
    pub fn new(case: &Case) -> Self {
        let (records, per_batch, make): (_, _, fn(usize) -> String) = match case.shape {
            Shape::Large => (RECORDS, RECORDS, document),
            Shape::Batches => (RECORDS / RECORDS_OF_16_KB * RECORDS_OF_16_KB, RECORDS_OF_16_KB, document),
            Shape::Small => (SMALL_RECORDS, SMALL_RECORDS, small_document),
        };
        let made = |codec| -> Vec<Vec<u8>> {
            (0..records / per_batch)
                .map(|batch| coded_batch_of((batch * per_batch..(batch + 1) * per_batch).map(make), codec))
                .collect()
        };
        let plain_bytes = made(Codec::None).iter().map(Vec::len).sum();
        let originals = made(case.codec);
        Self {
            case: *case,
            frames: originals.clone(),
            originals,
            rules: case.fields.map(rules),
            codecs: records::Scratch::default(),
            scratch: Scratch::default(),
            own: Own::new(plain_bytes),
            records,
            plain_bytes,
            is_wasteful: false,
        }
    }

    /// The negative control: each value is copied, and checked once more.
    #[must_use]
    pub fn wasteful(self) -> Self {
        Self { is_wasteful: true, ..self }
    }

    /// Batches in one call.
    pub fn batches(&self) -> usize {
        self.frames.len()
    }

    /// Records in one call.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Bytes of all batches of one call, uncompressed.
    pub fn plain_bytes(&self) -> usize {
        self.plain_bytes
    }

    /// Puts back what the last call edited.
    pub fn reset(&mut self) {
        for (frame, original) in self.frames.iter_mut().zip(&self.originals) {
            frame.copy_from_slice(original);
        }
    }

    /// The row's work, by weir. Call [`reset`](Self::reset) before.
    ///
    /// # Panics
    /// When a batch is refused.
    pub fn weir(&mut self) {
        let limits = Limits::default();
        let options = Options { limits: &limits, digest_key: self.case.has_digest.then_some(&[7; 32]) };
        for frame in &mut self.frames {
            let Some(rules) = &self.rules else {
                black_box(records::check_produce(frame, PRODUCE_VERSION).unwrap());
                continue;
            };
            let mut inspector = rules.inspector(&mut self.scratch);
            let codecs = &mut self.codecs;
            let rewritten = if self.is_wasteful {
                let mut inspector = Wasteful(&mut inspector);
                records::rewrite_produce(frame, PRODUCE_VERSION, &options, &mut inspector, codecs)
            } else {
                records::rewrite_produce(frame, PRODUCE_VERSION, &options, &mut inspector, codecs)
            };
            black_box((rewritten.unwrap(), inspector.finish()));
        }
    }

    /// The same work, by what the row is measured against.
    pub fn baseline(&mut self) {
        for batch in &self.originals {
            match self.case.baseline {
                Baseline::Values(selector) => drop(black_box(library_path(batch, selector))),
                Baseline::Pass => drop(black_box(library_pass(batch))),
                Baseline::Codec => {
                    black_box(self.own.again(self.case.codec, batch.get(BATCH_HEADER_BYTES..).unwrap_or_default()));
                }
            }
        }
    }
}

struct Wasteful<'a, 'b>(&'b mut Inspector<'a>);

impl Inspect for Wasteful<'_, '_> {
    fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict {
        let copy = black_box(record.value.unwrap_or_default().to_vec());
        assert!(json::check(&copy, 64).is_ok());
        self.0.record(record, edits)
    }
}

/// The Produce version under which batches are checked.
const PRODUCE_VERSION: i16 = 13;

const BATCH_HEADER_BYTES: usize = 61;
