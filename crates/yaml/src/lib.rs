//! Located YAML for configuration and policies.
//!
//! [`parse()`] turns a text into one [`Node`] per document. Each node and each key carries its [`Place`], so that everything that is
//! wrong can be reported at once, where it is, with what to do about it ([`Problems`]). [`MapReader`] reads mappings and reports the
//! keys that nobody asked for.
//!
//! ```
//! use weir_yaml::{MapReader, Problems, parse};
//!
//! let mut problems = Problems::default();
//! let documents = parse("weir.yaml", "idle_timeout: 10m\nidle_timout: 5m\n", &mut problems);
//! let mut map = MapReader::new(&documents[0], "the configuration", &mut problems).expect("a mapping");
//! let idle = map.take("idle_timeout").and_then(|node| node.as_duration("idle_timeout", &mut problems));
//! map.finish(&mut problems);
//!
//! assert_eq!(idle, Some(std::time::Duration::from_secs(600)));
//! assert_eq!(
//!     problems.to_string(),
//!     "error: unknown key `idle_timout`\n  weir.yaml:2:1    did you mean `idle_timeout`?\n\n1 error\n",
//! );
//! ```

mod node;
mod parse;
mod problem;
mod reader;
mod suggest;
mod units;

pub use node::{Entry, Node, Value};
pub use parse::{DEPTH_MAX, TEXT_BYTES_MAX, parse};
pub use problem::{Place, Problem, Problems, Severity};
pub use reader::MapReader;
pub use suggest::suggest;
pub use units::{DURATION_MAX, UnitError, parse_duration, parse_size};
