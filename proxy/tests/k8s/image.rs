//! The container image, without a container engine: what the Dockerfile says, held against the checkout and the manifests.

use std::collections::BTreeSet;
use std::process::Command;

use crate::render::{BROKERS, objects, root};

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The instructions of the Dockerfile, each with its continuation lines joined.
fn instructions() -> Vec<(String, String)> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(word, rest)| (word.into(), rest.trim().into())).collect()
}

fn all(word: &str) -> Vec<String> {
    instructions().into_iter().filter(|(name, _)| name == word).map(|(_, rest)| rest).collect()
}

/// The tag of an image; there must be one that names a version.
fn tag(image: &str) -> &str {
    let tag = image.rsplit('/').next().unwrap().split_once(':').map(|(_, tag)| tag);
    let tag = tag.unwrap_or_else(|| panic!("{image} has no tag"));
    assert!(tag.starts_with(|first: char| first.is_ascii_digit()), "{image} is not a version");
    tag
}

#[test]
fn images_are_pinned_to_versions() {
    let version = env!("CARGO_PKG_VERSION");
    for (weir, _) in BROKERS {
        assert_eq!(tag(objects(weir).container()["image"].as_str().unwrap()), version, "{weir}");
    }
    let labels = all("LABEL").join(" ");
    assert!(labels.contains(&format!("org.opencontainers.image.version=\"{version}\"")), "{labels}");
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    let stages = all("FROM");
    let [build, image] = stages.as_slice() else { panic!("two stages: {stages:?}") };
    assert_eq!(tag(build.split(' ').next().unwrap()), format!("{channel}-slim-bookworm"));
    assert!(all("ENV").iter().any(|variables| variables.contains(&format!("RUSTUP_TOOLCHAIN={channel}"))));
    assert_eq!(image, "scratch", "the image holds what tools/image-root lays out, and nothing else");
}

#[test]
fn the_image_and_the_manifests_speak_of_one_user_and_one_program() {
    let user = all("USER").join("");
    for (weir, _) in BROKERS {
        let objects = objects(weir);
        let pod = &objects.pod()["securityContext"];
        assert_eq!(user, format!("{}:{}", pod["runAsUser"], pod["runAsGroup"]), "{weir}");
        let arguments = serde_json::from_str::<serde_json::Value>(&all("CMD").join("")).unwrap();
        assert_eq!(objects.container()["args"], arguments, "{weir}");
        assert!(objects.container().get("command").is_none(), "{weir}: the image says what to run");
        assert_eq!(objects.container()["workingDir"], all("WORKDIR").last().unwrap().as_str(), "{weir}");
    }
    let id = user.split(':').next().unwrap();
    assert!(read("tools/image-root").contains(&format!("\nUID_OF_WEIR={id}\n")), "{id}");
    assert!(all("COPY").last().unwrap().contains(&format!("--chown={user}")));
    assert_eq!(all("ENTRYPOINT"), [r#"["/usr/local/bin/weir"]"#]);
}

#[test]
fn the_build_uses_only_what_the_checkout_has() {
    let runs = all("RUN").join("\n");
    for script in ["tools/rocksdb-unity", "tools/image-root"] {
        assert!(runs.contains(script) && root().join(script).is_file(), "{script}");
    }
    // What is kept from the build must not be what cargo reads: the folder of a package, or of a file that code includes.
    let ignored: BTreeSet<String> = read(".dockerignore").lines().map(str::to_owned).collect();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version=1", "--no-deps", "--offline"]).current_dir(root());
    let output = cargo.output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 5);
    let here = root().canonicalize().unwrap();
    for package in packages {
        let manifest = std::path::Path::new(package["manifest_path"].as_str().unwrap()).canonicalize().unwrap();
        let first = manifest.strip_prefix(&here).unwrap().iter().next().unwrap().to_str().unwrap().to_owned();
        assert!(!ignored.contains(&first), "{first}");
    }
    for needed in ["Cargo.lock", "rust-toolchain.toml", "tools", "crates", "proxy"] {
        assert!(!ignored.contains(needed) && root().join(needed).exists(), "{needed}");
    }
}
