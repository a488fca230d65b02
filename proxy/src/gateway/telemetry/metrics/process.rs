//! The process itself, as it is when it is looked at.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::statvfs::statvfs;
use nix::sys::time::TimeValLike;
use prometheus::{Counter, Gauge, IntCounter, IntGauge, IntGaugeVec};

use super::Maker;

/// The process itself.
#[derive(Debug)]
pub(crate) struct ProcessMetrics {
    memory_held: IntGauge,
    policy: IntGaugeVec,
    /// The digest that has a series now.
    policy_now: Mutex<Option<String>>,
    disk_free: Gauge,
    disk_size: Gauge,
    cpu: Counter,
    memory: Gauge,
    files: Gauge,
    files_max: Gauge,
    pub(crate) log_lines_dropped: IntCounter,
    pub(crate) panics: IntCounter,
}

impl ProcessMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let build = maker.gauges("weir_build_info", "1; the label says which weir this is.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let started = maker.number("process_start_time_seconds", "Start of the process, in seconds since 1970.")?;
        started.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        Ok(Self {
            memory_held: maker.gauge("weir_frame_bytes_held", "Frame bytes that all sessions hold.")?,
            policy: maker.gauges(
                "weir_policy_info",
                "1; the label is the digest of the policies in force.",
                &["digest"],
            )?,
            policy_now: Mutex::default(),
            disk_free: maker.number(
                "weir_data_dir_free_bytes",
                "Bytes that weir may still write in the file system of `data_dir`; 0 also when that cannot be told.",
            )?,
            disk_size: maker.number("weir_data_dir_size_bytes", "Size of the file system of `data_dir`.")?,
            cpu: maker.register(Counter::new("process_cpu_seconds_total", "CPU time, user and system.")?)?,
            memory: maker.number("process_resident_memory_bytes", "Memory that the process has.")?,
            files: maker.number("process_open_fds", "File descriptors that are open.")?,
            files_max: maker.number("process_max_fds", "File descriptors that may be open.")?,
            log_lines_dropped: maker.counter(
                "weir_log_lines_dropped_total",
                "Log lines that were not written because nobody took the lines before them.",
            )?,
            panics: maker.counter("weir_panics_total", "Panics, each a defect of weir.")?,
        })
    }

    /// Looks at everything that nobody reports.
    pub(crate) fn look(&self, data_dir: &Path, frame_bytes_held: usize, policy_digest: [u8; 32]) {
        self.memory_held.set(i64::try_from(frame_bytes_held).unwrap_or(i64::MAX));
        self.look_at_policy(policy_digest);
        let (free, size) = disk(data_dir).unwrap_or_default();
        self.disk_free.set(free);
        self.disk_size.set(size);
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let micros = usage.user_time().num_microseconds().saturating_add(usage.system_time().num_microseconds());
            let seconds = std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64();
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        if let Some(bytes) = resident_bytes() {
            self.memory.set(bytes);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            // One of them is the look itself.
            let open = u32::try_from(files.count().saturating_sub(1)).unwrap_or(u32::MAX);
            self.files.set(f64::from(open));
        }
        if let Ok((max, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            self.files_max.set(number(max));
        }
    }

    /// The series of another digest goes: a policy that is no longer in force must not look as if it were.
    fn look_at_policy(&self, digest: [u8; 32]) {
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut now = self.policy_now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_ref() != Some(&digest) {
            self.policy.reset();
            self.policy.with_label_values(&[&digest]).set(1);
            *now = Some(digest);
        }
    }
}

/// Free bytes, without those that are kept for root, and all bytes of the file system.
fn disk(path: &Path) -> Option<(f64, f64)> {
    let found = statvfs(path).ok()?;
    let block = number(found.fragment_size());
    Some((number(found.blocks_available()) * block, number(found.blocks()) * block))
}

/// Resident memory, as the system tells it.
fn resident_bytes() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u32 = line.split_whitespace().next()?.parse().ok()?;
    Some(f64::from(kibibytes) * 1024.0)
}

/// A number of the system as metrics have it: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
fn number(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::telemetry::Metrics;

    #[test]
    fn a_policy_that_was_replaced_has_no_series_left() {
        let metrics = Metrics::new().expect("metrics");
        let digests = || {
            let family = metrics.registry.gather().into_iter().find(|family| family.name() == "weir_policy_info");
            let family = family.expect("a policy");
            let digest = |metric: &prometheus::proto::Metric| metric.get_label()[0].value().to_owned();
            family.get_metric().iter().map(digest).collect::<Vec<_>>()
        };
        for byte in [1, 1, 2] {
            metrics.process.look(Path::new("/"), 7, [byte; 32]);
            assert_eq!(digests(), [format!("{byte:02x}").repeat(32)]);
        }
        assert_eq!(metrics.process.memory_held.get(), 7);
    }

    #[test]
    fn what_the_system_says_is_there() {
        let metrics = Metrics::new().expect("metrics");
        metrics.process.look(Path::new("/"), 0, [0; 32]);
        let process = &metrics.process;
        assert!(process.disk_free.get() > 0.0 && process.disk_size.get() >= process.disk_free.get());
        assert!(process.memory.get() > 1e6 && process.files.get() >= 3.0 && process.files_max.get() > 3.0);
        assert!(process.cpu.get() > 0.0);
        metrics.process.look(Path::new("/does/not/exist"), 0, [0; 32]);
        assert!(process.disk_free.get() == 0.0, "what cannot be told is nothing to count on");
    }
}
