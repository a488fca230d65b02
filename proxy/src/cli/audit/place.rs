//! Which log: named by its directory, or by the configuration that names it.
//!
//! Only `data_dir` is read of a configuration. Who audits need not be able to read the gateway's secrets, and a log can be asked while
//! the configuration has a mistake elsewhere.

use std::path::{Path, PathBuf};

use weir_yaml::{Problems, Value};

use crate::config::Surroundings;

/// Which log to read.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// The directory of the log; without it, that of the configuration
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub data_dir: Option<PathBuf>,
    /// The configuration whose `data_dir` it is [default: weir.yaml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl LogArgs {
    /// The data directory, or why there is none.
    pub(super) fn data_dir(&self, surroundings: &Surroundings<'_>) -> Result<PathBuf, String> {
        if let Some(data_dir) = &self.data_dir {
            return Ok(data_dir.clone());
        }
        let config = self.config.as_deref().unwrap_or(Path::new("weir.yaml"));
        let text = match std::fs::read_to_string(config) {
            Ok(text) => text,
            // Asked for nothing in particular, and nothing there: the default, which may exist.
            Err(error) if self.config.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("cannot read `{}`: {error}", config.display())),
        };
        let named = named_data_dir(config, &text)?;
        let base = config.parent().unwrap_or(Path::new(""));
        Ok(match named {
            Some(named) => base.join(named),
            None if surroundings.root => PathBuf::from(DATA_DIR_OF_ROOT),
            None => base.join(DATA_DIR),
        })
    }
}

fn named_data_dir(config: &Path, text: &str) -> Result<Option<String>, String> {
    let mut problems = Problems::default();
    let documents = weir_yaml::parse(&config.display().to_string(), text, &mut problems);
    if problems.errors() > 0 {
        return Err(problems.to_string().trim_end().to_owned());
    }
    let Some(Value::Map(entries)) = documents.first().map(|document| &document.value) else { return Ok(None) };
    let named = entries.iter().find(|entry| entry.key == "data_dir").map(|entry| &entry.value.value);
    match named {
        None => Ok(None),
        Some(Value::String(named)) if !named.is_empty() => Ok(Some(named.clone())),
        Some(_) => Err(format!("`data_dir` in `{}` must be a path", config.display())),
    }
}

/// As in `config.rs`; a test compares them.
const DATA_DIR_OF_ROOT: &str = "/var/lib/weir";
const DATA_DIR: &str = "weir-data";

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "upstream: { bootstrap: [\"127.0.0.1:9092\"] }\npolicies: [\"policy.yaml\"]\n\
        listeners: [ { name: try, bind: \"127.0.0.1:9192\", auth: { anonymous: {} } } ]\n";

    /// The directory is the one that the gateway itself would use.
    fn check(data_dir: &str, root: bool) {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("weir.yaml");
        std::fs::write(dir.path().join("policy.yaml"), "version: 1\n").unwrap();
        std::fs::write(&config, format!("version: 1\n{data_dir}{REST}")).unwrap();
        let surroundings = Surroundings { variable: &|_| None, root };
        let mut problems = Problems::default();
        let loaded = crate::config::load_and_compile(&config, &surroundings, &mut problems);
        let expected = loaded.unwrap_or_else(|| panic!("{problems}")).0.data_dir;
        let args = LogArgs { data_dir: None, config: Some(config) };
        assert_eq!(args.data_dir(&surroundings), Ok(expected), "{data_dir:?}, root {root}");
    }

    #[test]
    fn the_log_is_where_the_gateway_puts_it() {
        for root in [false, true] {
            check("", root);
            check("data_dir: here/audit\n", root);
            check("data_dir: /somewhere/else\n", root);
        }
    }

    #[test]
    fn a_named_configuration_must_be_there_and_say_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("weir.yaml");
        let args = LogArgs { data_dir: None, config: Some(config.clone()) };
        let surroundings = Surroundings { variable: &|_| None, root: false };
        assert!(args.data_dir(&surroundings).unwrap_err().starts_with("cannot read"));
        std::fs::write(&config, "data_dir: 5\n").unwrap();
        assert!(args.data_dir(&surroundings).unwrap_err().contains("must be a path"));
        std::fs::write(&config, "data_dir: [\n").unwrap();
        assert!(args.data_dir(&surroundings).is_err());
    }
}
