//! Nobody waits for a big batch: what Heartbeats of 100 connections take while another connection produces batches of 16 MiB,
//! and how much memory weir takes for it.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and stops when its input is wrong")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use weir_benches::Latencies;
use weir_benches::fair::{Batch, Broker, Bulk, Produced, heartbeats};
use weir_testkit::{Listener, PortBlock, Ready, WeirOptions, WeirProcess, WeirYaml, WorkDir};

/// Connections with Heartbeats through weir.
const CONNECTIONS: u32 = 100;
/// Connections with Heartbeats straight to the broker: what machine and load generator cost by themselves.
const STRAIGHT_CONNECTIONS: u32 = 10;
/// Size of a batch without compression, bytes.
const BATCH_BYTES: usize = 16 << 20;
/// Produce requests that are not answered yet.
const IN_FLIGHT: usize = 5;
/// What 99 of 100 Heartbeats must stay within, milliseconds.
const P99_MS_MAX: f64 = 20.0;

const POLICY: &str = r#"version: 1
access:
  - name: bench
    principals: { groups: [bench] }
    allow:
      - produce: ["bulk-*"]
      - consume: ["bulk-*"]
        consumer_groups: ["fair-*"]
rules:
  - name: people
    match: { topics: ["bulk-*"], direction: produce }
    fields:
      - { path: "$.card.number", transform: { mask: { keep_last: 4 } } }
      - { path: "$.customer.email", transform: redact }
      - { path: "$.customer.name", transform: mask }
"#;

struct Arguments {
    weir: PathBuf,
    period: Duration,
}

/// One stretch of time, with or without the producer.
struct Phase {
    name: &'static str,
    through: Latencies,
    straight: Latencies,
    produced: Option<Produced>,
    batch_bytes: usize,
    rss_bytes_max: u64,
    cpu: Duration,
    took: Duration,
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::of_process() else {
        println!("usage: fair --weir PROGRAM [--seconds N]     (`just bench-fair` builds the program first)");
        return ExitCode::from(2);
    };
    let (batch, runs) = (Batch::of_documents(BATCH_BYTES), Batch::of_runs(BATCH_BYTES));
    let (broker, ports, dir) = (Broker::start(), PortBlock::reserve().unwrap(), WorkDir::new().unwrap());
    let config = WeirYaml::new(&broker.address.to_string())
        .node_ids(&Broker::NODE.to_string())
        .listener(Listener::anonymous("bench", &ports.address(0), &["bench"]))
        .policy("bench", POLICY)
        .section("audit", "durability: async")
        .section("audit", "topics: [{ match: [\"bulk-strict\"], durability: strict }]")
        // No more than are used: what is allowed to connect counts in the sum.
        .section("limits", "connections_max: 110")
        .metrics(&ports.address(15))
        .write(&dir)
        .unwrap();
    let metrics: SocketAddr = ports.address(15).parse().unwrap();
    let mut weir = WeirProcess::start(WeirOptions::new(&arguments.weir, &config, Ready::Readyz(metrics))).unwrap();
    // Connections that know no broker yet go to the bootstrap port, as this one does.
    let address: SocketAddr = ports.address(0).parse().unwrap();
    print_conditions(&batch, &runs, &arguments);
    let memory = memory_line(&weir.output().unwrap());
    println!("weir says: memory {}\n", memory.1);

    let (half, period) = (arguments.period / 2, arguments.period);
    let phases = [
        measure("no batches", &weir, address, &broker, half, None),
        measure("batches, audit async", &weir, address, &broker, period, Some((&batch, "bulk-async"))),
        measure("batches, audit strict", &weir, address, &broker, period, Some((&batch, "bulk-strict"))),
        measure("few KB on the wire", &weir, address, &broker, period, Some((&runs, "bulk-async"))),
        measure("no batches again", &weir, address, &broker, half, None),
    ];
    let usage = weir.usage().unwrap();
    print_phases(&phases);
    println!("load average at the end    {}", load_average());
    assert!(weir.stop().unwrap().success(), "weir stops in order");
    verdict(&phases, usage.rss_bytes_max, memory.0)
}

impl Arguments {
    fn of_process() -> Option<Self> {
        let (mut weir, mut seconds) = (None, 20);
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--weir" => weir = Some(PathBuf::from(words.next()?)),
                "--seconds" => seconds = words.next()?.parse().ok().filter(|seconds| *seconds >= 2)?,
                // cargo bench passes it on.
                "--bench" => {}
                _ => return None,
            }
        }
        Some(Self { weir: std::path::absolute(weir?).ok()?, period: Duration::from_secs(seconds) })
    }
}

fn measure(
    name: &'static str,
    weir: &WeirProcess,
    address: SocketAddr,
    broker: &Broker,
    period: Duration,
    load: Option<(&Batch, &str)>,
) -> Phase {
    let bulk = load.map(|(batch, topic)| Bulk::start(address, batch, topic, IN_FLIGHT));
    let (began, before, done) = (Instant::now(), weir.usage().unwrap(), AtomicBool::new(false));
    let ((through, straight), rss_bytes_max) = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(weir.usage().unwrap().rss_bytes);
                thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let measured = runtime.block_on(async {
            let through = heartbeats(address, CONNECTIONS, period);
            tokio::join!(through, heartbeats(broker.address, STRAIGHT_CONNECTIONS, period))
        });
        done.store(true, Ordering::Relaxed);
        (measured, sampler.join().unwrap())
    });
    let produced = bulk.map(Bulk::finish);
    let cpu = weir.usage().unwrap().cpu.saturating_sub(before.cpu);
    let batch_bytes = load.map_or(0, |(batch, _)| batch.plain_bytes);
    Phase { name, through, straight, produced, batch_bytes, rss_bytes_max, cpu, took: began.elapsed() }
}

fn print_conditions(batch: &Batch, runs: &Batch, arguments: &Arguments) {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let build = if arguments.weir.components().any(|part| part.as_os_str() == "release") { "release" } else { "other" };
    println!("nobody waits for a big batch");
    println!(
        "{cores} cores, load average {}, {build} build of weir; broker and clients run on the same cores",
        load_average()
    );
    println!(
        "{CONNECTIONS} connections with a Heartbeat each per 100 ms; one producer with {IN_FLIGHT} requests in flight, each one batch of \
         {} JSON records, {:.1} MiB, {:.2} MiB as zstd (or {} records, {:.1} MiB, {:.1} KiB as zstd); three fields are masked",
        batch.records,
        mib(batch.plain_bytes),
        mib(batch.wire_bytes()),
        runs.records,
        mib(runs.plain_bytes),
        mib(runs.wire_bytes()) * 1024.0
    );
}

/// The sum of what the limits allow, in bytes, and the line that weir prints about it.
fn memory_line(output: &str) -> (u64, String) {
    let line = output.lines().find_map(|line| line.trim_start().strip_prefix("memory")).unwrap().trim();
    let sum = line.split(' ').skip_while(|word| *word != "most").nth(1).unwrap().parse::<u64>().unwrap();
    (sum << 20, line.to_owned())
}

fn print_phases(phases: &[Phase]) {
    println!(
        "{:<24}{:>9}{:>8}{:>8}{:>8}   {:>9}{:>8}{:>8}{:>11}{:>8}{:>8}{:>9}",
        "Heartbeats, ms",
        "through",
        "p50",
        "p99",
        "max",
        "straight",
        "p99",
        "max",
        "batches/s",
        "MiB/s",
        "cores",
        "RSS MiB"
    );
    for phase in phases {
        let seconds = |produced: &Produced| produced.batches as f64 / produced.took.as_secs_f64();
        let rate = phase.produced.as_ref().map_or(0.0, seconds);
        println!(
            "{:<24}{:>9}{:>8.2}{:>8.2}{:>8.2}   {:>9}{:>8.2}{:>8.2}{:>11.1}{:>8.0}{:>8.2}{:>9.0}",
            phase.name,
            phase.through.count(),
            phase.through.percentile_ms(50),
            phase.through.percentile_ms(99),
            phase.through.percentile_ms(100),
            phase.straight.count(),
            phase.straight.percentile_ms(99),
            phase.straight.percentile_ms(100),
            rate,
            rate * mib(phase.batch_bytes),
            phase.cpu.as_secs_f64() / phase.took.as_secs_f64(),
            phase.rss_bytes_max as f64 / f64::from(1 << 20),
        );
    }
    for phase in phases {
        if let Some(produced) = &phase.produced {
            println!(
                "control, {}: Heartbeats behind the batches of their own connection p50 {:.0} ms, p99 {:.0} ms",
                phase.name,
                produced.behind.percentile_ms(50),
                produced.behind.percentile_ms(99)
            );
        }
    }
}

fn verdict(phases: &[Phase], rss_bytes_max: u64, sum: u64) -> ExitCode {
    let worst = phases.iter().map(|phase| phase.through.percentile_ms(99)).fold(0.0, f64::max);
    // Replies of one connection keep their order, so there Heartbeats must wait: else the batches were no load.
    let control = phases
        .iter()
        .filter_map(|phase| phase.produced.as_ref())
        .map(|produced| produced.behind.percentile_ms(50))
        .fold(f64::INFINITY, f64::min);
    let mib = |bytes: u64| bytes >> 20;
    let alone = phases.iter().map(|phase| phase.straight.percentile_ms(99)).fold(0.0, f64::max);
    if alone > P99_MS_MAX / 2.0 {
        println!("the machine is busy: straight to the broker p99 reaches {alone:.2} ms; run again when it is not");
    }
    let checks = [
        (worst < P99_MS_MAX, format!("p99 of Heartbeats {worst:.2} ms, less than {P99_MS_MAX} ms")),
        (
            rss_bytes_max < sum,
            format!("resident memory {} MiB at most, less than {} MiB", mib(rss_bytes_max), mib(sum)),
        ),
        (control.is_finite() && control > P99_MS_MAX, format!("control: behind batches the median is {control:.0} ms")),
    ];
    for (holds, what) in &checks {
        println!("{} {what}", if *holds { "holds " } else { "BROKEN" });
    }
    let passed = checks.iter().all(|(holds, _)| *holds);
    println!("{}", if passed { "PASS" } else { "FAIL" });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
