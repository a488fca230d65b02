//! Standard output that is slow, stuck, torn and gone.

use std::io::{BufRead as _, BufReader, Lines as ReadLines, PipeReader};
use std::thread;

use super::*;

/// Longest wait for what takes no time on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A line that a pipe takes sixteen of.
fn line(number: usize) -> String {
    format!("{number:0>4095}\n")
}

struct Ground {
    lines: Arc<Lines>,
    metrics: Arc<Metrics>,
}

impl Ground {
    fn start(out: impl Write + Send + 'static) -> Self {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        Self { lines: Lines::start(out, Arc::clone(&metrics)).expect("a thread"), metrics }
    }

    /// One whose pipe is full: the thread waits with line 16, and nothing else waits.
    fn full() -> (Self, ReadLines<BufReader<PipeReader>>) {
        let (reader, writer) = io::pipe().expect("a pipe");
        let ground = Self::start(writer);
        let sixteen = 64 * 1024 / line(0).len();
        for number in 0..=sixteen {
            ground.push(number);
            ground.until(|state| state.waiting.is_empty());
        }
        ground.until(|state| state.writing.is_some());
        (ground, BufReader::new(reader).lines())
    }

    fn push(&self, number: usize) {
        self.lines.push(line(number), Instant::now());
    }

    /// The same, so much later.
    fn push_later(&self, number: usize, later: Duration) {
        let since = self.lines.lock().writing.expect("a line is being written");
        self.lines.push(line(number), since + later);
    }

    fn until(&self, holds: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.lines.lock()) {
            assert!(Instant::now() < deadline, "it does not come about");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn left_out(&self) -> u64 {
        self.metrics.audit.anchor_lines_dropped.get()
    }

    fn is_stuck(&self) -> bool {
        self.metrics.audit.anchor_stuck.get() == 1
    }
}

fn read(lines: &mut ReadLines<BufReader<PipeReader>>, count: usize) -> Vec<usize> {
    lines.take(count).map(|line| line.expect("a line").parse().expect("a number")).collect()
}

#[test]
fn when_lines_move_again_the_newest_is_the_next() {
    let (ground, mut reader) = Ground::full();
    ground.push_later(17, STUCK_AFTER - Duration::from_nanos(1));
    ground.push_later(18, STUCK_AFTER - Duration::from_nanos(1));
    assert!(!ground.is_stuck() && ground.left_out() == 0, "slow is not stuck");
    ground.push_later(19, STUCK_AFTER);
    assert!(ground.is_stuck());
    ground.push_later(20, Duration::ZERO);
    assert_eq!(ground.left_out(), 3, "17, 18 and 19: what 20 says covers them");
    let mut expected = (0..=16).collect::<Vec<_>>();
    expected.push(20);
    assert_eq!(read(&mut reader, 18), expected);
    ground.until(|state| !state.stuck);
    let deadline = Instant::now() + PATIENCE;
    while ground.is_stuck() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!ground.is_stuck(), "and is not stuck any more");
    ground.push(21);
    assert_eq!((read(&mut reader, 1), ground.left_out()), (vec![21], 3));
}

#[test]
fn so_many_lines_wait_and_the_next_takes_their_place() {
    let (ground, mut reader) = Ground::full();
    for number in 0..LINES_MAX {
        ground.push(100 + number);
    }
    assert_eq!((ground.lines.lock().waiting.len(), ground.left_out()), (LINES_MAX, 0));
    ground.push(200);
    assert_eq!((ground.lines.lock().waiting.len(), ground.left_out()), (1, LINES_MAX as u64));
    assert_eq!(read(&mut reader, 18).last(), Some(&200));
}

#[test]
fn the_end_waits_for_the_last_line_and_not_for_ever() {
    let (ground, mut reader) = Ground::full();
    ground.push(17);
    let finishing = Arc::clone(&ground.lines);
    let finish = thread::spawn(move || finishing.finish(PATIENCE));
    assert_eq!(read(&mut reader, 18).last(), Some(&17));
    finish.join().expect("an end");
    assert!(ground.lines.lock().ended);

    let (stuck, _reader) = Ground::full();
    stuck.push(17);
    stuck.lines.finish(Duration::from_millis(20));
    assert!(!stuck.lines.lock().ended);
}

/// Takes four bytes of the first line, then fails once.
struct Torn(Arc<Mutex<Vec<u8>>>, u32);

impl Write for Torn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 += 1;
        match self.1 {
            1 => self.0.lock().expect("a lock").write(bytes.get(..4).unwrap_or(bytes)),
            2 => Err(io::ErrorKind::StorageFull.into()),
            _ => self.0.lock().expect("a lock").write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A collector reads lines: half of one must not spoil the next.
#[test]
fn behind_a_torn_line_the_next_begins_anew() {
    let text = Arc::new(Mutex::default());
    let ground = Ground::start(Torn(Arc::clone(&text), 0));
    let now = Instant::now();
    ground.lines.push("{\"torn\":1}\n".to_owned(), now);
    ground.until(|state| state.stuck);
    assert_eq!(ground.left_out(), 1);
    ground.lines.push("{\"whole\":2}\n".to_owned(), now);
    ground.until(|state| !state.stuck && state.waiting.is_empty());
    ground.lines.push("{\"whole\":3}\n".to_owned(), now);
    ground.lines.finish(PATIENCE);
    assert_eq!(*text.lock().expect("a lock"), b"{\"to\n{\"whole\":2}\n{\"whole\":3}\n");
    assert!(!ground.is_stuck());
}

#[test]
fn a_reader_that_is_gone_is_told_of() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let ground = Ground::start(writer);
    for number in 0..2 {
        ground.push(number);
        ground.until(|state| state.stuck && state.waiting.is_empty() && state.writing.is_none());
        assert_eq!(ground.left_out(), number as u64 + 1);
    }
    let deadline = Instant::now() + PATIENCE;
    while !ground.is_stuck() {
        assert!(Instant::now() < deadline);
    }
}
