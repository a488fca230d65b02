//! Canaries: secrets that occur once in the world, in every place of a record that a rule of [`FIELDS`] covers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::librdkafka::Record;

/// What Kafka compresses with.
pub(crate) const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// The fields of the rules that protect the places below, as a policy writes them.
pub(crate) const FIELDS: &str = r#"
      - { path: "$.card.number", transform: { mask: { keep_last: 4 } } }
      - { path: "$.pin", transform: mask }
      - { path: "$..secret", transform: redact }
      - { path: "$.tags[1]", transform: mask }
      - { path: "$.dup", transform: redact }
      - { path: "$.escaped", transform: { hash: { key: links-2026 } } }
      - { path: "$.coded", transform: mask }
      - { path: "$.profile", transform: redact }
      - { path: "$.envelope|json|$.token", transform: mask }
      - { header: "x-secret", transform: redact }
      - { header: "x-context", path: "$.user", transform: mask }
      - { key: true, transform: { hash: { key: links-2026 } } }
"#;

/// One secret, and where it was put.
pub(crate) struct Canary {
    /// For people: client, codec, place.
    pub(crate) name: String,
    pub(crate) codec: &'static str,
    /// Whether it is a header's value and no part of key or value.
    pub(crate) in_header: bool,
    /// What stays readable of it wherever it is not masked.
    pub(crate) needle: String,
}

/// Sows canaries for one client and codec.
pub(crate) struct Sower {
    client: &'static str,
    codec: &'static str,
    pub(crate) canaries: Vec<Canary>,
}

impl Sower {
    pub(crate) fn new(client: &'static str, codec: &'static str) -> Self {
        Self { client, codec, canaries: Vec::new() }
    }

    /// Something in clear that only records of this client and codec have.
    pub(crate) fn label(&self) -> String {
        format!("from-{}-with-{}", self.client, self.codec)
    }

    /// Two records, with the same text for every client: one small with a canary in each place, one that is too large to be
    /// inspected on the connection's own thread.
    pub(crate) fn records(&mut self) -> [Record; 2] {
        let mut at = |place: &str| self.sow(place, false);
        let (card, nested, listed) = (at("fixed path"), at("..name"), at("array element"));
        let (first, second) = (at("duplicate key, first"), at("duplicate key, second"));
        let (escaped, coded) = (at("escaped key name"), at("escaped value"));
        let (inside, deeper) = (at("array in an object"), at("object in an array in an object"));
        let (big_card, big_nested, key) = (at("fixed path, large"), at("..name, large"), at("record key"));
        let header = self.sow("header", true);
        let again = self.sow("second header of a name", true);
        let user = format!(r#"{{"user":"{}"}}"#, self.sow("member of a header", true));
        let token = self.sow("document in a string", false);
        let pin = self.number("number");
        let (label, filler) = (self.label(), "filler ".repeat(200));
        let coded = coded.replacen('c', r"\u0063", 1);
        let small = format!(
            r#"{{"label":"{label}","card":{{"number":"{card}4242"}},"pin":{pin},"a":[{{"b":{{"secret":"{nested}"}}}}],"tags":["t","{listed}"],"dup":"{first}","dup":"{second}","\u0065scaped":"{escaped}","coded":"{coded}","envelope":"{{\"token\":\"{token}\"}}","profile":{{"lines":["{inside}",{{"deep":"{deeper}"}}]}},"filler":"{filler}"}}"#
        );
        let noise: String = (0..NOISE_WORDS).map(|n| format!("{:016x}", scramble(n))).collect();
        let large = format!(
            r#"{{"label":"{label}","noise":"{noise}","card":{{"number":"{big_card}4242"}},"z":{{"secret":"{big_nested}"}}}}"#
        );
        let headers = [("x-secret", &*header), ("x-plain", "fine"), ("x-secret", &*again), ("x-context", &*user)];
        let headers = headers.map(|(name, value)| header_of(name, value)).to_vec();
        let small = Record { key: Some(key.into_bytes()), headers, ..Record::value(small) };
        let large =
            Record { key: Some(b"large".to_vec()), headers: vec![header_of("x-plain", "f")], ..Record::value(large) };
        [small, large]
    }

    fn sow(&mut self, place: &str, in_header: bool) -> String {
        let text = format!("cnry{:016x}", scramble(next()));
        // Without its first letter, which one place writes as an escape.
        self.note(place, in_header, text.get(1..).unwrap_or_default());
        text
    }

    fn number(&mut self, place: &str) -> String {
        let digits = format!("7{:018}", scramble(next()) % 1_000_000_000_000_000_000);
        self.note(place, false, &digits);
        digits
    }

    fn note(&mut self, place: &str, in_header: bool, needle: &str) {
        let name = format!("{}, {}, {place}", self.client, self.codec);
        self.canaries.push(Canary { name, codec: self.codec, in_header, needle: needle.to_owned() });
    }
}

/// 16 bytes each: 96 KiB, more than weir inspects on a connection's own thread.
const NOISE_WORDS: u64 = 6 * 1024;

fn header_of(name: &str, value: &str) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}

fn next() -> u64 {
    static SERIAL: AtomicU64 = AtomicU64::new(1 << 32);
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// SplitMix64: no two inputs give the same, and no output looks like another.
fn scramble(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
