//! Paths that go on in a document inside a string.

use std::fmt;

use super::meet::plainly_meet;
use super::path::{Path, PathError, Reader};

/// The way to fields of a document, through documents in its strings: `$.payload|json|$.ssn` takes the member `ssn` of the JSON
/// document that is the text of the string at `$.payload`.
///
/// Most routes are one path. `|json|` stands between paths, each of which begins at the root of its own document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    paths: Vec<Path>,
}

impl Route {
    /// The most documents in strings that a route goes through, one inside the other. Each doubles the backslashes of the next, so
    /// that real data has one, seldom two.
    pub const NESTING_MAX: usize = 3;

    /// Reads a route from its text.
    ///
    /// # Errors
    ///
    /// [`PathError`] says what is wrong and at which byte of `text`.
    pub fn parse(text: &str) -> Result<Route, PathError> {
        if text.len() > Path::TEXT_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        let mut reader = Reader { text, at: 0 };
        let mut paths = vec![reader.path()?];
        while reader.peek().is_some() {
            let at = reader.at;
            if !text.get(at..).is_some_and(|rest| rest.starts_with(INNER)) {
                return Err(PathError::Inner { at });
            }
            if paths.len() > Self::NESTING_MAX {
                return Err(PathError::TooNested);
            }
            reader.at += INNER.len();
            if reader.peek() != Some('$') {
                return Err(PathError::Inner { at });
            }
            paths.push(reader.path()?);
        }
        Ok(Route { paths })
    }

    /// The paths, from the outermost document inwards.
    pub(crate) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// Whether two routes can select one span, or one a span around the other's, by their own names; see [`plainly_meet`]. Where
    /// one ends, it takes the whole string that the other goes on in.
    pub(crate) fn plainly_meets(&self, other: &Route) -> bool {
        self.paths.iter().zip(&other.paths).all(|(left, right)| plainly_meet(left, right))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, path) in self.paths.iter().enumerate() {
            write!(f, "{}{path}", if place == 0 { "" } else { INNER })?;
        }
        Ok(())
    }
}

/// What stands between the path to a string and the path into its text.
const INNER: &str = "|json|";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, PathError>) {
        let shown = Route::parse(text).map(|route| route.to_string());
        assert_eq!(shown.as_deref().map_err(|error| *error), expected, "{text}");
    }

    #[test]
    fn reads_paths_through_strings() {
        check("$.a", Ok("$.a"));
        check("$.payload|json|$.ssn", Ok("$.payload|json|$.ssn"));
        check("$|json|$", Ok("$|json|$"));
        check("$..['a b'][0]|json|$..x|json|$.y[*]", Ok("$..['a b'][0]|json|$..x|json|$.y[*]"));
        check("$['a|json|$.b']", Ok("$['a|json|$.b']"));
        check(&format!("$.a{}", "|json|$.b".repeat(3)), Ok("$.a|json|$.b|json|$.b|json|$.b"));
    }

    #[test]
    fn refuses_what_it_does_not_serve() {
        check("", Err(PathError::NoRoot));
        check("$.a|", Err(PathError::Inner { at: 3 }));
        check("$.a|xml|$.b", Err(PathError::Inner { at: 3 }));
        check("$.a|json|", Err(PathError::Inner { at: 3 }));
        check("$.a|json|b", Err(PathError::Inner { at: 3 }));
        check("$.a |json|$.b", Err(PathError::Name { at: 2 }));
        check("$.a|json|$.b-c", Err(PathError::Name { at: 11 }));
        check(&format!("$.a{}", "|json|$.b".repeat(4)), Err(PathError::TooNested));
    }

    #[test]
    fn knows_which_routes_meet() {
        for (a, b, expected) in [
            ("$.a", "$.a|json|$.b", true),
            ("$.a", "$.b|json|$.b", false),
            ("$.a|json|$.b", "$.a|json|$.c", false),
            ("$.a|json|$.b", "$.a|json|$.b.c", true),
            ("$..a|json|$..b", "$.x.a|json|$.b", true),
            ("$.a|json|$.b", "$.c|json|$.b", false),
        ] {
            let (left, right) = (Route::parse(a).unwrap(), Route::parse(b).unwrap());
            assert_eq!((left.plainly_meets(&right), right.plainly_meets(&left)), (expected, expected), "{a} {b}");
        }
    }
}
