use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, process, thread};

use nix::sched::{CloneFlags, setns};
use nix::unistd::Uid;

use crate::{Error, child};

/// Three network namespaces in a row. Clients reach weir, weir reaches the broker, and there is no other way:
///
/// ```text
///  clients                       weir                          broker
///  10.77.1.2 ─────── 10.77.1.1    │    10.77.2.1 ─────── 10.77.2.2
///                                 └─ forwards nothing
/// ```
///
/// Needs root and `ip` (package `iproute2`). Dropping it deletes the namespaces; stop what runs inside first.
///
/// ```no_run
/// # use weir_testkit::{Kafka, KafkaOptions, Network};
/// let network = Network::create()?;
/// let kafka = Kafka::start(KafkaOptions::default().in_namespace(network.broker(), Network::BROKER_ADDRESS))?;
/// // weir: WeirOptions { namespace: Some(network.weir().clone()), .. }, binding Network::WEIR_ADDRESS
/// let answer = network.clients().run(|| std::net::TcpStream::connect((Network::WEIR_ADDRESS, 9192)))?;
/// # Ok::<(), weir_testkit::Error>(())
/// ```
#[derive(Debug)]
pub struct Network {
    clients: Namespace,
    weir: Namespace,
    broker: Namespace,
}

/// A network namespace by name; a handle, not its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Network {
    /// Where clients come from.
    pub const CLIENT_ADDRESS: &str = "10.77.1.2";
    /// Where weir listens for clients.
    pub const WEIR_ADDRESS: &str = "10.77.1.1";
    /// Where weir's connections to the broker come from.
    pub const UPSTREAM_ADDRESS: &str = "10.77.2.1";
    /// Where the broker listens.
    pub const BROKER_ADDRESS: &str = "10.77.2.2";

    /// Creates the namespaces and the two links between them.
    ///
    /// # Errors
    /// When this is not root, `ip` is missing, or the kernel refuses.
    pub fn create() -> Result<Self, Error> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        if !Uid::effective().is_root() {
            return Err(Error::Missing {
                what: "the right to make network namespaces".into(),
                cure: "run this test as root".into(),
            });
        }
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = |part: &str| Namespace { name: format!("weir-{}-{serial}-{part}", process::id()) };
        // Owned from here on, so that a failure below removes what was made.
        let network = Self { clients: name("clients"), weir: name("weir"), broker: name("broker") };
        for namespace in [&network.clients, &network.weir, &network.broker] {
            ip(&["netns", "add", &namespace.name])?;
            namespace.ip(&["link", "set", "lo", "up"])?;
        }
        link((&network.clients, "weir0", Self::CLIENT_ADDRESS), (&network.weir, "clients0", Self::WEIR_ADDRESS))?;
        link((&network.weir, "broker0", Self::UPSTREAM_ADDRESS), (&network.broker, "weir0", Self::BROKER_ADDRESS))?;
        network.forward(false)?;
        Ok(network)
    }

    /// The clients' side.
    #[must_use]
    pub fn clients(&self) -> &Namespace {
        &self.clients
    }

    /// Where weir runs.
    #[must_use]
    pub fn weir(&self) -> &Namespace {
        &self.weir
    }

    /// The broker's side.
    #[must_use]
    pub fn broker(&self) -> &Namespace {
        &self.broker
    }

    /// The negative control: opens a way past weir, straight to the broker.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open_bypass(&self) -> Result<(), Error> {
        self.clients.ip(&["route", "add", "10.77.2.0/24", "via", Self::WEIR_ADDRESS])?;
        self.broker.ip(&["route", "add", "10.77.1.0/24", "via", Self::UPSTREAM_ADDRESS])?;
        self.forward(true)
    }

    fn forward(&self, on: bool) -> Result<(), Error> {
        let path = "/proc/sys/net/ipv4/ip_forward";
        self.weir.run(|| fs::write(path, if on { "1" } else { "0" }))?.map_err(Error::io(format!("write {path}")))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in [&self.clients, &self.weir, &self.broker] {
            // Fails only for what was never made.
            drop(ip(&["netns", "del", &namespace.name]));
        }
    }
}

impl Namespace {
    /// The name that `ip netns` knows it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs `program` inside. `ip` replaces itself by the program, so the process id is the program's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `work` on a thread that is inside. Threads that it starts (those of a Kafka client) stay inside too.
    ///
    /// # Errors
    /// When the namespace is gone or may not be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let path = Path::new("/run/netns").join(&self.name);
        let file = File::open(&path).map_err(Error::io(format!("open {}", path.display())))?;
        let done = thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET)?;
                Ok::<T, nix::Error>(work())
            });
            inside.join()
        });
        match done {
            Ok(result) => {
                result.map_err(|errno| Error::Io { what: format!("enter {}", self.name), source: errno.into() })
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn ip(&self, arguments: &[&str]) -> Result<(), Error> {
        ip(&[&["-n", self.name.as_str()], arguments].concat())
    }
}

/// A pair of virtual interfaces; each end is (namespace, interface, address).
fn link(a: (&Namespace, &str, &str), b: (&Namespace, &str, &str)) -> Result<(), Error> {
    let peer = ["peer", "name", b.1, "netns", &b.0.name];
    a.0.ip(&[&["link", "add", a.1, "type", "veth"], peer.as_slice()].concat())?;
    for (namespace, interface, address) in [a, b] {
        namespace.ip(&["address", "add", &format!("{address}/24"), "dev", interface])?;
        namespace.ip(&["link", "set", interface, "up"])?;
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<(), Error> {
    let what = format!("ip {}", arguments.join(" "));
    let run = child::run(Command::new("ip").args(arguments), &what, &[], Duration::from_secs(30));
    match run {
        Err(Error::Missing { what, .. }) => {
            Err(Error::Missing { what, cure: "on Debian: apt-get install iproute2".into() })
        }
        run => run?.success(&what).map(|_| ()),
    }
}
