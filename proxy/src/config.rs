//! `weir.yaml`: its types, and how it is read.
//!
//! Reading never stops at the first mistake. Each section reports what is wrong with it, where, and what to do; a [`Config`] exists
//! only when nothing is wrong. What the product promises and this build cannot do yet is refused by name, never ignored.
//!
//! ```text
//! weir.yaml ─► weir_yaml::parse ─► sections (upstream, listeners, identity, …) ─► what concerns several sections (ports) ─► Config
//!                                     └─ files they name: JWKS, keys, policies
//! ```

mod address;
mod audit;
mod checkpoint;
mod dev;
mod effective;
mod files;
mod glob;
mod identity;
mod keys;
mod limits;
mod listeners;
mod operations;
mod policies;
mod ports;
mod retain;
mod secret;
mod seen;
mod tls;
mod unsupported;
mod upstream;

use std::path::{Path, PathBuf};

use weir_policy::{Key, KeyRing, PolicyLimits, PolicySet, Source};
use weir_yaml::{MapReader, Node, Problems};

pub(crate) use self::files::SecretFileError;
pub(crate) use self::seen::Files;
pub use address::HostPort;
pub use audit::{AuditConfig, AuditTopic, Digest, Durability};
pub use checkpoint::{Anchor, CheckpointConfig};
pub use dev::{DevIssuer, dev_issuers};
pub use effective::{Effective, is_reloaded};
pub use identity::{IdentityConfig, KeyPlace, KeySource, may_fetch};
pub use limits::{FrameBytesMax, Limits};
pub use listeners::{Listener, ListenerAuth};
pub use operations::{Admin, Log, LogFormat, LogLevel};
pub use policies::read_policy;
pub use retain::{RetainConfig, Then};
pub use secret::Secret;
pub use seen::Seen;
pub use tls::{ServerTls, TlsVersion, UpstreamTls};
pub use upstream::{NodeIds, Upstream, UpstreamAuth};

/// The whole configuration: every value is checked, every file that it names has been read.
#[derive(Debug)]
pub struct Config {
    /// Where the audit log and generated keys live.
    pub data_dir: PathBuf,
    /// The real cluster.
    pub upstream: Upstream,
    /// At least one; ports do not collide.
    pub listeners: Vec<Listener>,
    /// The issuers of tokens, and how their tokens are judged.
    pub identity: IdentityConfig,
    /// The policy files, each once, in the order of the globs and of their names.
    pub policies: Vec<Source>,
    /// The keys that policies name.
    pub keys: Vec<Key>,
    /// What is recorded, and how surely.
    pub audit: AuditConfig,
    /// Every limit.
    pub limits: Limits,
    /// Where metrics are served.
    pub admin: Admin,
    /// What is logged, and how.
    pub log: Log,
    /// All of it as text.
    pub effective: Effective,
}

/// What a configuration depends on besides its files.
pub struct Surroundings<'a> {
    /// The value of an environment variable, for `{ env: … }`.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Whether the process runs as root, which decides where `data_dir` is by default.
    pub root: bool,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Surroundings<'static> {
    /// Those of this process.
    pub fn of_process() -> Self {
        Surroundings { variable: &|name| std::env::var(name).ok(), root: files::runs_as_root() }
    }
}

/// Reads the configuration at `path` and every file that it names. `None` when there was an error; warnings alone do not prevent use.
pub fn load(path: &Path, problems: &mut Problems) -> Option<Config> {
    read(path, &Surroundings::of_process(), &Files::default(), problems).0
}

/// [`load`], and compiles the policies, also those of a configuration with errors: so that all problems are reported at once.
pub fn load_and_compile(
    path: &Path,
    surroundings: &Surroundings<'_>,
    problems: &mut Problems,
) -> Option<(Config, PolicySet)> {
    compiled(path, surroundings, &Files::default(), problems)
}

/// [`load_and_compile`], runs the policies' own tests, and gives what was read for it, also when it is wrong. This is for whoever is to
/// serve with it.
pub fn load_watched(
    path: &Path,
    surroundings: &Surroundings<'_>,
    problems: &mut Problems,
) -> (Option<(Config, PolicySet)>, Seen) {
    let files = Files::default();
    let loaded = compiled(path, surroundings, &files, problems);
    if let Some((_, policies)) = &loaded {
        run_tests(policies, problems);
    }
    (loaded, files.into_seen())
}

fn compiled(
    path: &Path,
    surroundings: &Surroundings<'_>,
    files: &Files,
    problems: &mut Problems,
) -> Option<(Config, PolicySet)> {
    let (config, input) = read(path, surroundings, files, problems);
    let policies = input.and_then(|input| input.compile(problems));
    config.zip(policies)
}

/// Runs the tests that policies carry: a policy that does not do what its author says that it does is wrong like one that cannot be read.
fn run_tests(policies: &PolicySet, problems: &mut Problems) {
    for test in policies.run_tests().into_iter().filter(|test| !test.passed) {
        let message = format!("test `{}` of the policy fails", test.name);
        problems.error(test.place, message, "see what comes out instead:  weir policy test");
    }
}

/// What policies are compiled from.
#[derive(Debug)]
struct PolicyInput {
    sources: Vec<Source>,
    /// With a placeholder for each key that could not be read, so that rules naming it are not wrong as well.
    ///
    /// INVARIANT: where there is a placeholder there is an error, so what is compiled with it is never used.
    keys: Vec<Key>,
    limits: PolicyLimits,
}

impl PolicyInput {
    fn compile(self, problems: &mut Problems) -> Option<PolicySet> {
        PolicySet::compile(&self.sources, &KeyRing::new(self.keys), &self.limits, problems)
    }
}

fn read(
    path: &Path,
    surroundings: &Surroundings<'_>,
    files: &Files,
    problems: &mut Problems,
) -> (Option<Config>, Option<PolicyInput>) {
    let name = path.display().to_string();
    let text = match files.read_text(path, weir_yaml::TEXT_BYTES_MAX) {
        Ok(text) => text,
        Err(reason) => {
            let cure = "name the configuration with  --config FILE";
            problems.error(None, format!("cannot read `{name}`: {reason}"), cure);
            return (None, None);
        }
    };
    let errors_before = problems.errors();
    let documents = weir_yaml::parse(&name, &text, problems);
    let [document] = documents.as_slice() else {
        if problems.errors() == errors_before {
            let message = format!("`{name}` must be one YAML document, it has {}", documents.len());
            problems.error(documents.get(1).map(|second| second.place.clone()), message, "");
        }
        return (None, None);
    };
    let base = path.parent().unwrap_or(Path::new(""));
    let (config, input) = Loader { base, surroundings, files }.config(document, problems);
    (config.filter(|_| problems.errors() == errors_before), input)
}

/// What the readers of sections need besides their section.
#[derive(Debug, Clone, Copy)]
struct Loader<'a> {
    /// The directory of the configuration file: relative paths start here.
    base: &'a Path,
    surroundings: &'a Surroundings<'a>,
    /// Every file is read through it, so that a change is noticed.
    files: &'a Files,
}

impl Loader<'_> {
    /// Reads every section even when one of them is wrong.
    fn config(&self, document: &Node, problems: &mut Problems) -> (Option<Config>, Option<PolicyInput>) {
        let Some(mut map) = MapReader::new(document, "the configuration", problems) else { return (None, None) };
        if let Some(version) = map.take("version") {
            version.as_u64("version", 1..=1, problems);
        }
        let data_dir = self.data_dir(map.take("data_dir"), problems);
        let upstream = map
            .required("upstream", "add  upstream: { bootstrap: [\"kafka-1.internal:9092\"] }", problems)
            .and_then(|node| upstream::read(*self, node, problems));
        let listeners = map
            .required("listeners", "add at least one: clients connect to it", problems)
            .and_then(|node| listeners::read(node, self.base, problems));
        let identity = self.identity(map.take("identity"), problems);
        let policies = map
            .required("policies", "add  policies: [\"policies/*.yaml\"]; what no policy allows is refused", problems)
            .and_then(|node| self.policies(node, problems));
        let keys = self.keys(map.take("keys"), problems);
        let audit = audit::read(self, map.take("audit"), problems);
        let limits = limits::read(map.take("limits"), problems);
        let admin = operations::read_admin(map.take("admin"), problems);
        let log = operations::read_log(map.take("log"), problems);
        map.finish(problems);

        if let (Some(listeners), Some(upstream)) = (&listeners, &upstream) {
            ports::check(listeners, upstream, admin.as_ref(), problems);
        }
        if let (Some(listeners), Some(identity)) = (&listeners, &identity) {
            listeners::check_tokens(listeners, identity, problems);
        }
        let json_depth_max = limits.as_ref().unwrap_or(&Limits::default()).json_depth_max;
        let input = policies.as_ref().map(|sources| PolicyInput {
            sources: sources.clone(),
            keys: keys.clone().unwrap_or_default(),
            limits: PolicyLimits { json_depth_max },
        });
        let config = || {
            Some(Config {
                data_dir: data_dir?,
                upstream: upstream?.upstream,
                listeners: listeners?.into_iter().map(|located| located.listener).collect(),
                identity: identity?,
                policies: policies?,
                keys: keys?,
                audit: audit?,
                limits: limits?,
                admin: admin?.admin,
                log: log?,
                effective: Effective::new(document, self.data_dir_default()),
            })
        };
        (config(), input)
    }

    fn data_dir(&self, node: Option<&Node>, problems: &mut Problems) -> Option<PathBuf> {
        match node {
            Some(node) => match node.as_str("data_dir", problems)? {
                "" => node.unexpected("data_dir", "a path", problems),
                path => Some(self.base.join(path)),
            },
            None => Some(self.base.join(self.data_dir_default())),
        }
    }

    /// Where data lives when the configuration does not say.
    fn data_dir_default(&self) -> &'static str {
        if self.surroundings.root { DATA_DIR_OF_ROOT } else { DATA_DIR }
    }
}

/// Where data lives when root starts weir and the configuration does not say.
const DATA_DIR_OF_ROOT: &str = "/var/lib/weir";
/// Where data lives when somebody else does, beside the configuration.
const DATA_DIR: &str = "weir-data";
