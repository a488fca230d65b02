//! Which files a pattern names.

use std::path::{Component, Path, PathBuf};

use super::files;

/// The files that a pattern names, in the order of their names. `*` and `?` stand for characters of one component, and not for the dot
/// that hides a file. A pattern without them names one file, whether it exists or not.
pub(super) fn expand(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if pattern.is_empty() {
        return Err("a path is empty".into());
    }
    let mut found = vec![base.to_path_buf()];
    let mut globbed = false;
    for component in Path::new(pattern).components() {
        let wild = match component {
            Component::Normal(name) => name.to_str().filter(|name| name.contains(['*', '?'])),
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
        };
        let Some(wild) = wild else {
            found = found.into_iter().map(|path| path.join(component)).collect();
            if globbed {
                found.retain(|path| path.exists());
            }
            continue;
        };
        if wild.contains("**") {
            return Err("`**` is not supported, name each directory".into());
        }
        globbed = true;
        found = list(&found, wild)?;
        if found.len() > FILES_MAX {
            return Err(format!("more than {FILES_MAX} files"));
        }
    }
    if globbed {
        // A directory that matches is no policy; a file that cannot be read is reported when it is read.
        found.retain(|path| !path.is_dir());
    }
    Ok(found)
}

/// What matches in any of the directories, sorted.
fn list(directories: &[PathBuf], pattern: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for directory in directories {
        let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let entries = match std::fs::read_dir(listed) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => continue,
            Err(error) => return Err(format!("cannot list `{}`: {}", listed.display(), files::reason(&error))),
        };
        for entry in entries {
            let entry = entry.map_err(|error| files::reason(&error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if !name.starts_with('.') && matches(pattern.as_bytes(), name.as_bytes()) {
                found.push(directory.join(name));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// `*` is any run, `?` one byte. Goes back to the last star only, so the time is at most the product of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0_usize, 0_usize);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p = p.saturating_add(1);
            }
            Some(byte) if *byte == b'?' || Some(byte) == name.get(n) => {
                p = p.saturating_add(1);
                n = n.saturating_add(1);
            }
            Some(_) | None => {
                let Some((star_p, star_n)) = star else { return false };
                star = Some((star_p, star_n.saturating_add(1)));
                p = star_p.saturating_add(1);
                n = star_n.saturating_add(1);
            }
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

/// More policy files than this are a glob that matches too much.
const FILES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_runs_and_question_marks_one() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        };
        check("*.yaml", "try.yaml", true);
        check("*.yaml", ".yaml", true);
        check("*.yaml", "try.yml", false);
        check("a*b*c", "aXbXbXc", true);
        check("a*b*c", "aXbXb", false);
        check("t?y.yaml", "try.yaml", true);
        check("t?y.yaml", "ty.yaml", false);
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        check(&"*a".repeat(40), &"a".repeat(39), false);
    }

    #[test]
    fn expands_sorted_and_without_hidden_files_and_directories() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yaml", ".hidden.yaml", "c.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("d.yaml")).unwrap();
        std::fs::write(folder.path().join("d.yaml/e.yaml"), "").unwrap();
        let check = |pattern: &str, expected: &[&str]| {
            let expected: Vec<PathBuf> = expected.iter().map(|name| folder.path().join(name)).collect();
            assert_eq!(expand(folder.path(), pattern), Ok(expected), "{pattern}");
        };
        check("*.yaml", &["a.yaml", "b.yaml"]);
        check("*/*.yaml", &["d.yaml/e.yaml"]);
        check("*/e.yaml", &["d.yaml/e.yaml"]);
        check("absent.yaml", &["absent.yaml"]);
        check("absent/*.yaml", &[]);
        assert!(expand(folder.path(), "**/*.yaml").is_err());
        assert!(expand(folder.path(), "").is_err());
    }
}
