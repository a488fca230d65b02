//! `weir check --connect`: whether what the configuration names is there and answers.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use weir_session::Learned;
use weir_yaml::Problems;

use super::super::count;
use crate::config::{Config, HostPort, Upstream};
use crate::gateway::{Probe, fetch_keys, join};

/// What an issuer's clock is told in, and what the answer is on its way for, seconds.
const CLOCK_GRAIN_SECONDS: u64 = 2;

/// Brokers that are reached one by one; of a larger cluster the first.
const BROKERS_REACHED_MAX: usize = 50;

/// Syncs that are timed.
const SYNCS: usize = 11;

/// Above this every strict request waits longer than people expect.
const SYNC_SLOW: Duration = Duration::from_millis(20);

/// Tries everything and reports: what is there to `out`, what is wrong to `problems`.
///
/// # Errors
///
/// When `out` cannot be written, or the system gives no runtime.
pub(super) fn try_all(config: &Config, problems: &mut Problems, out: &mut impl Write) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        brokers(&config.upstream, problems, out).await?;
        for source in &config.identity.key_sources {
            match fetch_keys(source).await {
                Ok(tried) => {
                    let (issuer, bytes, clock) = (&source.issuer, tried.bytes, clock(tried.clock_ahead));
                    writeln!(out, "issuer    {issuer}   its key set is there, {bytes} bytes; {clock}")?;
                    warn_of_clock(issuer, tried.clock_ahead, config.identity.clock_skew, problems);
                }
                Err((error, cure)) => problems.error(None, format!("issuer `{}`: {error}", source.issuer), cure),
            }
        }
        Ok::<(), io::Error>(())
    })?;
    disk(&config.data_dir, problems, out)
}

/// How the clock of an issuer goes, beside this machine's.
fn clock(ahead: Option<i64>) -> String {
    match ahead {
        None => "it does not tell the time".to_owned(),
        Some(ahead) if ahead.unsigned_abs() <= CLOCK_GRAIN_SECONDS => "its clock is that of this machine".to_owned(),
        Some(ahead) if ahead > 0 => format!("its clock is {ahead} s ahead"),
        Some(ahead) => format!("its clock is {} s behind", ahead.unsigned_abs()),
    }
}

fn warn_of_clock(issuer: &str, ahead: Option<i64>, skew: Duration, problems: &mut Problems) {
    if ahead.is_some_and(|ahead| ahead.unsigned_abs() > skew.as_secs().saturating_add(CLOCK_GRAIN_SECONDS)) {
        let message = format!("issuer `{issuer}`: {}, more than `identity.clock_skew`", clock(ahead));
        let cure = "good tokens are refused as expired or not yet valid: set both clocks by the network";
        problems.warning(None, message, cure);
    }
}

async fn brokers(upstream: &Upstream, problems: &mut Problems, out: &mut impl Write) -> io::Result<()> {
    let probe = match Probe::new(upstream) {
        Ok(probe) => probe,
        Err(error) => {
            problems.error(None, error.to_string(), "");
            return Ok(());
        }
    };
    let mut cluster: Option<Learned> = None;
    for broker in &upstream.bootstrap {
        let began = Instant::now();
        match probe.ask(broker).await {
            Ok(learned) => {
                let ids = sorted(&learned);
                let (brokers, topics) = (count(ids.len(), "broker"), count(learned.topics.len(), "topic"));
                let took = began.elapsed().as_millis();
                writeln!(out, "upstream  {broker}   {brokers} ({}), {topics}, {took} ms", join(&ids))?;
                cluster = cluster.or(Some(learned));
            }
            Err(error) => problems.error(None, error.to_string(), "it is in `upstream.bootstrap`"),
        }
    }
    let Some(cluster) = cluster else { return Ok(()) };
    let hidden = upstream.node_ids.without(cluster.brokers.keys());
    if !hidden.is_empty() {
        let message = format!("clients cannot reach broker {}", join(&hidden));
        problems.warning(None, message, "it is not in `upstream.node_ids`; add it, and open its port");
    }
    let served = sorted(&cluster).into_iter().filter(|id| !hidden.contains(id)).take(BROKERS_REACHED_MAX);
    for (id, node) in served.filter_map(|id| Some((id, cluster.brokers.get(&id)?))) {
        let address = HostPort { host: node.host.clone(), port: node.port };
        match probe.reach(&address).await {
            Ok(()) => writeln!(out, "broker    {id}   {address}")?,
            Err(error) => {
                let cure = "the cluster names this address (its `advertised.listeners`), and weir must reach it";
                problems.error(None, format!("broker {id}: {error}"), cure);
            }
        }
    }
    Ok(())
}

fn sorted(learned: &Learned) -> Vec<i32> {
    let mut ids: Vec<i32> = learned.brokers.keys().copied().collect();
    ids.sort_unstable();
    ids
}

/// Times what every strict request waits for.
fn disk(data_dir: &Path, problems: &mut Problems, out: &mut impl Write) -> io::Result<()> {
    let shown = data_dir.display();
    if !data_dir.is_dir() {
        return writeln!(out, "data_dir  {shown}   not there yet; `weir serve` makes it");
    }
    match syncs(&data_dir.join(".weir-check")) {
        Ok(times) => {
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            let slowest = times.last().copied().unwrap_or_default();
            writeln!(out, "data_dir  {shown}   a sync takes {}, {} at most", ms(median), ms(slowest))?;
            if median > SYNC_SLOW {
                let cure = "a disk that syncs faster, or  audit: { durability: outcome }  where that is enough";
                problems.warning(None, format!("a sync of {shown} takes {}", ms(median)), cure);
            }
        }
        Err(error) => {
            let message = format!("cannot write in `data_dir` {shown}: {}", error.to_string().to_lowercase());
            problems.error(None, message, "weir keeps its audit log there");
        }
    }
    Ok(())
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn syncs(path: &Path) -> io::Result<Vec<Duration>> {
    let mut file = std::fs::File::create(path)?;
    let timed = (0..SYNCS).map(|_| {
        let began = Instant::now();
        file.write_all(&[0; 512])?;
        file.sync_data()?;
        Ok(began.elapsed())
    });
    let times = timed.collect::<io::Result<Vec<Duration>>>();
    std::fs::remove_file(path)?;
    let mut times = times?;
    times.sort();
    Ok(times)
}
