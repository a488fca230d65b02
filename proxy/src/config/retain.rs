//! `audit.retain`: how long entries are kept, how much room they may take, and what happens then.

use weir_yaml::{MapReader, Node, Problems};

use super::limits::show_size;
use super::operations::read_choice;

/// How long entries are kept, how much room they may take, and what happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainConfig {
    /// Entries older than this are pruned, where pruning is allowed at all.
    pub days: Option<u64>,
    /// Bytes that the log may take on disk.
    pub bytes_max: Option<u64>,
    /// Bytes of the disk that weir keeps for its last words.
    pub reserve: u64,
    /// What happens when the log has its `bytes_max`.
    pub then: Then,
}

/// What happens when the log is as large as it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    /// Nothing more is recorded, and so nothing more is let through.
    #[default]
    Stop,
    /// The oldest entries go, under an entry that says so.
    Prune,
}

impl Default for RetainConfig {
    fn default() -> Self {
        Self { days: None, bytes_max: None, reserve: RESERVE, then: Then::default() }
    }
}

pub(super) fn read(node: Option<&Node>, problems: &mut Problems) -> Option<RetainConfig> {
    let Some(node) = node else { return Some(RetainConfig::default()) };
    let mut map = MapReader::new(node, "audit.retain", problems)?;
    let errors_before = problems.errors();
    let days = map.take("days").map(|node| (node, node.as_u64("audit.retain.days", 1..=DAYS_MAX, problems)));
    let bytes_max = map.take("bytes_max");
    let bytes_max = bytes_max.map(|node| read_size(node, "audit.retain.bytes_max", BYTES_MAX_MIN, problems));
    let reserve = map.take("reserve");
    let reserve = reserve.map(|node| read_size(node, "audit.retain.reserve", RESERVE_MIN, problems));
    let then = read_choice(map.take("then"), "audit.retain.then", THENS, problems)?;
    map.finish(problems);
    if problems.errors() > errors_before {
        return None;
    }
    match (then, days, bytes_max) {
        (Then::Prune, None, None) => {
            problems.error(
                &node.place,
                "`then: prune` without a limit prunes nothing",
                "add  days: 90  or  bytes_max: 200GiB",
            );
            return None;
        }
        (Then::Stop, Some((days, _)), _) => problems.warning(
            &days.place,
            "`days` has no effect with `then: stop`: every entry is kept",
            "remove it, or say  then: prune",
        ),
        (Then::Prune | Then::Stop, _, _) => {}
    }
    Some(RetainConfig {
        days: days.and_then(|(_, days)| days),
        bytes_max: bytes_max.flatten(),
        reserve: reserve.flatten().unwrap_or(RESERVE),
        then,
    })
}

fn read_size(node: &Node, what: &str, min: u64, problems: &mut Problems) -> Option<u64> {
    let bytes = node.as_size(what, problems)?;
    if bytes < min {
        let min = show_size(usize::try_from(min).unwrap_or(usize::MAX));
        problems.error(&node.place, format!("`{what}` is too small"), format!("at least {min}"));
        return None;
    }
    Some(bytes)
}

const THENS: &[(&str, Then)] = &[("stop", Then::Stop), ("prune", Then::Prune)];

/// Ten thousand years of entries are a slip of the hand.
const DAYS_MAX: u64 = 36_500;

/// Write-ahead log and buffers of the database take up to half of this however few entries there are.
const BYTES_MAX_MIN: u64 = 32 << 20;

/// Room for the last words, the shutdown and one opening of the database.
const RESERVE: u64 = 64 << 20;

/// Less would not hold one write buffer of the database.
const RESERVE_MIN: u64 = 4 << 20;
