//! Measures the audit log on the machine at hand: entry sizes, group commits a second, what indexes cost, what a log weighs, how fast it is
//! verified and asked.
//!
//! ```text
//! cargo run --release -p weir-audit-store --example throughput [DIR]
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a tool for people, not part of the product"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use weir_audit::{
    ChainId, ChainState, ClientRef, Commit, Committer, ConnectionId, Decision, EntryBody, EntrySink, EventId, IntentId,
    IntentRow, Kind, MemorySink, Outcome, Part, PrincipalKind, PrincipalRef, RuleHit, SessionId, Ticket,
};
use weir_audit_store::{Query, Reader, Store};

fn main() {
    let base = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let base = Path::new(&base).join("weir-audit-throughput");
    let fresh = |name: &str| {
        let dir = base.join(name);
        drop(std::fs::remove_dir_all(&dir));
        let (store, opened) = Store::open(&dir).unwrap();
        (dir, Committer::open(store, opened.chain))
    };
    sizes();
    without_disk();
    for (name, indexed) in [("indexed", true), ("bare", false)] {
        println!(
            "\n{name}: the same entries, principal, topic and rule {}",
            if indexed { "indexed" } else { "not indexed" }
        );
        for outstanding in [1, 16, 64, 256, 1024, 4096] {
            let committer = fresh(name).1;
            let state = committer.state().clone();
            let sink = Measured { store: committer.into_sink(), indexed };
            commits(&mut Committer::open(sink, state), outstanding, Duration::from_secs(2));
        }
    }
    println!("\nintent and entry of each request, as strict Produce does");
    for outstanding in [1, 16, 256] {
        let (_, mut committer) = fresh("requests");
        requests(&mut committer, outstanding, Duration::from_secs(2));
    }
    let (dir, mut committer) = fresh("large");
    for batch in 0..256 {
        commit(&mut committer, (0..2048).map(|i| entry(body(batch * 2048 + i))));
    }
    let mut signer = weir_audit_store::signer(&dir, committer.state().chain, None, None).unwrap();
    committer.sink_mut().sync_checkpoint(&mut signer).unwrap();
    drop(committer);
    large(&dir);
    std::fs::remove_dir_all(&base).unwrap();
}

fn sizes() {
    let mut committer = Committer::open(MemorySink::default(), ChainState::new(ChainId([7; 16])));
    for (name, parts) in [("produce, 1 partition", 1), ("produce, 10 partitions", 10), ("produce, 300 partitions", 300)]
    {
        let mut body = body(1);
        body.parts = (0..parts).map(|partition| Part { partition, ..body.parts.first().unwrap().clone() }).collect();
        commit(&mut committer, [entry(body)]);
        println!("{name}: {} B", committer.sink_mut().entries().last().unwrap().bytes.len());
    }
}

/// What the committer itself costs: encode, chain, tree, and the check before the write.
fn without_disk() {
    struct Nowhere;
    impl EntrySink for Nowhere {
        type Error = std::convert::Infallible;
        fn append_durably(&mut self, _: &weir_audit::SinkBatch) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    let mut committer = Committer::open(Nowhere, ChainState::new(ChainId([7; 16])));
    let mut busy = Duration::ZERO;
    let mut entries = 0;
    while busy < Duration::from_secs(2) {
        let queued: Vec<_> = (0..256).map(|i| (Ticket::new(ConnectionId(1), i), entry(body(i)))).collect();
        let start = Instant::now();
        entries += committer.commit(queued).receipts.len();
        busy += start.elapsed();
    }
    println!("committer without a disk: {:.0} entries/s", entries as f64 / busy.as_secs_f64());
}

/// The store with or without its index: it indexes what it is told about an entry, and stores the bytes.
struct Measured {
    store: Store,
    indexed: bool,
}

impl EntrySink for Measured {
    type Error = weir_audit_store::StoreError;

    fn append_durably(&mut self, batch: &weir_audit::SinkBatch) -> Result<(), Self::Error> {
        // Copied in both cases, so that the copy costs both the same.
        let mut batch = batch.clone();
        for sealed in batch.entries.iter_mut().filter(|_| !self.indexed) {
            let body = &mut sealed.entry.body;
            (body.principal, body.parts, body.rule_hits) = (None, Vec::new(), Vec::new());
        }
        self.store.append_durably(&batch)
    }
}

fn commits(committer: &mut Committer<Measured>, outstanding: u64, time: Duration) {
    let start = Instant::now();
    let (mut entries, mut took) = (0, Vec::new());
    while start.elapsed() < time {
        let queued: Vec<_> = (0..outstanding).map(|i| entry(body(entries + i))).collect();
        let commit_start = Instant::now();
        commit(committer, queued);
        took.push(commit_start.elapsed());
        entries += outstanding;
    }
    println!(
        "{outstanding:>5} at once: {:>7.0} entries/s   {}",
        entries as f64 / start.elapsed().as_secs_f64(),
        spread(took)
    );
}

fn requests(committer: &mut Committer<Store>, outstanding: u64, time: Duration) {
    let start = Instant::now();
    let (mut requests, mut took) = (0_u64, Vec::new());
    while start.elapsed() < time {
        let id = |i| IntentId(u128::from(requests + i).to_be_bytes());
        let intents = (0..outstanding).map(|i| Commit::Intent(IntentRow { id: id(i), body: body(requests + i) }));
        let entries = (0..outstanding).map(|i| Commit::Entry { entry: body(requests + i), closes: vec![id(i)] });
        let (intents, entries): (Vec<_>, Vec<_>) = (intents.collect(), entries.collect());
        let request_start = Instant::now();
        commit(committer, intents);
        commit(committer, entries);
        took.push(request_start.elapsed());
        requests += outstanding;
    }
    println!(
        "{outstanding:>5} at once: {:>7.0} requests/s   {}",
        requests as f64 / start.elapsed().as_secs_f64(),
        spread(took)
    );
}

fn large(dir: &Path) {
    let start = Instant::now();
    let report = weir_audit_store::verify(dir).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "\nverify: {} entries, {} in {seconds:.2} s = {:.0} entries/s",
        report.rows,
        report.verdict().name(),
        report.rows as f64 / seconds
    );
    let bytes: u64 =
        std::fs::read_dir(dir.join("audit/db")).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    println!("on disk: {} B per entry, write-ahead log included", bytes / report.rows);
    let start = Instant::now();
    let reader = Reader::open_read_only(dir).unwrap();
    println!("open: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let ask = |name: &str, query: Query| {
        let start = Instant::now();
        let found = reader.query(&query).unwrap();
        println!("{name}: {} found in {:.1} ms", found.rows.len(), start.elapsed().as_secs_f64() * 1e3);
    };
    let newest = Query { limit: Some(100), ..Query::default() };
    ask("newest 100", newest.clone());
    ask("newest 100 of a principal", Query { principal: vec!["principal-7".into()], ..newest.clone() });
    ask("newest 100 of a rare rule", Query { rule: vec!["rule-9973".into()], ..newest.clone() });
    ask("the same by --scan", Query { rule: vec!["rule-9973".into()], scan: true, ..newest });
}

fn commit(
    committer: &mut Committer<impl EntrySink<Error: std::fmt::Debug>>,
    commits: impl IntoIterator<Item = Commit>,
) {
    let queued: Vec<_> = (0..).map(|i| Ticket::new(ConnectionId(1), i)).zip(commits).collect();
    let committed = committer.commit(queued);
    assert!(committed.unrecorded.is_empty(), "{:?}", committer.take_error());
}

fn entry(body: EntryBody) -> Commit {
    Commit::Entry { entry: body, closes: Vec::new() }
}

/// A produce of one partition as a gateway writes it: 50 principals, 200 topics, a rule in most, and hashes that do not compress.
fn body(number: u64) -> EntryBody {
    let at = 1_760_000_000_000_000_000 + number * 1_000_000;
    let noise = weir_audit::chain::leaf_hash(&number.to_be_bytes()).0;
    let [a, b, c, d, e, f, g, h, i, j, ..] = noise;
    let (principal, topic) = (format!("principal-{}", number % 50), format!("payments.topic-{}", number * 7 % 200));
    let rule = if number.is_multiple_of(20_011) { "rule-9973".to_owned() } else { format!("rule-{}", number % 20) };
    let part = Part {
        topic,
        topic_id: None,
        partition: 3,
        base_offset: Some(1_000_000 + i64::try_from(number).unwrap()),
        last_offset: Some(1_000_099 + i64::try_from(number).unwrap()),
        records: 100,
        bytes_in: 102_400,
        bytes_out: 101_800,
        error_code: 0,
        producer: Some((4000, 0, 100)),
        digest: Some(noise),
    };
    let body = EntryBody {
        intent_at: Some(at - 700_000),
        session: Some(SessionId([4; 16])),
        client: Some(ClientRef {
            address: [10, 0, 0, 7].into(),
            port: 50_123,
            client_id: Some("checkout-7".into()),
            listener: "apps".into(),
            insecure: false,
        }),
        api: Some((0, 12)),
        decision: Decision::Mask,
        outcome: Outcome::Stored,
        policy_digest: Some([5; 32]),
        ..EntryBody::new(Kind::Produce, EventId::new(at / 1_000_000, [a, b, c, d, e, f, g, h, i, j]), at)
    };
    EntryBody {
        principal: Some(PrincipalRef { kind: PrincipalKind::Oauthbearer, id: principal }),
        rule_hits: vec![RuleHit { rule, action: "mask".into(), count: 100 }],
        parts: vec![part],
        ..body
    }
}

fn spread(mut took: Vec<Duration>) -> String {
    took.sort();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    format!("commit p50 {:.2} ms, p99 {:.2} ms", at(50), at(99))
}
