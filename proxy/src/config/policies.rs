//! `policies`: the files that globs name.

use std::collections::HashSet;
use std::path::Path;

use weir_policy::Source;
use weir_yaml::{Node, Place, Problems, TEXT_BYTES_MAX};

use super::Loader;
use super::seen::Files;

impl Loader<'_> {
    pub(super) fn policies(&self, node: &Node, problems: &mut Problems) -> Option<Vec<Source>> {
        let items = node.as_list("policies", problems)?;
        if items.is_empty() {
            problems.error(
                &node.place,
                "`policies` is empty",
                "what no policy allows is refused; as in  policies: [\"policies/*.yaml\"]",
            );
            return None;
        }
        let mut sources = Vec::new();
        let mut seen = HashSet::new();
        for item in items {
            let Some(pattern) = item.as_str("policies", problems) else { continue };
            let paths = match self.files.expand(self.base, pattern) {
                Ok(paths) => paths,
                Err(reason) => {
                    problems.error(&item.place, format!("policies `{pattern}`: {reason}"), "");
                    continue;
                }
            };
            if paths.is_empty() {
                let cure = "paths are relative to this file";
                problems.error(&item.place, format!("`{pattern}` matches no file"), cure);
            }
            for path in paths.into_iter().filter(|path| seen.insert(path.clone())) {
                sources.extend(read_file(self.files, &path, Some(item.place.clone()), problems));
            }
        }
        Some(sources)
    }
}

/// Reads one policy file that the command line names.
pub fn read_policy(path: &Path, problems: &mut Problems) -> Option<Source> {
    read_file(&Files::default(), path, None, problems)
}

fn read_file(files: &Files, path: &Path, place: Option<Place>, problems: &mut Problems) -> Option<Source> {
    let name = path.display().to_string();
    match files.read_text(path, TEXT_BYTES_MAX) {
        Ok(text) => Some(Source { name, text }),
        Err(reason) => {
            problems.error(place, format!("cannot read policy `{name}`: {reason}"), "");
            None
        }
    }
}
