//! The rows of `docs/errors.md`, for whoever walks them.

#![expect(clippy::panic, reason = "test code")]

use std::path::Path;

use serde_json::Value;

/// A row, each cell as it stands there.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its name in the first cell.
    pub(crate) key: String,
    /// `closed`, or Kafka's code and its name.
    pub(crate) gets: String,
    log: String,
    counter: String,
}

impl Row {
    /// The members that its log line has.
    pub(crate) fn members(&self) -> Vec<(String, String)> {
        let members = self.log.split('`').skip(1).step_by(2);
        members.filter_map(|member| member.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// The counter with its labels; none where nothing is counted.
    pub(crate) fn counter(&self) -> Option<&str> {
        self.counter.split('`').nth(1)
    }

    /// The row with other cells.
    pub(crate) fn with(&self, gets: &str, log: Option<&str>, counter: Option<&str>) -> Self {
        let or = |cell: Option<&str>, own: &str| cell.unwrap_or(own).to_owned();
        let (log, counter) = (or(log, &self.log), or(counter, &self.counter));
        Self { key: self.key.clone(), gets: gets.to_owned(), log, counter }
    }

    /// What was seen is what the row says: what the client got begins so, a log line has the members, the counter has moved.
    #[track_caller]
    pub(crate) fn holds(&self, told: &str, log: &[Value], counted: impl Fn(&str) -> f64) {
        assert!(self.gets.starts_with(told), "{self:?}: {told}");
        let members = self.members();
        assert!(log.iter().any(|line| says(line, &members)), "{self:?}\n{log:?}");
        assert!(self.counter().is_none_or(|counter| counted(counter) > 0.0), "{self:?} stands still");
    }

    /// What weir says on its standard error when it does not start is what the row says.
    #[track_caller]
    pub(crate) fn is_said(&self, stderr: &str) {
        let parts = self.log.split('`').skip(1).step_by(2).collect::<Vec<_>>();
        assert!(!parts.is_empty() && parts.iter().all(|part| stderr.contains(part)), "{self:?}\n{stderr}");
    }

    /// Kafka's code that the client gets; none where the connection is closed.
    pub(crate) fn code(&self) -> Option<i16> {
        self.gets.split(' ').next().and_then(|code| code.parse().ok())
    }
}

/// Whether a log line has these members.
pub(crate) fn says(line: &Value, members: &[(String, String)]) -> bool {
    members.iter().all(|(name, value)| {
        line[name] == *value || line[name].as_i64().is_some_and(|number| *value == number.to_string())
    })
}

/// The row of that name, for a test that walks it.
#[track_caller]
pub(crate) fn walks_row(key: &str) -> Row {
    rows().into_iter().find(|row| row.key == key).unwrap_or_else(|| panic!("docs/errors.md has no row `{key}`"))
}

/// All rows, in order.
pub(crate) fn rows() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/errors.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let [key, _, gets, log, counter, todo] = cells.as_slice() else { panic!("six cells in\n{line}") };
        assert!(!todo.is_empty(), "{line}");
        let (gets, log, counter) = (gets.clone(), log.clone(), counter.clone());
        Row { key: key.trim_matches('`').to_owned(), gets, log, counter }
    });
    rows.collect()
}
