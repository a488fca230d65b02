//! `weir audit verify`.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use weir_audit::verify::{Coverage, Doubt, Report, Verdict};
use weir_audit::{ChainId, rfc3339};
use weir_audit_store::{Against, StoreError};

use super::{Exit, LogArgs, collected};
use crate::config::Surroundings;

/// Arguments of `weir audit verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Every entry is hashed again and compared with its neighbours, the stored head, and the signed checkpoints that are kept with \
                  the log. Without --trust their signatures are checked with the keys listed beside the log, which whoever can write \
                  there can replace. Without --anchor nobody outside says how long the log should be. Entries newer than the newest \
                  checkpoint are chained too, but cutting them off would not be noticed; their number is told. Indexes are not \
                  evidence and not looked at.\n\n\
                  Exit codes: 0 verified; 1 tampering or damage is proven; 2 wrong usage; 3 inconclusive, nothing is wrong but something \
                  that should prove the log is missing or could not be compared; 4 the log cannot be read.\n\n\
                  Examples:\n  weir audit verify\n  weir audit verify --data-dir /var/lib/weir --report json\n  \
                  weir audit verify --trust trust.txt --anchor collected.log\n  \
                  weir audit verify --trust trust.txt --anchor collected.log --chain 6f0c…  # which log should be here\n  \
                  weir audit verify --trust trust.txt --anchor collected.log --proven-to 81923  # of a log that is pruned"
)]
pub struct VerifyArgs {
    /// Which log.
    #[command(flatten)]
    pub log: LogArgs,
    /// The keys that may have signed the log's checkpoints: lines of  weir audit key
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// Lines that weir printed and somebody collected, with any text around; - is standard input
    #[arg(long, value_name = "FILE")]
    pub anchor: Vec<PathBuf>,
    /// The log that should be here: its 32 digits, with or without  weir/audit/
    #[arg(long, value_name = "ID", value_parser = chain)]
    pub chain: Option<ChainId>,
    /// Entries that an earlier verification with --anchor was proven to (`anchored.entries` of its report): collected checkpoints of
    /// no more were compared then, and may lie before what was pruned since
    #[arg(long, value_name = "ENTRIES", default_value_t = 0, hide_default_value = true, requires = "anchor")]
    pub proven_to: u64,
    /// Lines for people, or one JSON object for programs
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub report: ReportFormat,
}

/// Formats of `weir audit verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// Lines.
    Text,
    /// One JSON object; keys in docs/audit-format.md.
    Json,
}

pub(super) fn run(args: &VerifyArgs, now: u64, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let (data_dir, against, cut) = match given(args) {
        Ok(given) => given,
        Err(message) => {
            writeln!(err, "error: {message}")?;
            return Ok(Exit::Usage);
        }
    };
    if cut > 0 {
        writeln!(err, "{cut} checkpoints at the edges of collected files are cut short: passed over")?;
    }
    let result = weir_audit_store::verify_against(&data_dir, &against);
    let exit = match &result {
        Ok(report) => match report.verdict() {
            Verdict::Verified => Exit::Good,
            Verdict::Tampered => Exit::Tampered,
            Verdict::Inconclusive => Exit::Inconclusive,
        },
        Err(error) => Exit::of(error),
    };
    if let Err(error) = &result {
        writeln!(err, "error: {error}")?;
    }
    match args.report {
        ReportFormat::Json => {
            let report = JsonReport::new(&result, exit, against.trust.is_some(), cut);
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        }
        ReportFormat::Text => {
            if let Ok(report) = &result {
                write_text(report, now, out)?;
                write_hints(report, against.trust.is_some(), err)?;
            }
        }
    }
    out.flush()?;
    Ok(exit)
}

/// The log, what it is held against, and how many collected checkpoints are cut short. Read before the log, which is the newer then.
fn given(args: &VerifyArgs) -> Result<(PathBuf, Against, u64), String> {
    let data_dir = args.log.data_dir(&Surroundings::of_process())?;
    let trust = args.trust.as_deref().map(collected::trust).transpose()?;
    let mut against = Against { trust, chain: args.chain, proven: args.proven_to, ..Against::default() };
    if args.anchor.is_empty() {
        return Ok((data_dir, against, 0));
    }
    let keys = against.trust.as_ref();
    // Without a list of keys and without a name any log may be the one.
    let wanted = |chain: &ChainId| match (args.chain, keys) {
        (Some(asked), _) => asked == *chain,
        (None, Some(keys)) => !keys.of(chain).is_empty(),
        (None, None) => true,
    };
    let collected = collected::anchors(&args.anchor, wanted)?;
    against.others = collected.others;
    against.anchors = Some(collected.checkpoints.into_iter().collect());
    let lines = collected.first_unreadable.map(|first| Doubt::Lines { checkpoints: collected.unreadable, first });
    against.doubts.extend(lines);
    Ok((data_dir, against, collected.cut))
}

fn chain(text: &str) -> Result<ChainId, String> {
    let id = text.strip_prefix("weir/audit/").unwrap_or(text);
    id.parse().map_err(|_| "32 hexadecimal digits, as in the lines of  weir audit key".to_owned())
}

fn write_text(report: &Report, now: u64, out: &mut impl Write) -> io::Result<()> {
    let entries =
        super::super::count(usize::try_from(report.rows).unwrap_or(usize::MAX), "entry").replace("entrys", "entries");
    match report.verdict() {
        Verdict::Verified => {
            let kept = report.kept.or(report.anchored).map_or(0, |kept| kept.size);
            let signed = if report.signed { "signed to entry" } else { "not signed, head file at entry" };
            writeln!(out, "{entries}, chain and tree intact, {signed} {}", kept.saturating_sub(1))?;
            write_coverage(report, now, out)?;
            if report.first > 0 {
                writeln!(out, "entries before {} were pruned, and the log says so", report.first)?;
            }
            writeln!(out, "root {}", report.root)
        }
        Verdict::Inconclusive => {
            match report.doubts.as_slice() {
                [only] if report.rows == 0 => writeln!(out, "inconclusive: {only}"),
                [only] => writeln!(out, "inconclusive: {entries}, chain and tree intact, but {only}"),
                doubts => {
                    writeln!(out, "inconclusive: {entries}, chain and tree intact, but not proven:")?;
                    doubts.iter().try_for_each(|doubt| writeln!(out, "  {doubt}"))
                }
            }?;
            write_coverage(report, now, out)
        }
        Verdict::Tampered => {
            for finding in &report.findings {
                writeln!(out, "{finding}")?;
            }
            if report.left_out > 0 {
                writeln!(out, "and {} more", report.left_out)?;
            }
            let ranges = report
                .good
                .iter()
                .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}–{last}") });
            let ranges: Vec<String> = ranges.collect();
            let intact = if ranges.is_empty() { "none".to_owned() } else { ranges.join(", ") };
            writeln!(out, "intact: {intact} of {entries}")
        }
    }
}

/// What no checkpoint covers: cutting that off would not be noticed.
fn write_coverage(report: &Report, now: u64, out: &mut impl Write) -> io::Result<()> {
    if let Some(kept) = report.kept.filter(|kept| kept.newer > 0) {
        let (newer, age) = (kept.newer, age(&kept, now));
        writeln!(out, "the newest {newer} are in no checkpoint yet{age}: cutting them off would not be noticed")?;
    }
    let (Some(anchored), Some((own, others))) = (report.anchored, report.anchors) else { return Ok(()) };
    let others = if others > 0 { format!(" ({others} more of other logs)") } else { String::new() };
    let own = super::super::count(usize::try_from(own).unwrap_or(usize::MAX), "collected checkpoint");
    writeln!(out, "{own}{others}, anchored to entry {}", anchored.size.saturating_sub(1))?;
    if anchored.newer > 0 {
        let (first, last) = (anchored.size, report.size.saturating_sub(1));
        writeln!(out, "UNANCHORED: entries {first}–{last}, {} of them{}", anchored.newer, age(&anchored, now))?;
    }
    Ok(())
}

/// What was not proven, for want of something to prove it with, and how it can be.
fn write_hints(report: &Report, trusted: bool, err: &mut impl Write) -> io::Result<()> {
    if report.signed && !trusted {
        writeln!(err, "signatures were checked with the keys beside the log, which prove little: use  --trust FILE")?;
    }
    if report.verdict() == Verdict::Verified && report.anchors.is_none() {
        writeln!(err, "an older copy of the whole directory would not be noticed: use  --anchor FILE")?;
    }
    let cures = report.doubts.iter().filter_map(|doubt| match doubt {
        Doubt::Pruned { .. } => Some(
            "where an earlier verification compared those, say to how many entries, and give its lines again: use  --proven-to ENTRIES",
        ),
        Doubt::OlderKey { .. } => {
            Some("a copy from before the change of keys is verified with the trust file of then; a key that never signed does not belong there")
        }
        Doubt::WhichLog { .. } => Some("say which log should be here: use  --chain ID"),
        Doubt::Empty
        | Doubt::NoCheckpoint
        | Doubt::NoAnchor { .. }
        | Doubt::NotKept
        | Doubt::Tail { .. }
        | Doubt::Lines { .. } => None,
    });
    for cure in cures {
        writeln!(err, "{cure}")?;
    }
    Ok(())
}

fn age(coverage: &Coverage, now: u64) -> String {
    let seconds = coverage.since.map(|since| now.saturating_sub(since) / 1_000_000_000);
    seconds.map_or_else(String::new, |seconds| format!(", the oldest from {seconds} s ago"))
}

/// The report as JSON; keys are only ever added.
#[derive(Debug, Serialize)]
struct JsonReport<'a> {
    verdict: &'static str,
    error: Option<String>,
    entries: Option<u64>,
    first: Option<u64>,
    size: Option<u64>,
    root: Option<String>,
    signed: Option<bool>,
    keys: &'static str,
    covered: Option<JsonCoverage>,
    newer: Option<u64>,
    anchored: Option<JsonCoverage>,
    anchors: Option<u64>,
    anchors_of_other_logs: Option<u64>,
    anchors_cut: u64,
    doubts: Vec<JsonDoubt>,
    findings: Vec<JsonFinding<'a>>,
    findings_left_out: u64,
    intact: &'a [(u64, u64)],
}

#[derive(Debug, Serialize)]
struct JsonCoverage {
    entries: u64,
    newer: u64,
    newer_since: Option<String>,
}

#[derive(Debug, Serialize)]
struct JsonFinding<'a> {
    class: &'static str,
    first: u64,
    last: u64,
    detail: &'a str,
}

#[derive(Debug, Serialize)]
struct JsonDoubt {
    class: &'static str,
    detail: String,
}

impl<'a> JsonReport<'a> {
    fn new(result: &'a Result<Report, StoreError>, exit: Exit, trusted: bool, cut: u64) -> Self {
        let verdict = match exit {
            Exit::Good => Verdict::Verified.name(),
            Exit::Tampered => Verdict::Tampered.name(),
            Exit::Inconclusive => Verdict::Inconclusive.name(),
            Exit::Usage | Exit::Io => "unreadable",
        };
        let report = result.as_ref().ok();
        let findings = report.iter().flat_map(|report| &report.findings).map(|finding| JsonFinding {
            class: finding.class.name(),
            first: finding.first,
            last: finding.last,
            detail: &finding.detail,
        });
        let doubts = report.iter().flat_map(|report| &report.doubts);
        let doubts = doubts.map(|doubt| JsonDoubt { class: doubt.name(), detail: doubt.to_string() });
        Self {
            verdict,
            error: result.as_ref().err().map(ToString::to_string),
            entries: report.map(|report| report.rows),
            first: report.map(|report| report.first),
            size: report.map(|report| report.size),
            root: report.map(|report| report.root.to_string()),
            signed: report.map(|report| report.signed),
            keys: if trusted { "trusted" } else { "beside_the_log" },
            covered: report.and_then(|report| report.kept).map(JsonCoverage::new),
            newer: report.and_then(|report| report.newer),
            anchored: report.and_then(|report| report.anchored).map(JsonCoverage::new),
            anchors: report.and_then(|report| report.anchors).map(|(own, _)| own),
            anchors_of_other_logs: report.and_then(|report| report.anchors).map(|(_, others)| others),
            anchors_cut: cut,
            doubts: doubts.collect(),
            findings: findings.collect(),
            findings_left_out: report.map_or(0, |report| report.left_out),
            intact: report.map_or(&[], |report| &report.good),
        }
    }
}

impl JsonCoverage {
    fn new(coverage: Coverage) -> Self {
        let Coverage { size, newer, since } = coverage;
        Self { entries: size, newer, newer_since: since.map(rfc3339) }
    }
}
