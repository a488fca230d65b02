//! `weir audit verify`.

use std::io::{self, Write};

use serde::Serialize;
use weir_audit::verify::{Report, Verdict};
use weir_audit_store::StoreError;

use super::{Exit, LogArgs};
use crate::config::Surroundings;

/// Arguments of `weir audit verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Every entry is hashed again and compared with its neighbours, the stored head and the head file beside the \
                  database. Entries newer than the head file are chained too, but cutting them off would not be noticed; their number is \
                  told. Indexes are not evidence and not looked at.\n\n\
                  Exit codes: 0 verified; 1 tampering or damage is proven; 2 wrong usage; 3 inconclusive, there is nothing to verify or \
                  nothing to verify it with; 4 the log cannot be read.\n\n\
                  Examples:\n  weir audit verify\n  weir audit verify --data-dir /var/lib/weir --report json"
)]
pub struct VerifyArgs {
    /// Which log.
    #[command(flatten)]
    pub log: LogArgs,
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

pub(super) fn run(args: &VerifyArgs, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let data_dir = match args.log.data_dir(&Surroundings::of_process()) {
        Ok(data_dir) => data_dir,
        Err(message) => {
            writeln!(err, "error: {message}")?;
            return Ok(Exit::Usage);
        }
    };
    let result = weir_audit_store::verify(&data_dir);
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
        ReportFormat::Json => writeln!(out, "{}", serde_json::to_string(&JsonReport::new(&result, exit))?)?,
        ReportFormat::Text => {
            if let Ok(report) = &result {
                write_text(report, out)?;
            }
        }
    }
    out.flush()?;
    Ok(exit)
}

fn write_text(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let entries =
        super::super::count(usize::try_from(report.rows).unwrap_or(usize::MAX), "entry").replace("entrys", "entries");
    match report.verdict() {
        Verdict::Verified => {
            let noted = report.size.saturating_sub(report.newer.unwrap_or(0));
            writeln!(out, "{entries}, chain and tree intact, head file at {noted}")?;
            if let Some(newer) = report.newer.filter(|newer| *newer > 0) {
                writeln!(
                    out,
                    "the newest {newer} are not in the head file yet: cutting them off would not be noticed"
                )?;
            }
            writeln!(out, "root {}", report.root)
        }
        Verdict::Inconclusive if report.rows == 0 => writeln!(out, "inconclusive: the log has no entries"),
        Verdict::Inconclusive => {
            writeln!(
                out,
                "inconclusive: {entries}, chain and tree intact, but there is no head file to say how many there should be"
            )
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

/// The report as JSON; keys are only ever added.
#[derive(Debug, Serialize)]
struct JsonReport<'a> {
    verdict: &'static str,
    error: Option<String>,
    entries: Option<u64>,
    size: Option<u64>,
    root: Option<String>,
    head_file: Option<bool>,
    newer: Option<u64>,
    findings: Vec<JsonFinding<'a>>,
    findings_left_out: u64,
    intact: &'a [(u64, u64)],
}

#[derive(Debug, Serialize)]
struct JsonFinding<'a> {
    class: &'static str,
    first: u64,
    last: u64,
    detail: &'a str,
}

impl<'a> JsonReport<'a> {
    fn new(result: &'a Result<Report, StoreError>, exit: Exit) -> Self {
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
        Self {
            verdict,
            error: result.as_ref().err().map(ToString::to_string),
            entries: report.map(|report| report.rows),
            size: report.map(|report| report.size),
            root: report.map(|report| report.root.to_string()),
            head_file: report.map(|report| report.has_note),
            newer: report.and_then(|report| report.newer),
            findings: findings.collect(),
            findings_left_out: report.map_or(0, |report| report.left_out),
            intact: report.map_or(&[], |report| &report.good),
        }
    }
}
