//! Secrets that a configuration names: `{ file: … }` or `{ env: … }`, never the secret itself.

use std::fmt;

use weir_yaml::{MapReader, Node, Problems, Value};
use zeroize::Zeroizing;

use super::Loader;
use super::files::SecretFileError;

/// A secret of one line. Its `Debug` shows nothing of it, and its memory is cleared when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &Zeroizing<String> {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Loader<'_> {
    /// The secret that `node` leads to. No message shows what stands there: it might be the secret itself.
    pub(super) fn one_line_secret(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<Secret> {
        if !matches!(node.value, Value::Map(_)) {
            problems.error(&node.place, format!("`{path}` is a literal"), "use { file: … } or { env: … }");
            return None;
        }
        let mut map = MapReader::new(node, path, problems)?;
        let (file, variable) = (map.take("file"), map.take("env"));
        map.finish(problems);
        let (place, text) = match (file, variable) {
            (Some(file), None) => (&file.place, self.line_of_file(file, path, problems)?),
            (None, Some(variable)) => (&variable.place, self.line_of_variable(variable, problems)?),
            (Some(_), Some(_)) | (None, None) => {
                problems.error(&node.place, format!("`{path}` needs `file` or `env`, one of them"), "");
                return None;
            }
        };
        let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        let what = if line.is_empty() {
            "is empty"
        } else if line.len() > SECRET_BYTES_MAX {
            "is too long"
        } else if line.chars().any(char::is_control) {
            "has more than one line, or other control characters"
        } else {
            return Some(Secret(Zeroizing::new(line.to_owned())));
        };
        problems.error(place, format!("`{path}` {what}"), format!("one line of at most {SECRET_BYTES_MAX} bytes"));
        None
    }

    fn line_of_file(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<Zeroizing<String>> {
        let name = node.as_str("file", problems)?;
        match self.files.read_secret(&self.base.join(name), SECRET_FILE_BYTES_MAX) {
            Ok(text) => Some(text),
            Err(SecretFileError::OpenToOthers) => {
                let cure = format!("its owner and group are enough:  chmod o-rwx {name}");
                problems.error(
                    &node.place,
                    format!("secret file `{name}` is open to every user of this machine"),
                    cure,
                );
                None
            }
            Err(SecretFileError::Unreadable(reason)) => {
                problems.error(&node.place, format!("cannot read the file of `{path}`: {reason}"), "");
                None
            }
        }
    }

    fn line_of_variable(&self, node: &Node, problems: &mut Problems) -> Option<Zeroizing<String>> {
        let name = node.as_str("env", problems)?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(legal) {
            let cure = "as in  env: WEIR_KAFKA_PASSWORD";
            problems.error(&node.place, "`env` is not the name of an environment variable", cure);
            return None;
        }
        let value = (self.surroundings.variable)(name);
        if value.is_none() {
            problems.error(&node.place, "the environment variable that `env` names is not set", "");
        }
        value.map(Zeroizing::new)
    }
}

/// Bytes of a secret of one line.
const SECRET_BYTES_MAX: usize = 1024;
/// Bytes of its file, line feed included.
const SECRET_FILE_BYTES_MAX: usize = SECRET_BYTES_MAX + 2;
