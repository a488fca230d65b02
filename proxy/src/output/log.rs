//! Log lines on their way to standard error. Who logs never waits: a line goes into a buffer, and a thread of its own writes it. What finds
//! the buffer full is dropped and counted, and once lines move again one of them says how many are missing.
//!
//! ```text
//! tracing ──► Lines ──► waiting (BYTES_MAX) ──► thread "log" ──► standard error
//!                └─ full: dropped, counted ───────► `log.dropped`
//! ```

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::{ATOMIC_BYTES_MAX, put};

/// Bytes of lines that wait to be written: some thousand lines. As many again may be on their way out.
const BYTES_MAX: usize = 1 << 20;

/// What the line about dropped lines may take beyond that: it is written when the buffer may be full again already.
const TOLD_BYTES_MAX: usize = 4096;

/// How long the end waits for lines that nobody takes.
const LAST_LINES_MAX: Duration = Duration::from_secs(2);

/// The log. When it is dropped, at the end of the process or in a panic, what waits is written, or given up after [`LAST_LINES_MAX`].
#[derive(Debug)]
pub(crate) struct Log(Lines);

/// Where lines are handed over; one each time that something is written.
#[derive(Clone, Debug)]
pub(crate) struct Lines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    dropped: IntCounter,
    /// Lines are written by whoever logs: the control of the proof that nobody waits.
    #[cfg(feature = "sabotage")]
    in_place: bool,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Dropped lines that no line has told of yet.
    untold: u64,
    closing: bool,
    ended: bool,
}

impl Log {
    /// Starts the thread that writes to standard error. `dropped` counts the lines that are not written.
    ///
    /// # Errors
    ///
    /// When there is no handle, or no thread.
    pub(crate) fn start(dropped: IntCounter) -> io::Result<Self> {
        let tell = |count| {
            tracing::warn!(
                event = "log.dropped",
                count,
                hint = "nobody took log lines for a while; see `weir_log_lines_dropped_total`"
            )
        };
        Self::to(super::stderr()?, dropped, tell)
    }

    /// The same to any file; `tell` says, through [`Lines`], how many lines were dropped.
    fn to(
        out: impl Write + Send + 'static,
        dropped: IntCounter,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            dropped,
            #[cfg(feature = "sabotage")]
            in_place: in_place(),
        };
        let lines = Lines(Arc::new(shared));
        let writer = Arc::clone(&lines.0);
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.write(out, tell))?;
        Ok(Self(lines))
    }

    /// Where `tracing` writes.
    pub(crate) fn lines(&self) -> Lines {
        self.0.clone()
    }

    /// A text for people, behind everything that was logged before.
    pub(crate) fn say(&self, text: &str) {
        self.0.push(format!("{text}\n").as_bytes(), BYTES_MAX + TOLD_BYTES_MAX);
    }

    /// Whether whoever logs writes lines himself, which is the case in no build that is shipped.
    pub(crate) fn is_in_place(&self) -> bool {
        #[cfg(feature = "sabotage")]
        return self.0.0.in_place;
        #[cfg(not(feature = "sabotage"))]
        false
    }

    fn finish(&self, within: Duration) {
        let shared = &self.0.0;
        let deadline = Instant::now() + within;
        let mut state = shared.lock();
        state.closing = true;
        shared.changed.notify_all();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.finish(LAST_LINES_MAX);
    }
}

impl Lines {
    /// Takes a line, or drops it.
    fn push(&self, line: &[u8], bytes_max: usize) {
        #[cfg(feature = "sabotage")]
        if self.0.in_place {
            return drop(io::stderr().write_all(line));
        }
        let mut state = self.0.lock();
        if state.waiting.len().saturating_add(line.len()) > bytes_max {
            state.untold = state.untold.saturating_add(1);
            return self.0.dropped.inc();
        }
        state.waiting.extend_from_slice(line);
        self.0.changed.notify_all();
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self, BYTES_MAX)
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Line<'a> {
        // What this module says itself.
        let room = if line.target() == module_path!() { TOLD_BYTES_MAX } else { 0 };
        Line(self, BYTES_MAX + room)
    }
}

/// Where one line goes, which `tracing` writes in one piece.
#[derive(Debug)]
pub(crate) struct Line<'a>(&'a Lines, usize);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line, self.1);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut out: impl Write, tell: impl Fn(u64)) {
        let (mut lines, mut torn) = (Vec::new(), false);
        while self.take(&mut lines) {
            let mut moved = false;
            for piece in pieces(&lines) {
                let begin: &[u8] = if torn { b"\n" } else { b"" };
                torn = put(&mut out, begin).and_then(|()| put(&mut out, piece)).is_err();
                if torn {
                    let lost = piece.split_inclusive(|byte| *byte == b'\n').count();
                    self.dropped.inc_by(lost.try_into().unwrap_or(u64::MAX));
                    self.lock().untold += lost as u64;
                }
                moved |= !torn;
            }
            if moved {
                let untold = mem::take(&mut self.lock().untold);
                if untold > 0 {
                    tell(untold);
                }
            }
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for lines and takes all that wait; false at the end.
    fn take(&self, lines: &mut Vec<u8>) -> bool {
        lines.clear();
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closing {
                return false;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        mem::swap(lines, &mut state.waiting);
        true
    }
}

/// Whole lines, as many as a pipe takes in one piece; a longer line alone.
fn pieces(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let mut end = 0;
        for line in rest.split_inclusive(|byte| *byte == b'\n') {
            if end > 0 && end + line.len() > ATOMIC_BYTES_MAX {
                break;
            }
            end += line.len();
        }
        let (piece, left) = rest.split_at_checked(end)?;
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(feature = "sabotage")]
fn in_place() -> bool {
    std::env::var_os("WEIR_SABOTAGE_LOG_IN_PLACE").is_some()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{BufRead as _, BufReader, PipeReader};
    use std::sync::mpsc;

    use super::*;

    /// Longest wait for what takes no time on an idle machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    struct Ground {
        log: Log,
        dropped: IntCounter,
        reader: PipeReader,
    }

    /// A log into a pipe that nobody reads yet.
    fn ground() -> Ground {
        let (reader, writer) = io::pipe().expect("a pipe");
        let dropped = IntCounter::new("dropped", "Dropped.").expect("a counter");
        let (hand_over, handed) = mpsc::sync_channel::<Lines>(1);
        let lines = std::sync::OnceLock::new();
        let tell = move |count| {
            let lines = lines.get_or_init(|| handed.recv().expect("the log"));
            lines.push(format!("dropped {count}\n").as_bytes(), BYTES_MAX + TOLD_BYTES_MAX);
        };
        let log = Log::to(writer, dropped.clone(), tell).expect("a log");
        hand_over.send(log.lines()).expect("the thread");
        Ground { log, dropped, reader }
    }

    fn line(number: usize) -> String {
        format!("{number:0>1023}\n")
    }

    fn until(holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "it does not come about");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn lines_are_written_in_order_and_all_of_them_before_the_end() {
        let Ground { log, dropped, reader } = ground();
        let read = thread::spawn(move || io::read_to_string(reader).expect("text"));
        for number in 0..600 {
            log.lines().make_writer().write_all(line(number).as_bytes()).expect("taken");
        }
        log.say("the last");
        drop(log);
        let expected = (0..600).map(line).collect::<String>() + "the last\n";
        assert_eq!(read.join().expect("a reader"), expected);
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn what_finds_the_buffer_full_is_counted_and_told_once_lines_move_again() {
        let Ground { log, dropped, reader } = ground();
        let written = Cell::new(0);
        let write = || {
            log.lines().make_writer().write_all(line(written.get()).as_bytes()).expect("taken");
            written.set(written.get() + 1);
        };
        // The pipe takes 64 KiB, the thread holds what it took, and then the buffer fills.
        write();
        while dropped.get() == 0 {
            write();
        }
        let full = written.get();
        assert!(full > BYTES_MAX / 1024, "{full}");
        (0..9).for_each(|_| write());
        assert_eq!(dropped.get(), 10);
        let mut lines = BufReader::new(reader).lines().map(|line| line.expect("a line") + "\n");
        for number in 0..full - 1 {
            assert_eq!(lines.next().expect("a line"), line(number));
        }
        assert_eq!(lines.next().as_deref(), Some("dropped 10\n"), "in one line, behind what was taken before");
        write();
        assert_eq!(lines.next().expect("a line"), line(written.get() - 1), "and the log goes on");
        assert_eq!(dropped.get(), 10);
    }

    #[test]
    fn a_line_of_the_size_of_the_buffer_passes_and_a_longer_one_does_not() {
        let Ground { log, dropped, reader } = ground();
        let lines = log.lines();
        let mut writer = lines.make_writer();
        let text = |bytes: usize| "x".repeat(bytes - 1) + "\n";
        let read = thread::spawn(move || io::read_to_string(reader).expect("text"));
        writer.write_all(text(BYTES_MAX + 1).as_bytes()).expect("taken");
        assert_eq!(dropped.get(), 1);
        writer.write_all(text(BYTES_MAX).as_bytes()).expect("taken");
        drop(log);
        assert_eq!(read.join().expect("a reader"), text(BYTES_MAX) + "dropped 1\n");
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_takes_nothing() {
        let Ground { log, reader, .. } = ground();
        for number in 0..200 {
            log.lines().make_writer().write_all(line(number).as_bytes()).expect("taken");
        }
        let begun = Instant::now();
        drop(log);
        assert!(begun.elapsed() >= LAST_LINES_MAX, "lines were left");
        drop(reader);
    }

    #[test]
    fn a_reader_that_is_gone_costs_lines_and_nothing_else() {
        let Ground { log, dropped, reader } = ground();
        drop(reader);
        for number in 1..=3 {
            log.lines().make_writer().write_all(b"nobody reads this\n").expect("taken");
            until(|| dropped.get() == number);
        }
    }

    /// Refuses what is written while it is told to, after some bytes.
    struct Failing(Arc<Mutex<Vec<u8>>>, u32);

    impl Write for Failing {
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

    #[test]
    fn behind_a_torn_line_the_next_begins_anew() {
        let (text, dropped) = (Arc::new(Mutex::default()), IntCounter::new("dropped", "Dropped.").expect("a counter"));
        let log = Log::to(Failing(Arc::clone(&text), 0), dropped.clone(), |_| ()).expect("a log");
        log.say("torn in two");
        until(|| dropped.get() == 1);
        log.say("whole");
        drop(log);
        assert_eq!(*text.lock().expect("a lock"), b"torn\nwhole\n");
    }

    #[test]
    fn pieces_are_whole_lines_that_a_pipe_takes_at_once() {
        let check = |lines: &[usize], expected: &[usize]| {
            let text = lines.iter().map(|bytes| "x".repeat(bytes - 1) + "\n").collect::<String>();
            assert_eq!(pieces(text.as_bytes()).map(<[u8]>::len).collect::<Vec<_>>(), expected);
        };
        check(&[], &[]);
        check(&[2048, 2048, 1], &[4096, 1]);
        check(&[2048, 2049, 2047], &[2048, 4096]);
        check(&[1, 9000, 1], &[1, 9000, 1]);
    }
}
