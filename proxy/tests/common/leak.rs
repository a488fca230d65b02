//! The no-leak oracle: sows canaries through every client and codec, gathers every byte that the broker stored, that consumers
//! received and that weir wrote of itself, and searches all of it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use weir_testkit::{Console, jars};

use crate::canaries::{CODECS, Canary, FIELDS, Sower};
use crate::librdkafka::Record;
use crate::segments;
use crate::stage::{METRICS, Stage, Who};

pub(crate) const WRITER: Who = Who { subject: "writer", group: "writers" };
pub(crate) const READER: Who = Who { subject: "reader", group: "readers" };
/// May see in clear what others may not.
pub(crate) const ENTITLED: Who = Who { subject: "entitled", group: "fraud-desk" };

/// Masked on its way in.
pub(crate) const STORED: &str = "leak.stored";
/// Stored in clear, and masked on its way out to all but the entitled.
pub(crate) const SHOWN: &str = "leak.shown";
/// Opened on its way in; what cannot be read is refused.
pub(crate) const STRICT_IN: &str = "strict.in";
/// Opened on its way out; what cannot be read is withheld.
pub(crate) const STRICT_OUT: &str = "strict.out";
/// As [`STRICT_OUT`], with `on_failure: redact`.
pub(crate) const VEILED: &str = "strict.veiled";

pub(crate) const TOPICS: [(&str, i32); 5] = [(STORED, 1), (SHOWN, 1), (STRICT_IN, 1), (STRICT_OUT, 1), (VEILED, 1)];

pub(crate) fn policy() -> String {
    format!(
        r#"version: 1
access:
  - name: writers
    principals: {{ groups: [writers] }}
    allow:
      - produce: ["leak.*", "strict.*"]
  - name: readers
    principals: {{ groups: [readers, fraud-desk] }}
    allow:
      - consume: ["leak.*", "strict.*"]
        consumer_groups: ["*"]
rules:
  - name: stored-masked
    match: {{ topics: [{STORED}], direction: produce }}
    fields: {FIELDS}
  - name: shown-to-few
    match: {{ topics: [{SHOWN}], direction: consume }}
    unless: {{ principals: {{ groups: [fraud-desk] }} }}
    fields: {FIELDS}
  - name: strict-in
    match: {{ topics: [{STRICT_IN}], direction: produce }}
    fields: [ {{ path: "$.card.number", transform: mask }} ]
  - name: strict-out
    match: {{ topics: [{STRICT_OUT}], direction: consume }}
    fields: [ {{ path: "$.card.number", transform: mask }} ]
  - name: veiled
    match: {{ topics: [{VEILED}], direction: consume }}
    fields: [ {{ path: "$.card.number", transform: mask }} ]
    on_failure: redact
"#
    )
}

/// Bytes that were gathered somewhere.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    bytes: Vec<u8>,
    /// Whether an unmasked canary is to be seen here.
    shows: fn(&Canary) -> bool,
}

/// What one round of producing and consuming left behind.
pub(crate) struct Evidence {
    /// What went to [`STORED`] and [`SHOWN`].
    pub(crate) stored: Vec<Canary>,
    pub(crate) shown: Vec<Canary>,
    /// The broker's disk, and what it says of the two topics.
    pub(crate) disk: Vec<Source>,
    pub(crate) disk_of_stored: Vec<Source>,
    pub(crate) disk_of_shown: Vec<Source>,
    /// What consumers of both topics received.
    pub(crate) to_reader: Vec<Source>,
    pub(crate) to_entitled: Vec<Source>,
    /// What weir wrote: its outputs, its metrics, its audit log.
    pub(crate) weir: Vec<Source>,
}

/// Lines about each canary that is to be seen in a source and is not.
pub(crate) fn unseen(canaries: &[Canary], sources: &[Source]) -> Vec<String> {
    each(canaries, sources, |source, canary| (source.shows)(canary) && !source.holds(&canary.needle))
}

/// Lines about each canary that is in a source.
pub(crate) fn seen(canaries: &[Canary], sources: &[Source]) -> Vec<String> {
    each(canaries, sources, |source, canary| source.holds(&canary.needle))
}

fn each(canaries: &[Canary], sources: &[Source], is_wanted: impl Fn(&Source, &Canary) -> bool) -> Vec<String> {
    let pairs = sources.iter().flat_map(|source| canaries.iter().map(move |canary| (source, canary)));
    let wanted = pairs.filter(|(source, canary)| is_wanted(source, canary));
    wanted.map(|(source, canary)| format!("{}: {}", source.name, canary.name)).collect()
}

impl Source {
    fn new(name: &'static str, bytes: impl Into<Vec<u8>>, shows: fn(&Canary) -> bool) -> Self {
        Self { name, bytes: bytes.into(), shows }
    }

    pub(crate) fn holds(&self, text: &str) -> bool {
        memchr::memmem::find(&self.bytes, text.as_bytes()).is_some()
    }
}

/// Sows, consumes and gathers.
pub(crate) fn gather(stage: &Stage) -> Evidence {
    let stored = sow(stage, STORED);
    let shown = sow(stage, SHOWN);
    let to_reader = received(stage, READER);
    let to_entitled = received(stage, ENTITLED);
    Evidence {
        stored,
        shown,
        disk: disk(stage),
        disk_of_stored: disk_of(stage, STORED),
        disk_of_shown: disk_of(stage, SHOWN),
        to_reader,
        to_entitled,
        weir: weir(stage),
    }
}

/// Produces canaries with both clients in all codecs.
fn sow(stage: &Stage, topic: &str) -> Vec<Canary> {
    let (canaries, codecs) = (Mutex::new(Vec::new()), Mutex::new(CODECS.into_iter()));
    std::thread::scope(|scope| {
        // Two JVMs at a time.
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(codec) = { codecs.lock().unwrap().next() } {
                    let mut librdkafka = Sower::new("librdkafka", codec);
                    let sent = stage.door(WRITER).send(&[("compression.type", codec)], topic, &librdkafka.records());
                    assert!(sent.iter().all(|delivery| delivery.result.is_ok()), "{codec}: {sent:?}");
                    let mut java = Sower::new("java", codec);
                    produce_in_java(stage, codec, topic, &java.records());
                    canaries.lock().unwrap().extend(librdkafka.canaries.into_iter().chain(java.canaries));
                }
            });
        }
    });
    canaries.into_inner().unwrap()
}

fn produce_in_java(stage: &Stage, codec: &str, topic: &str, records: &[Record]) {
    let lines: Vec<String> = records.iter().map(line).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut console = stage.console(WRITER).argument("--compression-codec").argument(codec);
    for property in ["parse.headers=true", "parse.key=true"] {
        console = console.argument("--reader-property").argument(property);
    }
    let produced = console.produce(topic, &lines).unwrap().success("produce").unwrap();
    assert!(!produced.stderr.contains("Exception"), "{codec}: {}", produced.stderr);
}

/// A record as the console producer reads it.
fn line(record: &Record) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = record.headers.iter().map(|(name, value)| format!("{name}:{}", text(value)));
    let key = text(record.key.as_deref().unwrap_or_default());
    format!("{}\t{key}\t{}", headers.collect::<Vec<_>>().join(","), record.text())
}

/// Everything that both clients receive of both topics, as that caller.
fn received(stage: &Stage, who: Who) -> Vec<Source> {
    let (mut with_librdkafka, mut with_java) = (Vec::new(), Vec::new());
    for topic in [STORED, SHOWN] {
        let records = stage.door(who).read("leak-readers", topic, 1);
        records.iter().for_each(|record| with_librdkafka.extend(flat(record)));
        let console = stage.console(who).argument("--group").argument(&format!("{}-{topic}", who.subject));
        with_java.extend(consume_in_java(&console, topic, records.len()).into_bytes());
    }
    vec![
        Source::new("received by librdkafka", with_librdkafka, |_| true),
        Source::new("received by java", with_java, |_| true),
    ]
}

pub(crate) fn consume_in_java(console: &Console, topic: &str, count: usize) -> String {
    let mut console = console.clone();
    for property in ["print.headers=true", "print.key=true", "print.offset=true"] {
        console = console.argument("--formatter-property").argument(property);
    }
    console.consume(topic, count).unwrap().success("consume").unwrap().stdout
}

/// Key, headers and value, one after the other.
fn flat(record: &Record) -> Vec<u8> {
    let mut bytes = record.key.clone().unwrap_or_default();
    for (name, value) in &record.headers {
        bytes.extend(name.as_bytes().iter().chain(value));
    }
    bytes.extend(record.value.iter().flatten());
    bytes
}

/// The raw bytes of every file of the broker.
fn disk(stage: &Stage) -> Vec<Source> {
    let mut bytes = Vec::new();
    for path in files_below(&stage.kafka.log_dir()) {
        // The broker deletes and renames files while it runs.
        bytes.extend(fs::read(&path).unwrap_or_default());
    }
    let output = fs::read(stage.kafka.output_file()).unwrap();
    vec![
        Source::new("files in log.dirs", bytes, |canary| canary.codec == "none"),
        Source::new("the broker's own log", output, |_| false),
    ]
}

/// What the broker stored of one topic, through three decoders.
fn disk_of(stage: &Stage, topic: &str) -> Vec<Source> {
    let decoded: Vec<u8> = batches_of(stage, topic).into_iter().flat_map(|batch| batch.bytes).collect();
    let direct = stage.back_door().read("direct", topic, 1);
    let direct: Vec<u8> = direct.iter().flat_map(flat).collect();
    vec![
        // It prints the names of headers, not their values.
        Source::new("DumpLogSegments", dump(stage, topic), |canary| !canary.in_header),
        Source::new("decoded segments", decoded, |_| true),
        Source::new("read from the broker by librdkafka", direct, |_| true),
    ]
}

fn batches_of(stage: &Stage, topic: &str) -> Vec<segments::StoredBatch> {
    segments::batches(&stage.kafka.segment_bytes(topic, 0).unwrap())
}

/// Both clients' records arrived in the codec that they were sent in: masking keeps it.
pub(crate) fn check_codecs(stage: &Stage) {
    let batches = batches_of(stage, STORED);
    for codec in CODECS {
        for client in ["librdkafka", "java"] {
            let label = Sower::new(client, codec).label();
            let found: Vec<&str> = batches
                .iter()
                .filter(|batch| memchr::memmem::find(&batch.bytes, label.as_bytes()).is_some())
                .map(|batch| batch.codec)
                .collect();
            assert!(!found.is_empty() && found.iter().all(|found| *found == codec), "{label}: {found:?}");
        }
    }
}

/// The topic holds one batch of that many records in each of those codecs, in this order.
pub(crate) fn check_batches(stage: &Stage, topic: &str, codecs: &[&str], records: usize) {
    let batches = batches_of(stage, topic);
    assert_eq!(batches.iter().map(|batch| batch.codec).collect::<Vec<_>>(), codecs, "{topic}");
    assert!(batches.iter().all(|batch| usize::try_from(batch.records) == Ok(records)), "{topic}");
}

fn dump(stage: &Stage, topic: &str) -> Vec<u8> {
    let files: Vec<String> =
        stage.kafka.segments(topic, 0).unwrap().iter().map(|path| path.display().to_string()).collect();
    let mut java = Command::new("java");
    java.arg("-cp").arg(jars::tools().unwrap().join("*")).arg("org.apache.kafka.tools.DumpLogSegments");
    java.args(["--print-data-log", "--deep-iteration", "--files", &files.join(",")]);
    let output = java.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What weir wrote of itself. No canary is to be seen in any of it, masked or not.
fn weir(stage: &Stage) -> Vec<Source> {
    let query = |format| audit_query(stage, format);
    let data: Vec<u8> = files_below(&stage.dir.path().join("data"))
        .iter()
        .flat_map(|path| fs::read(path).unwrap_or_default())
        .collect();
    let never = |_: &Canary| false;
    let output = stage.weir().output().unwrap();
    vec![
        Source::new("weir's outputs", output, never),
        Source::new("weir's metrics", metrics(stage), never),
        Source::new("weir audit query", query("table") + &query("ndjson"), never),
        Source::new("weir's data files", data, never),
    ]
}

/// Neither a canary nor a token is in what weir wrote of itself, at its most talkative.
pub(crate) fn check_own_output(stage: &Stage, evidence: &Evidence) {
    let tokens = tokens(stage);
    let needles = || evidence.stored.iter().chain(&evidence.shown).map(|canary| &canary.needle).chain(&tokens);
    let found = |sources: &[Source]| -> Vec<String> {
        let held = |source: &Source| needles().filter(|needle| source.holds(needle)).count();
        let counts = sources.iter().map(|source| (source.name, held(source)));
        counts.filter(|(_, held)| *held > 0).map(|(name, held)| format!("{name}: {held}")).collect()
    };
    assert_eq!(found(&evidence.weir), [""; 0]);
    let traces = evidence.weir.iter().filter(|source| source.holds("request.ended")).map(|source| source.name);
    assert_eq!(traces.collect::<Vec<_>>(), ["weir's outputs"], "each request has left a line");
    // The control: the same search finds each of them where it was written down.
    let all: String = needles().map(|needle| format!("{needle} ")).collect();
    let planted = evidence.weir.iter().map(|source| {
        let (before, behind) = source.bytes.split_at(source.bytes.len() / 2);
        Source::new(source.name, [before, all.as_bytes(), behind].concat(), source.shows)
    });
    let expected = evidence.weir.iter().map(|source| format!("{}: {}", source.name, needles().count()));
    assert_eq!(found(&planted.collect::<Vec<_>>()), expected.collect::<Vec<_>>());
}

/// Of the tokens of Java's clients each part; the first is the same for every token of the issuer, those of librdkafka too.
fn tokens(stage: &Stage) -> Vec<String> {
    let files = files_below(&stage.dir.path().join("tokens"));
    let texts = files.iter().map(|path| fs::read_to_string(path).unwrap());
    let mut parts: Vec<String> =
        texts.flat_map(|text| text.split('.').map(str::to_owned).collect::<Vec<_>>()).collect();
    parts.sort();
    parts.dedup();
    assert!(parts.len() > 2 && parts.iter().all(|part| part.len() > 20), "{} parts of tokens", parts.len());
    parts
}

/// What `weir audit query` says of everything.
pub(crate) fn audit_query(stage: &Stage, format: &str) -> String {
    let asked = stage.weir().options().run(&["audit", "query", "--limit", "100000", "--output", format]).unwrap();
    asked.success("weir audit query").unwrap().stdout
}

pub(crate) fn metrics(stage: &Stage) -> String {
    let asked = stage.network.weir().run(|| {
        let mut stream = TcpStream::connect(METRICS).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    asked.unwrap()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}
