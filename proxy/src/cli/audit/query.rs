//! `weir audit query`.

use std::io::{self, Write};

use weir_audit::{EntryView, rfc3339};
use weir_audit_store::{Found, Query, Reader};

use super::{Exit, LogArgs, When, table};
use crate::config::Surroundings;

/// Arguments of `weir audit query`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The same option again means either value; different options must all hold.\n\
                  What is found goes to standard output, oldest first; what the answer covers goes to standard error.\n\n\
                  Exit codes: 0 answered, also with no match; 1 the log is damaged; 2 wrong usage; 3 there is no log; \
                  4 the log cannot be read.\n\n\
                  Examples:\n  weir audit query --since 1h\n  weir audit query --topic payments.eu --topic payments.us --rule card-numbers\n  \
                  weir audit query --principal checkout --since 2026-01-02T03:04:05Z -o ndjson")]
pub struct QueryArgs {
    /// Which log.
    #[command(flatten)]
    pub log: LogArgs,
    /// Entries of this principal
    #[arg(long, value_name = "NAME")]
    pub principal: Vec<String>,
    /// Entries about this topic
    #[arg(long, value_name = "TOPIC")]
    pub topic: Vec<String>,
    /// Entries in which this rule acted
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<String>,
    /// Not before: 15m, 1h, 2d (ago), or 2026-01-02T03:04:05Z
    #[arg(long, short = 'S', value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<When>,
    /// Not after; as --since
    #[arg(long, short = 'U', value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<When>,
    /// The newest so many
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100)]
    pub limit: usize,
    /// Table for people, or one JSON object a line for programs
    #[arg(long, short = 'o', value_enum, default_value_t = QueryOutput::Table)]
    pub output: QueryOutput,
    /// Read every entry in the time range instead of the index, which is no evidence
    #[arg(long)]
    pub scan: bool,
}

/// Formats of `weir audit query`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum QueryOutput {
    /// Columns.
    Table,
    /// One JSON object a line; keys in docs/audit-format.md.
    Ndjson,
}

pub(super) fn run(args: &QueryArgs, now: u64, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let data_dir = match args.log.data_dir(&Surroundings::of_process()) {
        Ok(data_dir) => data_dir,
        Err(message) => {
            writeln!(err, "error: {message}")?;
            return Ok(Exit::Usage);
        }
    };
    let query = args.query(now);
    let answer = Reader::open_read_only(&data_dir).and_then(|reader| Ok((reader.query(&query)?, newer(&reader))));
    let (found, newer) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(Exit::of(&error));
        }
    };
    match args.output {
        QueryOutput::Table if found.rows.is_empty() => {}
        QueryOutput::Table => out.write_all(table::render(&found.rows).as_bytes())?,
        QueryOutput::Ndjson => write_ndjson(&found, out)?,
    }
    out.flush()?;
    write_status(&query, &found, newer, err)?;
    Ok(Exit::Good)
}

impl QueryArgs {
    fn query(&self, now: u64) -> Query {
        Query {
            principal: self.principal.clone(),
            topic: self.topic.clone(),
            rule: self.rule.clone(),
            since: self.since.map(|when| when.resolve(now)),
            until: self.until.map(|when| when.resolve(now)),
            limit: Some(self.limit),
            scan: self.scan,
        }
    }
}

/// Entries that the checkpoint beside the database does not know yet.
fn newer(reader: &Reader) -> Option<u64> {
    let size = reader.head().map_or(0, |state| state.head.size());
    reader.vouched().and_then(|vouched| size.checked_sub(vouched))
}

fn write_ndjson(found: &Found, out: &mut impl Write) -> io::Result<()> {
    for row in &found.rows {
        writeln!(out, "{}", EntryView::new(&row.entry, &row.bytes).to_json()?)?;
    }
    Ok(())
}

/// What was asked and what the answer covers, so that an empty answer is not taken for an empty log.
fn write_status(query: &Query, found: &Found, newer: Option<u64>, err: &mut impl Write) -> io::Result<()> {
    let bound = |time: Option<u64>, open: &str| time.map_or(open.to_owned(), rfc3339);
    let (since, until) = (bound(query.since, "the beginning"), bound(query.until, "now"));
    match found.covered {
        Some(covered) => {
            let (from, to) = (rfc3339(covered.first_at), rfc3339(covered.last_at));
            let (first, last, matches) = (covered.first, covered.last, found.rows.len());
            writeln!(err, "{matches} shown of entries {first}–{last}, {from} to {to}; asked: {since} to {until}")?;
        }
        None => writeln!(err, "the log has no entries from {since} to {until}")?,
    }
    // The answer begins where the log does now.
    if found.first > 0 && found.covered.is_none_or(|covered| covered.first == found.first) {
        writeln!(err, "entries before {} were pruned and are not in this answer", found.first)?;
    }
    if found.more {
        writeln!(err, "older matches were left out; ask for more with  -n")?;
    }
    if found.undecodable > 0 {
        writeln!(err, "warning: {} rows are no entries; run  weir audit verify", found.undecodable)?;
    }
    match newer {
        Some(0) => Ok(()),
        Some(newer) => writeln!(err, "the newest {newer} are in no checkpoint yet"),
        None => writeln!(err, "warning: there is no readable checkpoint; run  weir audit verify"),
    }
}
