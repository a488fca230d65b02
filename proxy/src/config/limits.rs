//! `limits`: each has a name, a unit and a default.

use std::time::Duration;

use weir_yaml::{MapReader, Node, Place, Problems};

use super::unsupported;

/// Every limit of the process, a connection, a frame or a batch. None is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client connections of all listeners together.
    pub connections_max: usize,
    /// Client connections from one IP address.
    pub connections_per_address_max: usize,
    /// Connections that have not logged in yet.
    pub handshakes_max: usize,
    /// Size of one frame, in bytes, without its length prefix.
    pub frame_bytes_max: FrameBytesMax,
    /// Requests of one connection that are not answered yet.
    pub inflight_requests_max: usize,
    /// What a Fetch may ask of the broker, in bytes.
    pub fetch_bytes_max: usize,
    /// Frames held by all sessions, in bytes; at least `frame_bytes_max.after` and `fetch_bytes_max`.
    pub memory_max: usize,
    /// One record batch after decompression, in bytes.
    pub batch_bytes_max: usize,
    /// Decompressed size over compressed size.
    pub inflate_ratio_max: usize,
    /// Records of one batch.
    pub records_per_batch_max: usize,
    /// Headers of one record.
    pub headers_per_record_max: usize,
    /// The key of one record, in bytes.
    pub key_bytes_max: usize,
    /// The value of one record, and of each of its headers, in bytes.
    pub value_bytes_max: usize,
    /// The name of one header, in bytes.
    pub header_name_bytes_max: usize,
    /// Nesting of JSON that is inspected.
    pub json_depth_max: usize,
    /// How long a client may be silent, or not read, and a broker owe an answer.
    pub idle_timeout: Duration,
    /// How long sessions may take to finish at shutdown.
    pub drain_timeout: Duration,
    /// How long a client may take to log in.
    pub login_timeout: Duration,
    /// How long a frame may take to arrive once it has begun.
    pub body_timeout: Duration,
}

/// Frame sizes before and after login, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameBytesMax {
    /// Until the client has logged in.
    pub before_login: usize,
    /// Afterwards.
    pub after: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 10_000,
            connections_per_address_max: 500,
            handshakes_max: 64,
            frame_bytes_max: FrameBytesMax { before_login: 512 * KIB, after: 100 * MIB },
            inflight_requests_max: 64,
            fetch_bytes_max: 4 * MIB,
            memory_max: 128 * MIB,
            batch_bytes_max: 64 * MIB,
            inflate_ratio_max: 64,
            records_per_batch_max: 1_000_000,
            headers_per_record_max: 1000,
            key_bytes_max: MIB,
            value_bytes_max: 64 * MIB,
            header_name_bytes_max: 32 * KIB,
            json_depth_max: 64,
            idle_timeout: Duration::from_secs(600),
            drain_timeout: Duration::from_secs(30),
            login_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
        }
    }
}

/// Reads the section; every key of it is optional, and so is the section.
pub(super) fn read(node: Option<&Node>, problems: &mut Problems) -> Option<Limits> {
    let default = Limits::default();
    let Some(node) = node else { return Some(default) };
    let errors_before = problems.errors();
    let mut section = Section { map: MapReader::new(node, "limits", problems)?, problems };
    let cure = "use  connections_per_address_max";
    unsupported::key(
        &mut section.map,
        "connections_per_principal_max",
        "limits.connections_per_principal_max",
        cure,
        section.problems,
    );
    let memory_place = section.map.take("memory_max").map(|node| node.place.clone());
    let fetch_place = section.map.take("fetch_bytes_max").map(|node| node.place.clone());
    let limits = Limits {
        connections_max: section.count("connections_max", default.connections_max, COUNT_MAX),
        connections_per_address_max: section.count(
            "connections_per_address_max",
            default.connections_per_address_max,
            COUNT_MAX,
        ),
        handshakes_max: section.count("handshakes_max", default.handshakes_max, COUNT_MAX),
        frame_bytes_max: section.frame_bytes_max(default.frame_bytes_max),
        inflight_requests_max: section.count("inflight_requests_max", default.inflight_requests_max, COUNT_MAX),
        fetch_bytes_max: section.size("fetch_bytes_max", default.fetch_bytes_max),
        memory_max: section.memory("memory_max", default.memory_max),
        batch_bytes_max: section.size("batch_bytes_max", default.batch_bytes_max),
        inflate_ratio_max: section.count("inflate_ratio_max", default.inflate_ratio_max, COUNT_MAX),
        records_per_batch_max: section.count("records_per_batch_max", default.records_per_batch_max, COUNT_MAX),
        headers_per_record_max: section.count("headers_per_record_max", default.headers_per_record_max, COUNT_MAX),
        key_bytes_max: section.size("key_bytes_max", default.key_bytes_max),
        value_bytes_max: section.size("value_bytes_max", default.value_bytes_max),
        header_name_bytes_max: section.size("header_name_bytes_max", default.header_name_bytes_max),
        json_depth_max: section.count("json_depth_max", default.json_depth_max, JSON_DEPTH_MAX),
        idle_timeout: section.duration("idle_timeout", default.idle_timeout),
        drain_timeout: section.duration("drain_timeout", default.drain_timeout),
        login_timeout: section.duration("login_timeout", default.login_timeout),
        body_timeout: section.duration("body_timeout", default.body_timeout),
    };
    section.map.finish(problems);
    // A value that was refused is its default here, and comparing that would confuse.
    if problems.errors() == errors_before {
        check_memory(&limits, memory_place.as_ref().unwrap_or(&node.place), fetch_place.as_ref(), problems);
    }
    Some(limits)
}

/// A duration above zero, or the default.
pub(super) fn duration(
    node: Option<&Node>,
    what: &str,
    default: Duration,
    problems: &mut Problems,
) -> Option<Duration> {
    let Some(node) = node else { return Some(default) };
    let duration = node.as_duration(what, problems)?;
    if duration.is_zero() {
        zero(node, what, problems);
        return None;
    }
    Some(duration)
}

/// What fits one by one must also fit together.
fn check_memory(limits: &Limits, memory: &Place, fetch: Option<&Place>, problems: &mut Problems) {
    let frame = limits.frame_bytes_max.after;
    if limits.memory_max < frame {
        let message = format!("`memory_max` is {}, less than one frame", show_size(limits.memory_max));
        let cure = format!("at least {}, which is `frame_bytes_max.after`; or lower that", show_size(frame));
        problems.error(memory, message, cure);
    } else if limits.memory_max < limits.fetch_bytes_max {
        let message = format!("`fetch_bytes_max` is {}, more than `memory_max`", show_size(limits.fetch_bytes_max));
        problems.error(fetch.unwrap_or(memory), message, format!("at most {}", show_size(limits.memory_max)));
    }
}

/// Reads values that fall back to their default when they are wrong: the problem is reported, so the configuration is refused anyway.
struct Section<'a, 'p> {
    map: MapReader<'a>,
    problems: &'p mut Problems,
}

impl Section<'_, '_> {
    fn count(&mut self, key: &str, default: usize, max: u64) -> usize {
        let Some(node) = self.map.take(key) else { return default };
        node.as_u64(key, 1..=max, self.problems).and_then(|count| usize::try_from(count).ok()).unwrap_or(default)
    }

    /// A size that Kafka carries in 32 bits.
    fn size(&mut self, key: &str, default: usize) -> usize {
        size(self.map.take(key), key, default, FRAME_BYTES_MAX, self.problems)
    }

    fn memory(&mut self, key: &str, default: usize) -> usize {
        size(self.map.take(key), key, default, usize::MAX, self.problems)
    }

    fn duration(&mut self, key: &str, default: Duration) -> Duration {
        duration(self.map.take(key), key, default, self.problems).unwrap_or(default)
    }

    fn frame_bytes_max(&mut self, default: FrameBytesMax) -> FrameBytesMax {
        let Some(node) = self.map.take("frame_bytes_max") else { return default };
        let Some(mut map) = MapReader::new(node, "frame_bytes_max", self.problems) else { return default };
        let mut read =
            |key: &str, path: &str, default| size(map.take(key), path, default, FRAME_BYTES_MAX, self.problems);
        let frame = FrameBytesMax {
            before_login: read("before_login", "frame_bytes_max.before_login", default.before_login),
            after: read("after", "frame_bytes_max.after", default.after),
        };
        map.finish(self.problems);
        if frame.after < frame.before_login {
            let cure = format!("at least {}, which is `before_login`", show_size(frame.before_login));
            let message = format!("`frame_bytes_max.after` is {}, less than before login", show_size(frame.after));
            self.problems.error(&node.place, message, cure);
        }
        frame
    }
}

/// A size above zero and up to `max`, or the default.
pub(super) fn size(node: Option<&Node>, what: &str, default: usize, max: usize, problems: &mut Problems) -> usize {
    let Some(node) = node else { return default };
    let Some(bytes) = node.as_size(what, problems) else { return default };
    match usize::try_from(bytes) {
        Ok(0) => zero(node, what, problems),
        Ok(bytes) if bytes <= max => return bytes,
        Ok(_) | Err(_) => {
            problems.error(&node.place, format!("`{what}` is too large"), format!("at most {}", show_size(max)));
        }
    }
    default
}

fn zero(node: &Node, what: &str, problems: &mut Problems) {
    problems.error(&node.place, format!("`{what}` is zero, so nothing would work"), "leave it out to have the default");
}

/// The size in the largest unit that divides it.
pub(super) fn show_size(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    let (unit, name) =
        units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)).unwrap_or((1, "B"));
    format!("{}{name}", bytes.checked_div(unit).unwrap_or(bytes))
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Kafka's frame length is a signed 32-bit number.
pub(super) const FRAME_BYTES_MAX: usize = i32::MAX as usize;
/// Counts above this are a slip of the hand.
const COUNT_MAX: u64 = 100_000_000;
/// serde_json, whose verdict on JSON weir follows, reads no deeper.
const JSON_DEPTH_MAX: u64 = 127;
