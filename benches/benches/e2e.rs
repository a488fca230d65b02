//! The whole gateway: processor time, throughput, memory and added latency of weir beside direct and HAProxy in TCP mode, in turns
//! in one run before a real broker.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and stops when its input is wrong")]

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use weir_benches::Latencies;
use weir_benches::e2e::{Frame, HaProxy, Topic, drain, find_topic, flood, paced};
use weir_testkit::{
    Kafka, KafkaOptions, Listener, PortBlock, Ready, Usage, WeirOptions, WeirProcess, WeirYaml, WorkDir,
};

/// Records of about 1 KB in a batch, where throughput is measured.
const BATCH_RECORDS: usize = 100;
/// Produce requests that are not answered yet: the default of Kafka's clients.
const IN_FLIGHT: usize = 5;
/// Batches in a topic that is read.
const STORED_BATCHES: i32 = 1_000;
/// Records a second, where latency is measured.
const RATES: [u32; 2] = [500, 2_000];
/// Pass-through may cost this much of HAProxy's processor time.
const PASS_THROUGH_MAX: f64 = 1.3;
/// Three fields masked may cost this much of it: 1.4 s/GB where HAProxy needs 0.33.
const MASKED_MAX: f64 = 4.3;
/// What the median may be above HAProxy's with audit `async`, microseconds.
const ADDED_US_MAX: f64 = 50.0;
/// The kernel counts processor time in steps of 10 ms; what a proxy still does behind the last answer belongs to it.
const SETTLE: Duration = Duration::from_millis(50);

/// Rules by the topic's name, the same fields in both directions.
const POLICY: &str = r#"version: 1
access:
  - name: bench
    principals: { groups: [bench] }
    allow: [{ produce: ["p-*"], consume: ["c-*"] }]
rules:
  - name: three-produced
    match: { topics: ["p-three-*"], direction: produce }
    fields:
      - { path: "$.card.number", transform: { mask: { keep_last: 4 } } }
      - { path: "$.customer.email", transform: mask }
      - { path: "$.customer.name", transform: mask }
  - name: three-consumed
    match: { topics: ["c-three-*"], direction: consume }
    fields:
      - { path: "$.card.number", transform: { mask: { keep_last: 4 } } }
      - { path: "$.customer.email", transform: mask }
      - { path: "$.customer.name", transform: mask }
  - name: anywhere-produced
    match: { topics: ["p-anywhere-*"], direction: produce }
    fields: [{ path: "$..email", transform: mask }]
  - name: anywhere-consumed
    match: { topics: ["c-anywhere-*"], direction: consume }
    fields: [{ path: "$..email", transform: mask }]
"#;

/// How a client reaches the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    HaProxy,
    /// What weir does, and how it records.
    Weir(&'static str, &'static str),
}

const WAYS: [Way; 8] = [
    Way::Direct,
    Way::HaProxy,
    Way::Weir("plain", "async"),
    Way::Weir("plain", "strict"),
    Way::Weir("three", "async"),
    Way::Weir("three", "strict"),
    Way::Weir("anywhere", "async"),
    Way::Weir("anywhere", "strict"),
];

struct Arguments {
    weir: PathBuf,
    rounds: usize,
    megabytes: usize,
    period: Duration,
    pin: bool,
}

/// Everything that runs.
struct Stage {
    kafka: Kafka,
    haproxy: HaProxy,
    weir: WeirProcess,
    addresses: [SocketAddr; 3],
    runtime: Runtime,
    _parts: (PortBlock, WorkDir),
}

/// One measurement of one way.
#[derive(Clone, Copy, Debug)]
struct Flow {
    /// Processor time of the proxy for each GB of record values, seconds.
    cpu_per_gb: f64,
    /// MB of record values a second.
    rate: f64,
}

/// All measurements of one way.
#[derive(Default)]
struct Measured {
    produced: Vec<Flow>,
    consumed: Vec<Flow>,
    latencies: [Latencies; RATES.len()],
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::of_process() else {
        println!(
            "usage: e2e --weir PROGRAM [--rounds N] [--megabytes N] [--seconds N] [--no-pin]     (`just bench-e2e` builds the program first)"
        );
        return ExitCode::from(2);
    };
    let mut stage = Stage::set(&arguments);
    print_conditions(&arguments);
    let topics = stage.fill();
    let mut measured: [Measured; WAYS.len()] = std::array::from_fn(|_| Measured::default());
    // The first round makes everything warm and is not counted.
    for round in 0..=arguments.rounds {
        let began = std::time::Instant::now();
        for (at, ((way, measured), topic)) in WAYS.iter().zip(&mut measured).zip(&topics).enumerate() {
            let produced = stage.produce(*way, arguments.megabytes << 20);
            let consumed = stage.consume(*way, *topic, arguments.megabytes << 20);
            let period = if round == 0 { Duration::from_secs(1) } else { arguments.period };
            let latencies = RATES.map(|rate| stage.pace(*way, rate, period));
            if round > 0 {
                measured.produced.push(produced);
                measured.consumed.push(consumed);
                for (all, new) in measured.latencies.iter_mut().zip(latencies) {
                    all.append(new);
                }
            }
            if round == 0 && at == 0 {
                println!("the first round is not counted");
            }
        }
        println!("round {round} of {}: {:.0} s", arguments.rounds, began.elapsed().as_secs_f64());
    }
    let memory = [stage.haproxy.usage().unwrap(), stage.weir.usage().unwrap()];
    print_flows(&measured);
    print_latencies(&measured);
    print_memory(&memory);
    println!("load average at the end    {}", load_average());
    assert!(stage.weir.stop().unwrap().success(), "weir stops in order");
    verdict(&measured)
}

impl Arguments {
    fn of_process() -> Option<Self> {
        let mut arguments =
            Self { weir: PathBuf::new(), rounds: 5, megabytes: 200, period: Duration::from_secs(4), pin: true };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--weir" => arguments.weir = std::path::absolute(words.next()?).ok()?,
                "--rounds" => arguments.rounds = words.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
                "--megabytes" => arguments.megabytes = words.next()?.parse().ok().filter(|size| *size > 0)?,
                "--seconds" => {
                    let seconds = words.next()?.parse().ok().filter(|seconds| *seconds > 0)?;
                    arguments.period = Duration::from_secs(seconds);
                }
                "--no-pin" => arguments.pin = false,
                // cargo bench passes it on.
                "--bench" => {}
                _ => return None,
            }
        }
        arguments.weir.is_file().then_some(arguments)
    }

    /// Both proxies on the last core and nowhere else: weir starts as many threads as it sees cores.
    fn pinned(&self) -> Vec<String> {
        if !self.pin {
            return Vec::new();
        }
        let last = cores().saturating_sub(1).to_string();
        ["taskset", "-c", last.as_str()].map(str::to_owned).to_vec()
    }
}

impl Stage {
    fn set(arguments: &Arguments) -> Self {
        // What is produced need not stay.
        let options = KafkaOptions::default().property("log.retention.check.interval.ms", "1000");
        let kafka = Kafka::start(options).unwrap();
        let (ports, dir) = (PortBlock::reserve().unwrap(), WorkDir::new().unwrap());
        let config = WeirYaml::new(kafka.bootstrap())
            .node_ids(&kafka.node_id().to_string())
            .listener(Listener::anonymous("bench", &ports.address(0), &["bench"]))
            .policy("bench", POLICY)
            .section("audit", "durability: async")
            .section("audit", "topics: [{ match: [\"*-strict\"], durability: strict }]")
            .metrics(&ports.address(15))
            .write(&dir)
            .unwrap();
        let ready = Ready::Readyz(ports.address(15).parse().unwrap());
        let mut options = WeirOptions::new(&arguments.weir, &config, ready);
        options.wrapper = arguments.pinned();
        let weir = WeirProcess::start(options).unwrap();
        let door: SocketAddr = ports.address(14).parse().unwrap();
        let haproxy = HaProxy::start(&arguments.pinned(), door, kafka.bootstrap()).unwrap();
        let addresses = [kafka.bootstrap().parse().unwrap(), door, ports.address(0).parse().unwrap()];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { kafka, haproxy, weir, addresses, runtime, _parts: (ports, dir) }
    }

    /// Makes the topics, and fills those that are read straight at the broker.
    fn fill(&mut self) -> [Topic; WAYS.len()] {
        WAYS.map(|way| {
            // By size alone: the records' own time is that of their batch, which is always the same one.
            let kept = ("retention.ms", "-1");
            let passing = [kept, ("retention.bytes", "67108864"), ("segment.bytes", "16777216")];
            self.kafka.create_topic_with(&format!("p-{way}"), 1, &passing).unwrap();
            let name = format!("c-{way}");
            self.kafka.create_topic_with(&name, 1, &[kept]).unwrap();
            let frame = Frame::of_documents(&name, BATCH_RECORDS);
            let direct = self.address(Way::Direct);
            self.runtime.block_on(flood(direct, &frame, STORED_BATCHES, IN_FLIGHT));
            let end = self.kafka.end_offset(&name, 0).unwrap();
            self.runtime.block_on(find_topic(self.address(way), &name, end))
        })
    }

    fn produce(&self, way: Way, bytes: usize) -> Flow {
        let frame = Frame::of_documents(&format!("p-{way}"), BATCH_RECORDS);
        let requests = i32::try_from(bytes.div_ceil(frame.value_bytes)).unwrap();
        let total = frame.value_bytes * usize::try_from(requests).unwrap();
        self.measure(way, || (total, self.runtime.block_on(flood(self.address(way), &frame, requests, IN_FLIGHT))))
    }

    fn consume(&self, way: Way, topic: Topic, bytes: usize) -> Flow {
        let record_bytes = Frame::of_documents("", BATCH_RECORDS).value_bytes / BATCH_RECORDS;
        let records = i64::try_from(bytes.div_ceil(record_bytes)).unwrap();
        self.measure(way, || {
            let (records, took) = self.runtime.block_on(drain(self.address(way), topic, records));
            (usize::try_from(records).unwrap() * record_bytes, took)
        })
    }

    fn pace(&self, way: Way, rate: u32, period: Duration) -> Latencies {
        let frame = Frame::of_documents(&format!("p-{way}"), 1);
        self.runtime.block_on(paced(self.address(way), &frame, rate, period))
    }

    fn measure(&self, way: Way, work: impl FnOnce() -> (usize, Duration)) -> Flow {
        let before = self.cpu(way);
        let (bytes, took) = work();
        thread::sleep(SETTLE);
        let cpu = self.cpu(way).saturating_sub(before);
        Flow { cpu_per_gb: cpu.as_secs_f64() / (bytes as f64 / 1e9), rate: bytes as f64 / 1e6 / took.as_secs_f64() }
    }

    fn cpu(&self, way: Way) -> Duration {
        match way {
            Way::Direct => Duration::ZERO,
            Way::HaProxy => self.haproxy.usage().unwrap().cpu,
            Way::Weir(..) => self.weir.usage().unwrap().cpu,
        }
    }

    fn address(&self, way: Way) -> SocketAddr {
        let [direct, haproxy, weir] = self.addresses;
        match way {
            Way::Direct => direct,
            Way::HaProxy => haproxy,
            Way::Weir(..) => weir,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::HaProxy => f.write_str("haproxy"),
            Self::Weir(work, durability) => write!(f, "{work}-{durability}"),
        }
    }
}

impl Way {
    fn title(self) -> String {
        match self {
            Self::Direct => "direct".to_owned(),
            Self::HaProxy => "HAProxy".to_owned(),
            Self::Weir(work, durability) => {
                let work = match work {
                    "three" => "three fields masked",
                    "anywhere" => "one `..name` masked",
                    _ => "no rule",
                };
                format!("weir, {work}, {durability}")
            }
        }
    }
}

fn print_conditions(arguments: &Arguments) {
    let release = arguments.weir.components().any(|part| part.as_os_str() == "release");
    println!("the whole gateway");
    println!("{}, {} cores, load average {}", HaProxy::processor(), cores(), load_average());
    println!("{}", HaProxy::version());
    println!(
        "{} build of weir; broker and client share the cores with the proxies",
        if release { "release" } else { "other" }
    );
    println!(
        "each proxy {}; one connection; flow: batches of {BATCH_RECORDS} JSON records of about 1 KB, {IN_FLIGHT} in flight, acks=all, or one Fetch (version 16) of 1 MiB after the other; \
         latency: one record a request, from the moment it was due to its acknowledgement",
        if arguments.pin {
            "on the last core, with one worker thread"
        } else {
            "free to use all cores (HAProxy with one thread)"
        }
    );
    println!(
        "{} rounds in turns, {} MiB each way, {} s at each rate; medians of the rounds, percentiles of all\n",
        arguments.rounds,
        arguments.megabytes,
        arguments.period.as_secs()
    );
}

fn print_flows(measured: &[Measured; WAYS.len()]) {
    println!(
        "\n{:<36}{:>10}{:>12}{:>8}   {:>10}{:>12}{:>8}",
        "", "produce", "CPU s/GB", "ratio", "consume", "CPU s/GB", "ratio"
    );
    let base = haproxy(measured);
    for (way, all) in WAYS.iter().zip(measured) {
        let cell = |flows: &[Flow], base: &[Flow]| {
            let (rate, cpu) = (median(flows, |flow| flow.rate), median(flows, |flow| flow.cpu_per_gb));
            let ratio = cpu / median(base, |flow| flow.cpu_per_gb);
            if *way == Way::Direct {
                format!("{rate:>5.0} MB/s{:>12}{:>8}", "", "")
            } else {
                format!("{rate:>5.0} MB/s{cpu:>12.2}{ratio:>7.1}x")
            }
        };
        println!(
            "{:<36}{}   {}",
            way.title(),
            cell(&all.produced, &base.produced),
            cell(&all.consumed, &base.consumed)
        );
    }
}

fn print_latencies(measured: &[Measured; WAYS.len()]) {
    println!(
        "\n{:<36}{}",
        "acknowledged after, µs",
        RATES.map(|rate| format!("{rate:>9}/s: p50{:>12}{:>9}{:>12}", "added", "p99", "added")).join("")
    );
    let direct = measured.first().unwrap();
    for (way, all) in WAYS.iter().zip(measured) {
        let cells = all.latencies.iter().zip(&direct.latencies).map(|(all, direct)| {
            let cell = |percent: usize, wide: usize| {
                let (us, direct) = (us(all, percent), us(direct, percent));
                format!("{us:>wide$.0}{:>+12.0}", us - direct)
            };
            cell(50, 16) + &cell(99, 9)
        });
        println!("{:<36}{}", way.title(), cells.collect::<String>());
    }
}

fn print_memory([haproxy, weir]: &[Usage; 2]) {
    let mib = |usage: &Usage| usage.rss_bytes_max as f64 / f64::from(1 << 20);
    println!("\nresident memory at most    HAProxy {:.0} MiB, weir {:.0} MiB", mib(haproxy), mib(weir));
}

fn verdict(measured: &[Measured; WAYS.len()]) -> ExitCode {
    let base = haproxy(measured);
    let cpu = |flows: &[Flow]| median(flows, |flow| flow.cpu_per_gb);
    let weir = |work, durability| {
        let at = WAYS.iter().position(|way| *way == Way::Weir(work, durability)).unwrap();
        measured.get(at).unwrap()
    };
    let mut checks = Vec::new();
    for (work, what, most) in [("plain", "no rule", PASS_THROUGH_MAX), ("three", "three fields masked", MASKED_MAX)] {
        let all = weir(work, "async");
        for (direction, ratio) in [
            ("produce", cpu(&all.produced) / cpu(&base.produced)),
            ("consume", cpu(&all.consumed) / cpu(&base.consumed)),
        ] {
            checks.push((
                ratio <= most,
                format!("{what}, {direction}: {ratio:.2}x HAProxy's processor time, at most {most}x"),
            ));
        }
    }
    for ((all, base), rate) in weir("plain", "async").latencies.iter().zip(&base.latencies).zip(RATES) {
        let above = us(all, 50) - us(base, 50);
        checks.push((
            above <= ADDED_US_MAX,
            format!("no rule, {rate}/s: p50 {above:.0} µs above HAProxy's, at most {ADDED_US_MAX} µs"),
        ));
    }
    for (holds, what) in &checks {
        println!("{} {what}", if *holds { "holds " } else { "MISSED" });
    }
    let passed = checks.iter().all(|(holds, _)| *holds);
    println!("{}", if passed { "PASS" } else { "FAIL" });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn haproxy(measured: &[Measured; WAYS.len()]) -> &Measured {
    let at = WAYS.iter().position(|way| *way == Way::HaProxy).unwrap();
    measured.get(at).unwrap()
}

fn median(flows: &[Flow], of: impl Fn(&Flow) -> f64) -> f64 {
    let mut values = flows.iter().map(of).collect::<Vec<_>>();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn us(latencies: &Latencies, percent: usize) -> f64 {
    latencies.percentile_ms(percent) * 1e3
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
