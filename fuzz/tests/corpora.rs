//! All inputs that were kept, on every run of the tests: those that targets began with and found, and those that once failed.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use weir_fuzz::{INPUT_BYTES_MAX, TARGETS, run};

/// Bytes of all corpora together.
const CORPORA_BYTES_MAX: u64 = 1_000_000;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// One test, since what is allocated is counted for the whole process.
#[test]
fn every_input_passes_its_target_within_its_memory() {
    let mut bytes = 0;
    for target in TARGETS {
        let corpus = inputs(&here().join("corpus").join(target.name));
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        let mut accepted = 0;
        let failed = inputs(&here().join("../testdata/fuzz").join(target.name));
        for file in corpus.iter().chain(&failed) {
            let data = fs::read(file).unwrap();
            assert!(data.len() <= INPUT_BYTES_MAX, "{}", file.display());
            bytes += u64::try_from(data.len()).unwrap();
            // Where it fails, this names the input.
            println!("{}", file.display());
            accepted += usize::from(run(target.name, &data));
        }
        // The control: where nothing passes, nothing behind the first check was tried.
        assert!(accepted > 0, "{}: no input is a whole one", target.name);
        // The shortest inputs reach the edges of every reader.
        for byte in 0..=255 {
            run(target.name, &[byte]);
        }
        run(target.name, &[]);
    }
    assert!(bytes <= CORPORA_BYTES_MAX, "{bytes}");
}

#[test]
fn every_target_is_one_of_cargo_fuzz_too() {
    let named: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let files: BTreeSet<String> = inputs(&here().join("libfuzzer/fuzz_targets")).into_iter().map(stem).collect();
    assert_eq!(files, named);
    let manifest = fs::read_to_string(here().join("libfuzzer/Cargo.toml")).unwrap();
    for target in TARGETS {
        assert!(manifest.contains(&format!("name = \"{}\"\n", target.name)), "{}", target.name);
    }
}
