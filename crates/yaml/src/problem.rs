//! What is wrong with a text: where, and what to do about it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A position in a file. Lines and columns count from 1; columns are characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` so that callers can align what follows.
        f.pad(&format!("{}:{}:{}", self.file, self.line, self.column))
    }
}

impl From<&Place> for Option<Place> {
    fn from(place: &Place) -> Self {
        Some(place.clone())
    }
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used; it probably does not do what was meant.
    Warning,
}

/// One thing that is wrong.
///
/// `Display` gives one line for the message and, where there is something to say, one for place and cure, without a line feed at the
/// end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: lower case, one line, configuration values in backticks, never a secret.
    pub message: String,
    /// Where, if it is in a file.
    pub place: Option<Place>,
    /// What to do about it.
    pub cure: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.message)?;
        match (&self.place, &self.cure) {
            (Some(place), Some(cure)) => write!(f, "\n  {place:<PLACE_WIDTH$}  {cure}"),
            (Some(place), None) => write!(f, "\n  {place}"),
            (None, Some(cure)) => write!(f, "\n  {cure}"),
            (None, None) => Ok(()),
        }
    }
}

/// The problems found so far. Readers push and go on, so that a user sees all of them at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds an error. An empty `cure` means that there is nothing to add to the message.
    pub fn error(&mut self, place: impl Into<Option<Place>>, message: impl Into<String>, cure: impl Into<String>) {
        self.add(Severity::Error, place.into(), message.into(), cure.into());
    }

    /// Adds a warning. An empty `cure` means that there is nothing to add to the message.
    pub fn warning(&mut self, place: impl Into<Option<Place>>, message: impl Into<String>, cure: impl Into<String>) {
        self.add(Severity::Warning, place.into(), message.into(), cure.into());
    }

    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds all problems of `other`, after those that are here.
    pub fn extend(&mut self, other: Problems) {
        self.0.extend(other.0);
    }

    /// The problems, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// True when nothing was found, not even a warning.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of errors.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// The number of warnings.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// Orders the problems as a reader of the files meets them: files in the order in which they first appear, then by line and column;
    /// problems without a place come last.
    pub fn sort(&mut self) {
        let mut files: HashMap<Arc<str>, usize> = HashMap::new();
        for place in self.0.iter().filter_map(|problem| problem.place.as_ref()) {
            let next = files.len();
            files.entry(Arc::clone(&place.file)).or_insert(next);
        }
        self.0.sort_by_key(|problem| match &problem.place {
            Some(place) => (files.get(&place.file).copied().unwrap_or(usize::MAX), place.line, place.column),
            None => (usize::MAX, u32::MAX, u32::MAX),
        });
    }

    fn add(&mut self, severity: Severity, place: Option<Place>, message: String, cure: String) {
        let cure = if cure.is_empty() { None } else { Some(cure) };
        self.0.push(Problem { severity, message, place, cure });
    }

    fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|problem| problem.severity == severity).count()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Every problem, an empty line, and the counts; nothing at all when there are no problems.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        for problem in self {
            writeln!(f, "{problem}")?;
        }
        let counts: Vec<String> = [(self.errors(), "error"), (self.warnings(), "warning")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
            .collect();
        writeln!(f, "\n{}", counts.join(", "))
    }
}

/// Places shorter than this are padded, so that cures of one file line up (`weir.yaml:38:70` has 15 characters).
const PLACE_WIDTH: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: u32, column: u32) -> Place {
        Place { file: "weir.yaml".into(), line, column }
    }

    #[test]
    fn prints_problems_with_place_cure_and_counts() {
        let mut problems = Problems::default();
        problems.error(place(38, 7), "unknown key `audiance`", "did you mean `audience`?");
        problems.error(place(15, 11), "port 9193 is used twice", "move `edge` above 9202");
        problems.error(None, "no listener", "");
        problems.warning(place(2, 1), "odd", "");
        problems.push(Problem {
            severity: Severity::Warning,
            message: "odder".into(),
            place: None,
            cure: Some("stop".into()),
        });
        assert_eq!(
            problems.to_string(),
            "error: unknown key `audiance`\n  weir.yaml:38:7   did you mean `audience`?\n\
             error: port 9193 is used twice\n  weir.yaml:15:11  move `edge` above 9202\n\
             error: no listener\n\
             warning: odd\n  weir.yaml:2:1\n\
             warning: odder\n  stop\n\n3 errors, 2 warnings\n"
        );
    }

    #[test]
    fn prints_nothing_when_there_is_nothing() {
        assert_eq!(Problems::default().to_string(), "");
    }

    #[test]
    fn sorts_by_file_as_first_seen_then_by_position() {
        let mut problems = Problems::default();
        problems.error(None, "last", "");
        problems.error(place(9, 1), "third", "");
        problems.error(Place { file: "a.yaml".into(), line: 1, column: 1 }, "fourth", "");
        problems.warning(place(2, 5), "second", "");
        problems.error(place(2, 1), "first", "");
        problems.sort();
        let order: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(order, ["first", "second", "third", "fourth", "last"]);
    }
}
