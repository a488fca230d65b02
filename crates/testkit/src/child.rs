use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::Error;

/// A child process, in a process group of its own, that ends with its owner.
///
/// Dropping it kills the group. A small guardian process does the same when the owner ends without dropping (a `static`,
/// an abort, `kill -9`): it reads from a pipe that only this process holds and acts when the pipe closes.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    guardian: Child,
    what: String,
}

impl Guarded {
    /// Starts `command`; `what` names it in errors.
    ///
    /// # Errors
    /// When the program, or `sh` for its guardian, cannot be started.
    pub fn spawn(command: &mut Command, what: &str) -> Result<Self, Error> {
        Self::spawn_in(command, what, None)
    }

    /// [`Guarded::spawn`] of a process that works in a temporary folder: when the owner ends without dropping, the
    /// guardian removes that too.
    pub(crate) fn spawn_in(command: &mut Command, what: &str, folder: Option<&Path>) -> Result<Self, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "weir-testkit-guardian"])
            .args(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Error::spawn("sh", "install it"))?;
        let child = match command.process_group(0).spawn() {
            Ok(child) => child,
            Err(error) => {
                end(&mut guardian);
                return Err(Error::spawn(&program, "install it")(error));
            }
        };
        // The guardian's end of this pipe must close with the owner, so the handle stays in `guardian`.
        let told = guardian.stdin.as_mut().map(|pipe| writeln!(pipe, "{}", child.id()));
        let guarded = Self { child, guardian, what: what.to_owned() };
        told.transpose().map_err(Error::io("speak to the guardian"))?;
        Ok(guarded)
    }

    /// The process id, which is also the id of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(Error::io(format!("ask for the state of {}", self.what)))
    }

    /// Asks it to stop (SIGTERM) and waits.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when it is still there after `within`; it is left running.
    pub fn terminate(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        signal_group(&self.child, Signal::SIGTERM);
        self.wait(within)
    }

    /// Kills it (SIGKILL), with everything in its group, and waits.
    ///
    /// # Errors
    /// When the operating system does not say how it ended.
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        signal_group(&self.child, Signal::SIGKILL);
        self.child.wait().map_err(Error::io(format!("wait for {}", self.what)))
    }

    /// Freezes (SIGSTOP) or thaws (SIGCONT) the whole group. Returns when every thread of it stands still: a signal takes its time, and
    /// a broker that was just told to stop still answers.
    pub fn pause(&self, frozen: bool) {
        if !frozen {
            return signal_group(&self.child, Signal::SIGCONT);
        }
        signal_group(&self.child, Signal::SIGSTOP);
        let deadline = Instant::now() + FREEZE_TIMEOUT;
        while !is_frozen(self.child.id()) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when it has not ended after `within`.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(Error::TimedOut { what: format!("{} did not end", self.what), within, log: String::new() });
            }
            thread::sleep(POLL);
        }
    }
}

/// How long a group may take to stand still.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether no thread of any process in the group can run.
fn is_frozen(group: u32) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let members = processes.filter(|process| stat_field(process, PROCESS_GROUP) == Some(group.to_string()));
    members.flat_map(|process| fs::read_dir(process.join("task")).into_iter().flatten().flatten()).all(|thread| {
        // Stopped, or dead and not waited for.
        matches!(stat_field(&thread.path(), STATE).as_deref(), None | Some("T" | "Z" | "X"))
    })
}

/// Places in `/proc/PID/stat` behind the name (proc(5)).
const STATE: usize = 0;
const PROCESS_GROUP: usize = 2;

/// One field of a process's or thread's `stat`, counted behind the name, which may have blanks.
fn stat_field(folder: &Path, at: usize) -> Option<String> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(at).map(str::to_owned)
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The guardian goes first: its target's process id must not be free for reuse while it can still act.
        end(&mut self.guardian);
        // An error means that the process is gone already.
        drop(self.kill());
    }
}

/// How a command ended and what it printed.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// Itself, if it ended with success.
    ///
    /// # Errors
    /// [`Error::Command`] with the end of its output otherwise.
    pub fn success(self, what: &str) -> Result<Self, Error> {
        if self.status.success() {
            return Ok(self);
        }
        let output = format!("{}{}", tail(&self.stdout), tail(&self.stderr));
        Err(Error::Command { what: what.to_owned(), status: self.status, output })
    }
}

/// Runs a command to its end, feeding it `input`; kills it after `within`.
pub(crate) fn run(command: &mut Command, what: &str, input: &[u8], within: Duration) -> Result<Finished, Error> {
    let temporary = || tempfile::tempfile().map_err(Error::io("make a temporary file"));
    let (mut stdin, mut stdout, mut stderr) = (temporary()?, temporary()?, temporary()?);
    let handle = |file: &File| file.try_clone().map_err(Error::io("duplicate a file handle"));
    stdin
        .write_all(input)
        .and_then(|()| stdin.seek(SeekFrom::Start(0)))
        .map_err(Error::io("write a temporary file"))?;
    command.stdin(stdin).stdout(handle(&stdout)?).stderr(handle(&stderr)?);
    let mut guarded = Guarded::spawn(command, what)?;
    let status = guarded.wait(within);
    let text = |file: &mut File| {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.read_to_end(&mut bytes))
            .map_err(Error::io("read a temporary file"))?;
        Ok::<_, Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (stdout, stderr) = (text(&mut stdout)?, text(&mut stderr)?);
    match status {
        Ok(status) => Ok(Finished { status, stdout, stderr }),
        Err(Error::TimedOut { what, within, .. }) => {
            Err(Error::TimedOut { what, within, log: format!("{}{}", tail(&stdout), tail(&stderr)) })
        }
        Err(error) => Err(error),
    }
}

/// The last lines of a text, for error messages.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.iter().skip(from).map(|line| format!("  | {line}\n")).collect()
}

/// [`tail`] of a file; a note in its place when the file cannot be read.
pub(crate) fn tail_of(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => tail(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("  | {}: {error}\n", path.display()),
    }
}

/// Between two looks at something that is waited for.
pub(crate) const POLL: Duration = Duration::from_millis(25);

const TAIL_LINES: usize = 40;
/// Reads the process group to kill, then waits for the end of the pipe; $1 is the folder to remove, if there is one.
const GUARDIAN: &str = r#"
trap '' INT TERM HUP
read -r group || exit 0
read -r _
kill -9 "-$group"
[ $# -lt 1 ] || { sleep 0.2; rm -rf -- "$1"; }
"#;

/// Kills a guardian; an error means that it is gone already.
fn end(guardian: &mut Child) {
    drop(guardian.kill());
    drop(guardian.wait());
}

fn signal_group(child: &Child, signal: Signal) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // The one possible error is that the group is gone.
        killpg(Pid::from_raw(pid), signal).ok();
    }
}
