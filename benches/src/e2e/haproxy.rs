//! HAProxy as a process of its own.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use weir_testkit::{Error, Guarded, Usage, WorkDir};

/// HAProxy in TCP mode with one thread, from one port to one broker.
#[derive(Debug)]
pub struct HaProxy {
    process: Guarded,
    _dir: WorkDir,
}

/// How long it may take until its port answers.
const READY_WITHIN: Duration = Duration::from_secs(10);

impl HaProxy {
    /// Starts it, with `pinned` (such as `taskset -c 1`) in front.
    ///
    /// # Errors
    /// When it is not installed or its port does not answer.
    pub fn start(pinned: &[String], listen: SocketAddr, broker: &str) -> Result<Self, Error> {
        let dir = WorkDir::new()?;
        let config = dir.write(
            "haproxy.cfg",
            format!(
                "global\n  nbthread 1\n  maxconn 1000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
                 listen kafka\n  bind {listen}\n  server broker {broker}\n"
            ),
        )?;
        let mut words = pinned.iter().map(String::as_str).chain(["haproxy", "-db", "-f"]);
        let mut command = Command::new(words.next().unwrap_or("haproxy"));
        command.args(words).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Guarded::spawn(&mut command, "haproxy")?;
        let started = Instant::now();
        while std::net::TcpStream::connect(listen).is_err() {
            let gone = process.ended()?.is_some();
            if gone || started.elapsed() > READY_WITHIN {
                let cure = "install the package haproxy; `./justw bench-e2e` does".to_owned();
                return Err(Error::Missing { what: "a running haproxy".into(), cure });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { process, _dir: dir })
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it is gone.
    pub fn usage(&self) -> Result<Usage, Error> {
        Usage::of(self.process.pid())
    }

    /// The first line of what it says about itself.
    #[must_use]
    pub fn version() -> String {
        let said = Command::new("haproxy").arg("-v").output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&said).lines().next().unwrap_or("haproxy of an unknown version").to_owned()
    }

    /// The processor's name, as the kernel tells it.
    #[must_use]
    pub fn processor() -> String {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("model name"));
        line.map_or_else(|| "unknown".to_owned(), |name| name.trim_start_matches([' ', '\t', ':']).to_owned())
    }
}
