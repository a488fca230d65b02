//! Starts everything in order, and stops it in order.

mod banner;
mod context;
mod drain;
mod memory;
mod signing;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use weir_audit_store::{Store, StoreError};
use weir_authn::IdentityError;
use weir_session::Context;

use self::banner::banner;
pub(crate) use self::context::context;
use self::drain::{Drained, drain};
use super::broker_logins::BrokerLogins;
use super::budget::Budget;
use super::clock::Clock;
use super::cluster::Cluster;
use super::connection::{Shared, Stopping};
use super::dial::Dialer;
use super::keys::Keys;
use super::ledger::{Ledger, make_room};
use super::listener::{self, Gate, Unbound};
use super::pool::Pool;
use super::reload::{Loaded, Reloader};
use super::salting::Saltings;
use super::telemetry::{Metrics, Part, Telemetry};
use super::world::World;
use crate::admin;
use crate::config::{Config, Seen};
use crate::output;
use crate::tls::TlsStore;

/// Why weir does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The audit log cannot be opened: without it nothing is served.
    #[error("the audit log of `data_dir` {path} cannot be opened: {source}")]
    Audit {
        /// The data directory.
        path: String,
        /// What is wrong.
        source: StoreError,
    },
    /// A port is taken.
    #[error("cannot listen on {address}, {what}: {source}; stop what listens there, or change the address")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What is to be there.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The issuers contradict each other.
    #[error("identity: {0}")]
    Identity(#[from] IdentityError),
    /// A thread or the runtime did not start.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    /// The system gave no random bytes.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
    /// A certificate or a key cannot be used any more.
    #[error("{0}")]
    Tls(String),
    /// Two metrics have one name.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Stopping took too long.
    #[error("connections were cut after the drain timeout of {0:?}")]
    DrainTimeout(Duration),
}

/// Runs the gateway until SIGTERM or SIGINT. The block that says what is served goes to standard output.
///
/// # Errors
///
/// Everything that prevents serving, before the first client is let in; [`ServeError::DrainTimeout`] at the end.
pub(crate) fn serve(loaded: Loaded, metrics: Arc<Metrics>) -> Result<(), ServeError> {
    let Loaded { config, policy, path, seen } = loaded;
    let open = |source| ServeError::Audit { path: config.data_dir.display().to_string(), source };
    make_room(&config.data_dir);
    let (mut store, opened) = Store::open(&config.data_dir).map_err(open)?;
    let signing = signing::signing(&config, &mut store, &opened).map_err(open)?;
    metrics.audit.up.set(1);
    metrics.ready.block(Part::Cluster, "no broker answers");
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(threads).build()?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(ServeError::Random)?;
    let context = context(&config, policy, opened.keys.digest)?;
    let banner = banner(&config, &context, &opened, signing.signer.key().verifier(), threads);
    let (data_dir, retain) = (config.data_dir.clone(), config.audit.retain);
    let (ledger, thread) = Ledger::start((store, opened), data_dir, signing, retain, Arc::clone(&metrics), seed)?;
    let ground = Ground { ledger: ledger.clone(), metrics, threads };
    let result = runtime.block_on(run(config, (path, seen), context, ground, banner));
    // Connections are gone: what is left in the queue is written, then the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ledger.stop(thread);
    let drained = result?;
    drained.tell();
    drained.cut_after().map_or(Ok(()), |timeout| Err(ServeError::DrainTimeout(timeout)))
}

/// How long the start waits until somebody has taken the block that says what is served.
const BANNER_MAX: Duration = Duration::from_secs(1);

/// What is there before the first socket.
struct Ground {
    ledger: Ledger,
    metrics: Arc<Metrics>,
    threads: usize,
}

async fn run(
    config: Config,
    source: (PathBuf, Seen),
    context: Context,
    Ground { ledger, metrics, threads }: Ground,
    banner: String,
) -> Result<Drained, ServeError> {
    let mut signals = Signals::listen()?;
    let hangup = signal(SignalKind::hangup())?;
    let tls =
        Arc::new(TlsStore::load(&config, Arc::clone(&metrics)).map_err(|error| ServeError::Tls(error.to_string()))?);
    let bind_error = |Unbound { address, what, source }| ServeError::Bind { address, what, source };
    let mut ports = Vec::new();
    for listener in &config.listeners {
        ports.extend(listener::bind(listener, &config.upstream.node_ids, &tls).await.map_err(bind_error)?);
    }
    let (world, questions) = World::new(context);
    let dialer = Dialer::new(config.upstream.connect_timeout, tls.upstream());
    let keys = Keys::new(world.clone(), Arc::clone(&metrics), config.identity.keys_age_max);
    let identity = config.identity.build()?;
    world.update(|context| context.identity = Arc::new(keys.follow(&config.identity, identity)));
    tokio::spawn(world.clone().follow_log(ledger.recording()));
    let telemetry = Telemetry::new(Arc::clone(&metrics));
    let shared = Arc::new(Shared {
        clock: Clock::start(),
        world: world.clone(),
        ledger,
        budget: Budget::new(config.limits.memory_max),
        pool: Pool::start(threads, telemetry.clone())?,
        telemetry,
        keys,
        bootstrap: config.upstream.bootstrap.clone(),
        dialer: dialer.clone(),
        broker_logins: BrokerLogins::new(config.limits.handshakes_max, config.upstream.connect_timeout),
        saltings: Saltings::new(),
    });
    metrics.clients.listening(&config.listeners);
    metrics.clients.limited(&config.limits);
    let (node_ids, data_dir) = (config.upstream.node_ids.clone(), config.data_dir.clone());
    admin::listen(config.admin.metrics, node_ids, data_dir, Arc::clone(&metrics), Arc::clone(&shared))
        .await
        .map_err(|source| Unbound { address: config.admin.metrics, what: "`admin.metrics`".to_owned(), source })
        .map_err(bind_error)?;
    let cluster = Cluster {
        upstream: config.upstream.clone(),
        dialer,
        clock: shared.clock,
        world,
        questions,
        metrics: Arc::clone(&metrics),
    };
    tokio::spawn(cluster.run());
    tokio::spawn(Arc::clone(&tls).watch());
    let (stopping, stopped) = watch::channel(Stopping::No);
    let gate = Arc::new(Gate::new(Arc::clone(&shared), &config.limits, stopped));
    let mut doors = JoinSet::new();
    for port in ports {
        doors.spawn(Arc::clone(&gate).accept(port));
    }
    // Whoever starts weir finds it before everything else that is printed; who reads nothing holds nobody up.
    if !matches!(timeout(BANNER_MAX, output::print(banner)?).await, Ok(Ok(Ok(())))) {
        tracing::debug!(event = "banner.unread");
    }
    tracing::info!(event = "weir.serving", version = env!("CARGO_PKG_VERSION"));
    let telemetry = shared.telemetry.clone();
    let mut reloader = Reloader::new(config, source, hangup, (shared, gate, tls), Arc::clone(&metrics));
    let signal = tokio::select! {
        signal = signals.next() => signal,
        never = reloader.run() => match never {},
    };
    let drain_timeout = reloader.limits().drain_timeout;
    metrics.ready.block(Part::Process, "draining");
    tracing::info!(event = "weir.draining", signal, timeout_seconds = drain_timeout.as_secs());
    let drained = drain(&stopping, &mut doors, drain_timeout, metrics).await;
    telemetry.finish();
    Ok(drained)
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
