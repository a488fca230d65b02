use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::child::{self, Guarded};
use crate::netns::Namespace;
use crate::{Error, Finished};

/// The built `weir` binary as a process of its own, serving one configuration.
///
/// ```no_run
/// # use weir_testkit::{Ready, WeirOptions, WeirProcess};
/// # let (config, bootstrap) = (std::path::Path::new("weir.yaml"), "127.0.0.1:9192".parse().unwrap());
/// let binary = std::path::Path::new("target/debug/weir"); // in proxy/tests: env!("CARGO_BIN_EXE_weir")
/// let mut weir = WeirProcess::start(WeirOptions::new(binary, config, Ready::Ports(vec![bootstrap])))?;
/// weir.kill()?; // a crash
/// weir.start_again()?;
/// assert!(weir.usage()?.rss_bytes < 192 << 20);
/// assert!(weir.stop()?.success());
/// # Ok::<(), weir_testkit::Error>(())
/// ```
#[derive(Debug)]
pub struct WeirProcess {
    options: WeirOptions,
    process: Option<Guarded>,
    ready_after: Duration,
}

/// How a [`WeirProcess`] is started.
#[derive(Debug, Clone)]
pub struct WeirOptions {
    /// The program.
    pub binary: PathBuf,
    /// Its `weir.yaml`; it runs in that file's folder and its output goes to `weir.stdout` and `weir.stderr` there.
    pub config: PathBuf,
    /// How to see that it serves.
    pub ready: Ready,
    /// The network namespace that it runs in; none is the test's own.
    pub namespace: Option<Namespace>,
    /// Environment variables to add.
    pub env: Vec<(String, String)>,
    /// Program and arguments to put in front, such as `strace` or `fiu-run` with theirs.
    pub wrapper: Vec<String>,
    /// How long it may take to get ready, and to stop.
    pub within: Duration,
}

/// How to see that a process serves.
#[derive(Debug, Clone)]
pub enum Ready {
    /// Each of these ports accepts a connection.
    Ports(Vec<SocketAddr>),
    /// `GET /readyz` there answers 200.
    Readyz(SocketAddr),
}

/// What a process has used so far, from `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory now, bytes.
    pub rss_bytes: u64,
    /// The most resident memory there ever was, bytes.
    pub rss_bytes_max: u64,
    /// Processor time in user and kernel mode; the kernel counts in 10 ms steps.
    pub cpu: Duration,
    /// Open file descriptors.
    pub files: usize,
    /// Threads.
    pub threads: usize,
}

impl WeirOptions {
    /// Runs `binary serve --config config` in the test's own network.
    #[must_use]
    pub fn new(binary: &Path, config: &Path, ready: Ready) -> Self {
        Self {
            binary: binary.to_owned(),
            config: config.to_owned(),
            ready,
            namespace: None,
            env: Vec::new(),
            wrapper: Vec::new(),
            within: Duration::from_secs(60),
        }
    }

    /// Runs it inside a network namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    fn dir(&self) -> &Path {
        self.config.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// The command for `weir` with other arguments (`check`, `audit query`), in the same folder and namespace.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.wrapper.iter().map(OsStr::new).chain([self.binary.as_os_str()]);
        let program = words.next().unwrap_or(self.binary.as_os_str());
        let mut command = match &self.namespace {
            Some(namespace) => namespace.command(program),
            None => Command::new(program),
        };
        command.args(words).args(arguments);
        command.current_dir(self.dir()).envs(self.env.iter().cloned());
        command
    }

    /// Runs `weir` with other arguments to its end.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time.
    pub fn run(&self, arguments: &[&str]) -> Result<Finished, Error> {
        child::run(&mut self.command(arguments), &format!("weir {}", arguments.join(" ")), &[], self.within)
    }
}

impl WeirProcess {
    /// Starts it and returns when it is ready.
    ///
    /// # Errors
    /// When it ends or does not get ready in time, with the end of what it printed.
    pub fn start(options: WeirOptions) -> Result<Self, Error> {
        let mut weir = Self { options, process: None, ready_after: Duration::ZERO };
        weir.start_again()?;
        Ok(weir)
    }

    /// Starts it again after [`WeirProcess::stop`] or [`WeirProcess::kill`]. Output is appended. Does nothing while it
    /// runs.
    ///
    /// # Errors
    /// As [`WeirProcess::start`].
    pub fn start_again(&mut self) -> Result<(), Error> {
        if self.process.is_some() {
            return Ok(());
        }
        let append = |path: PathBuf| {
            let opened = File::options().create(true).append(true).open(&path);
            opened.map_err(Error::io(format!("open {}", path.display())))
        };
        let config = self.options.config.display().to_string();
        let mut command = self.options.command(&["serve", "--config", &config]);
        command.stdin(Stdio::null());
        command.stdout(append(self.stdout_file())?).stderr(append(self.stderr_file())?);
        let started = Instant::now();
        let mut process = Guarded::spawn(&mut command, "weir")?;
        while !self.is_ready()? {
            if let Some(status) = process.ended()? {
                return Err(Error::Command { what: "weir serve".into(), status, output: self.tail() });
            }
            if started.elapsed() >= self.options.within {
                let what = "weir did not get ready".into();
                return Err(Error::TimedOut { what, within: self.options.within, log: self.tail() });
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.ready_after = started.elapsed();
        self.process = Some(process);
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// When it does not run, or does not end in time: then it is killed, and the end of what it printed is in the error.
    pub fn stop(&mut self) -> Result<ExitStatus, Error> {
        let ended = self.process.take().map(|mut process| process.terminate(self.options.within));
        match ended {
            Some(Err(Error::TimedOut { what, within, .. })) => Err(Error::TimedOut { what, within, log: self.tail() }),
            Some(ended) => ended,
            None => Err(not_running()),
        }
    }

    /// Kills it (SIGKILL), as a crash does.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        self.process.take().ok_or_else(not_running)?.kill()
    }

    /// Freezes it (SIGSTOP) or lets it go on.
    pub fn pause(&self, frozen: bool) {
        if let Some(process) = &self.process {
            process.pause(frozen);
        }
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Guarded::pid)
    }

    /// Whether it has ended by itself, and how.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.process.as_mut().map_or(Ok(None), Guarded::ended)
    }

    /// How long the last start took until ready.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Memory, processor time, files and threads of the running process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn usage(&self) -> Result<Usage, Error> {
        Usage::of(self.pid().ok_or_else(not_running)?)
    }

    /// The options it was started with, to run other verbs of the same binary beside it.
    #[must_use]
    pub fn options(&self) -> &WeirOptions {
        &self.options
    }

    /// What it wrote to standard output, of all its runs.
    #[must_use]
    pub fn stdout_file(&self) -> PathBuf {
        self.options.dir().join("weir.stdout")
    }

    /// What it wrote to standard error, of all its runs.
    #[must_use]
    pub fn stderr_file(&self) -> PathBuf {
        self.options.dir().join("weir.stderr")
    }

    /// Both outputs as one text, with every line that it logged until now.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn output(&self) -> Result<String, Error> {
        self.settle_log();
        let read = |path: PathBuf| fs::read(&path).map_err(Error::io(format!("read {}", path.display())));
        let bytes = [read(self.stdout_file())?, read(self.stderr_file())?].concat();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns when what it logged until now is in its file; see [`settle_log`].
    pub fn settle_log(&self) {
        if let Some(pid) = self.pid() {
            settle_log(pid);
        }
    }

    fn tail(&self) -> String {
        child::tail_of(&self.stdout_file()) + &child::tail_of(&self.stderr_file())
    }

    fn is_ready(&self) -> Result<bool, Error> {
        match &self.options.namespace {
            Some(namespace) => namespace.run(|| self.options.ready.holds()),
            None => Ok(self.options.ready.holds()),
        }
    }
}

impl Ready {
    fn holds(&self) -> bool {
        match self {
            Self::Ports(addresses) => addresses.iter().all(|address| connect(*address).is_ok()),
            Self::Readyz(address) => readyz(*address).unwrap_or(false),
        }
    }
}

impl Usage {
    /// Reads `/proc/PID`.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> Result<Self, Error> {
        let path = format!("/proc/{pid}");
        let read =
            |name: &str| fs::read_to_string(format!("{path}/{name}")).map_err(Error::io(format!("read {path}/{name}")));
        let (status, stat) = (read("status")?, read("stat")?);
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        // The name in parentheses may hold spaces; user and system time are the 12th and 13th field after it.
        let times = stat.rsplit(')').next().unwrap_or("").split_ascii_whitespace().skip(11).take(2);
        let ticks: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
        let files = fs::read_dir(format!("{path}/fd")).map_err(Error::io(format!("list {path}/fd")))?.count();
        Ok(Self {
            rss_bytes: field("VmRSS:") * 1024,
            rss_bytes_max: field("VmHWM:") * 1024,
            cpu: Duration::from_millis(ticks * MILLIS_PER_TICK),
            files,
            threads: usize::try_from(field("Threads:")).unwrap_or(usize::MAX),
        })
    }
}

/// Returns when what the weir with this process id logged until now is in its file, which a thread of its own sees to: when that thread
/// has nothing to do. Gives up after some seconds, for a file that takes nothing.
pub fn settle_log(pid: u32) {
    let deadline = Instant::now() + LOG_SETTLED_WITHIN;
    let mut looks = 0;
    while looks < LOG_LOOKS && Instant::now() < deadline {
        // Once alone may be a wait for the lock of the lines.
        looks = if thread_sleeps(pid, "log").unwrap_or(true) { looks + 1 } else { 0 };
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the thread of this name waits for something to do; `None` without such a thread.
fn thread_sleeps(pid: u32, name: &str) -> Option<bool> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    let named = format!("({name}) ");
    stats.into_iter().find_map(|stat| Some(stat.split_once(&named)?.1.starts_with('S')))
}

const LOG_SETTLED_WITHIN: Duration = Duration::from_secs(5);
/// Looks in a row at which the log must be found written.
const LOG_LOOKS: usize = 2;

/// `USER_HZ` is 100 on every Linux.
const MILLIS_PER_TICK: u64 = 10;

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, Duration::from_secs(1))
}

fn readyz(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.starts_with(b"HTTP/1.1 200"))
}

fn not_running() -> Error {
    Error::Missing { what: "a running weir".into(), cure: "start it first".into() }
}

#[cfg(test)]
mod tests {
    use super::Usage;

    #[test]
    fn reads_its_own_usage() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_bytes > 1 << 20 && usage.rss_bytes_max >= usage.rss_bytes, "{usage:?}");
        assert!(usage.threads >= 2 && usage.files >= 3, "{usage:?}");
    }

    #[test]
    fn names_a_process_that_is_gone() {
        assert!(Usage::of(u32::MAX).unwrap_err().to_string().starts_with("read /proc/"));
    }
}
