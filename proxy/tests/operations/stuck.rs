//! Nobody reads what weir prints: both outputs go into one pipe, as in `weir serve 2>&1 | collector`, and the collector stands still.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_testkit::{Guarded, Listener, PortBlock, Ready, WeirOptions, WeirYaml, WorkDir};

use crate::batch;
use crate::errors::walks_row;
use crate::ground::{KAFKA, topic};
use crate::wire::{Client, METADATA, PRODUCE, metadata_body, produce_body, produced};

/// What moves in an instant and has not for so long stands still.
const STILL_AFTER: Duration = Duration::from_secs(10);

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// `limits.drain_timeout`, and how much longer weir may take to end (docs/operations.md).
const DRAIN: Duration = Duration::from_secs(1);
const END_MARGIN: Duration = Duration::from_secs(10);

/// What a pipe holds.
const PIPE_BYTES: usize = 64 << 10;

const POLICY: &str = r#"
version: 1
access:
  - name: everybody
    principals: { groups: [apps] }
    allow: [{ produce: ["*"] }]
"#;

/// A weir whose outputs go into one pipe, or standard error alone.
struct Piped {
    process: Guarded,
    ports: PortBlock,
    reader: BufReader<PipeReader>,
    _dir: WorkDir,
}

/// What was read of the pipe.
#[derive(Default)]
struct Collected {
    events: BTreeMap<String, Vec<Value>>,
    /// Lines that are no JSON: those of the banner.
    text: Vec<String>,
}

impl Piped {
    fn start(env: &[(&str, &str)], pipe: (PipeReader, PipeWriter)) -> Self {
        Self::start_at(KAFKA.bootstrap(), "checkpoint: { every: 100ms }", env, pipe, None)
    }

    /// `audit` is a line of that section, `stdout` a pipe for that alone.
    fn start_at(
        broker: &str,
        audit: &str,
        env: &[(&str, &str)],
        (reader, writer): (PipeReader, PipeWriter),
        stdout: Option<PipeWriter>,
    ) -> Self {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        let yaml = WeirYaml::new(broker)
            .node_ids("1")
            .listener(Listener::anonymous("open", &ports.address(0), &["apps"]))
            .policy("everybody", POLICY)
            .metrics(&ports.address(15))
            .section("audit", audit)
            .section("limits", &format!("drain_timeout: {}s", DRAIN.as_secs()))
            // A few lines for each request.
            .section("log", "level: trace")
            .section("log", "format: json");
        let config = yaml.write(&dir).unwrap();
        let mut options = WeirOptions::new(Path::new(env!("CARGO_BIN_EXE_weir")), &config, Ready::Ports(Vec::new()));
        options.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut command = options.command(&["serve", "--config", config.to_str().unwrap()]);
        command.stdout(stdout.unwrap_or_else(|| writer.try_clone().unwrap())).stderr(writer);
        let process = Guarded::spawn(&mut command, "weir").unwrap();
        Self { process, ports, reader: BufReader::new(reader), _dir: dir }
    }

    /// Status and body of an admin page; none when it does not come.
    fn page(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.ports.address(15)).ok()?;
        stream.set_read_timeout(Some(STILL_AFTER)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.page("/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    fn is_ready(&self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while self.page("/readyz").is_none_or(|(status, _)| status != 200) {
            if Instant::now() > end {
                return Err("weir does not get ready".to_owned());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Reads lines until so much was seen. While there is load there are lines.
    fn read(&mut self, collected: &mut Collected, enough: impl Fn(&Collected) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !enough(collected) {
            assert!(Instant::now() < end, "not all was said: {:?}", collected.events.keys());
            let mut line = String::new();
            assert!(self.reader.read_line(&mut line).unwrap() > 0, "the end, too early");
            collected.take(&line);
        }
    }

    /// SIGTERM; how long the end took, and the exit code.
    fn ends(&mut self) -> Result<(Duration, Option<i32>), String> {
        let begun = Instant::now();
        let status = self.process.terminate(PATIENCE).map_err(|error| error.to_string())?;
        Ok((begun.elapsed(), status.code()))
    }
}

impl Collected {
    fn take(&mut self, line: &str) {
        match serde_json::from_str::<Value>(line) {
            Ok(value) => {
                let event = value["event"].as_str().unwrap_or_default().to_owned();
                self.events.entry(event).or_default().push(value);
            }
            Err(_) => self.text.push(line.trim_end().to_owned()),
        }
    }

    fn of(&self, event: &str) -> &[Value] {
        self.events.get(event).map_or(&[], Vec::as_slice)
    }

    fn sum(&self, event: &str, key: &str) -> u64 {
        self.of(event).iter().filter_map(|line| line[key].as_u64()).sum()
    }
}

/// Clients at work.
struct Load<'a> {
    address: &'a str,
    answered: AtomicU64,
    done: AtomicBool,
    /// Fewer lines than a reader takes on a busy machine.
    gentle: AtomicBool,
}

/// Ends the work when it is dropped.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Load<'_> {
    /// Produces, and asks around, until it is told to stop or the connection ends.
    fn work(&self) {
        let mut client = Client::connect(self.address);
        let body = produce_body(-1, &[("stuck", &[(0, &batch::plain(&["{}"]))])]);
        while !self.done.load(Ordering::Relaxed) {
            let Some(answer) = client.call(PRODUCE, 8, &body) else { return };
            assert_eq!(produced(&answer)[0].error, 0);
            for _ in 0..20 {
                let Some(_) = client.call(METADATA, 1, &metadata_body(&["stuck"])) else { return };
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
            if self.gentle.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// Waits for something while clients are at work; an error when they are not any more.
    fn until(&self, what: &str, mut holds: impl FnMut() -> Option<bool>) -> Result<(), String> {
        let begun = Instant::now();
        let (mut answered, mut since) = (self.answered.load(Ordering::Relaxed), begun);
        while !holds().ok_or_else(|| format!("the metrics are not answered, waiting until {what}"))? {
            let now = self.answered.load(Ordering::Relaxed);
            if now != answered {
                (answered, since) = (now, Instant::now());
            }
            if since.elapsed() > STILL_AFTER {
                return Err(format!("no client was answered for {STILL_AFTER:?}, waiting until {what}"));
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("it does not come about that {what}"));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// So many more rounds are answered.
    fn goes_on(&self, rounds: u64) -> Result<(), String> {
        let enough = self.answered.load(Ordering::Relaxed) + rounds;
        self.until("clients are answered", || Some(self.answered.load(Ordering::Relaxed) >= enough))
    }
}

const LOG_DROPPED: &str = "weir_log_lines_dropped_total";
const LEFT_OUT: &str = "weir_audit_anchor_lines_dropped_total";
const STUCK: &str = "weir_audit_anchor_stuck";
const CHECKPOINTED: &str = "weir_audit_checkpoint_entries";

/// The whole proof: what waits for the pipe, if anything does.
pub(crate) fn nothing_waits(env: &[(&str, &str)]) -> Result<(), String> {
    static TOPIC: std::sync::Once = std::sync::Once::new();
    TOPIC.call_once(|| topic("stuck", 1));
    let mut weir = Piped::start(env, std::io::pipe().unwrap());
    weir.is_ready()?;
    let address = weir.ports.address(0);
    let load = Load {
        address: &address,
        answered: AtomicU64::new(0),
        done: AtomicBool::new(false),
        gentle: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        // A failed assertion must not leave them at work.
        let _done = Done(&load.done);
        (0..2).for_each(|_| drop(scope.spawn(|| load.work())));
        let told = under_load(&mut weir, &load);
        if told.is_err() {
            // What waits for it would wait for ever.
            weir.process.kill().unwrap();
        }
        told
    })?;
    // Both outputs are stuck still.
    let (took, code) = weir.ends()?;
    if took > DRAIN + END_MARGIN || code != Some(0) {
        return Err(format!("the end took {took:?}, exit code {code:?}"));
    }
    Ok(())
}

fn under_load(weir: &mut Piped, load: &Load<'_>) -> Result<(), String> {
    load.until("lines of the log are dropped", || Some(weir.metric(LOG_DROPPED)? > 0.0))?;
    load.until("checkpoints are said to be stuck", || Some(weir.metric(STUCK)? == 1.0))?;
    load.until("checkpoints are left out", || Some(weir.metric(LEFT_OUT)? > 0.0))?;
    load.goes_on(20)?;
    let note = "ready\nnobody takes checkpoints from standard output: new entries are not anchored\n";
    assert_eq!(weir.page("/readyz"), Some((200, note.to_owned())));

    // Somebody reads again.
    load.gentle.store(true, Ordering::Relaxed);
    let newest = weir.metric(CHECKPOINTED).unwrap();
    let mut collected = Collected::default();
    let size = |line: &Value| line["size"].as_f64().unwrap();
    weir.read(&mut collected, |collected| {
        let anchored = collected.of("audit.checkpoint").iter().any(|line| size(line) >= newest);
        anchored && ["audit.anchor_moves", "log.dropped"].iter().all(|event| !collected.of(event).is_empty())
    });
    // Of the old ones come those that were on their way, and then the newest.
    let sizes = collected.of("audit.checkpoint").iter().map(size).collect::<Vec<_>>();
    assert!(sizes.is_sorted(), "{sizes:?}");
    let jump = sizes.windows(2).map(|two| two[1] - two[0]).fold(0.0, f64::max);
    assert!(jump > newest / 4.0, "a gap, and behind it the newest: {sizes:?}, {newest}");
    assert_eq!(weir.metric(STUCK), Some(0.0));
    assert_eq!(weir.page("/readyz"), Some((200, "ready\n".to_owned())));
    // Each missing line is told of, of those too that were dropped while the reader caught up.
    let told = |collected: &Collected| collected.sum("log.dropped", "count") as f64;
    let mut dropped = weir.metric(LOG_DROPPED).unwrap();
    while told(&collected) < dropped {
        weir.read(&mut collected, |collected| told(collected) >= dropped);
        dropped = weir.metric(LOG_DROPPED).unwrap();
    }
    assert_eq!(told(&collected), dropped);
    assert_eq!(Some(collected.sum("audit.anchor_moves", "left_out") as f64), weir.metric(LEFT_OUT));
    let counted = |counter: &str| weir.metric(counter).unwrap_or(0.0);
    walks_row("log-dropped").holds("nothing", collected.of("log.dropped"), counted);
    assert!(collected.text.iter().any(|line| line.starts_with("weir ")), "the banner: {:?}", collected.text);
    assert!(collected.text.iter().all(|line| !line.contains("event")), "a torn line: {:?}", collected.text);

    // And stands still again.
    load.gentle.store(false, Ordering::Relaxed);
    let before = weir.metric(LOG_DROPPED).unwrap();
    load.until("lines of the log are dropped again", || Some(weir.metric(LOG_DROPPED)? > before))
}

#[test]
fn nothing_waits_for_who_reads_what_weir_prints() {
    assert_eq!(nothing_waits(&[]), Ok(()));
}

/// A pipe that is full from the start, with what somebody else wrote.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'\n'; PIPE_BYTES]).unwrap();
    (reader, writer)
}

#[test]
fn a_weir_starts_and_ends_without_a_reader() {
    let mut weir = Piped::start(&[], full());
    weir.is_ready().unwrap();
    let (took, code) = weir.ends().unwrap();
    assert!(took < DRAIN + END_MARGIN && code == Some(0), "{took:?}, {code:?}");
}

/// Standard output alone: the log tells of it, and the newest checkpoint is the first that is printed then.
#[test]
fn a_weir_whose_checkpoints_nobody_takes_says_so() {
    let (log_reader, log_writer) = std::io::pipe().unwrap();
    let ((mut reader, writer), audit) = (full(), "checkpoint: { every: 100ms, idle: 1s }");
    let mut weir = Piped::start_at("127.0.0.1:9", audit, &[], (log_reader, log_writer), Some(writer));
    let mut log = Collected::default();
    weir.read(&mut log, |log| !log.of("audit.anchor_stuck").is_empty());
    let counted = |counter: &str| weir.metric(counter).unwrap_or(0.0);
    walks_row("anchor-stuck").holds("nothing", log.of("audit.anchor_stuck"), counted);
    let end = Instant::now() + PATIENCE;
    while counted(LEFT_OUT) < 2.0 {
        assert!(Instant::now() < end, "no checkpoint is left out");
        thread::sleep(Duration::from_millis(50));
    }
    let newest = counted(CHECKPOINTED);
    reader.read_exact(&mut [0; PIPE_BYTES]).unwrap();
    weir.read(&mut log, |log| !log.of("audit.anchor_moves").is_empty());
    assert_eq!(weir.ends().unwrap().1, Some(0));
    let mut printed = Collected::default();
    std::io::read_to_string(reader).unwrap().lines().for_each(|line| printed.take(line));
    // What was on its way when it got stuck; then the newest.
    let sizes = printed.of("audit.checkpoint").iter().map(|line| line["size"].as_f64().unwrap()).collect::<Vec<_>>();
    assert!(sizes[1] >= newest && sizes[1] - sizes[0] > 1.0, "{sizes:?}, {newest}");
}

#[test]
fn a_weir_that_cannot_start_ends_without_a_reader_and_tells_who_reads() {
    let dir = WorkDir::new().unwrap();
    let config = dir.write("weir.yaml", "version: 1\nupstream: {}\n").unwrap();
    let options = WeirOptions::new(Path::new(env!("CARGO_BIN_EXE_weir")), &config, Ready::Ports(Vec::new()));
    let refused = |(reader, writer): (PipeReader, PipeWriter)| {
        let mut command = options.command(&["serve", "--config", config.to_str().unwrap()]);
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut process = Guarded::spawn(&mut command, "weir").unwrap();
        drop(command);
        assert_eq!(process.wait(END_MARGIN).unwrap().code(), Some(78));
        reader
    };
    drop(refused(full()));
    let told = std::io::read_to_string(refused(std::io::pipe().unwrap())).unwrap();
    assert!(told.ends_with("weir does not serve with errors in its configuration\n"), "{told}");
    assert!(told.contains("`listeners`"), "every error stands above it: {told}");
}
