//! Apache Kafka's jars, resolved by Maven once per machine and kept in the user's cache.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, thread};

use crate::Error;
use crate::child::{self, POLL};

/// The broker that tests run: the newest release.
pub const BROKER_VERSION: &str = "4.4.0";
/// The command line tools; none were published with [`BROKER_VERSION`], and these work with it.
pub const TOOLS_VERSION: &str = "4.3.1";

/// The folder with the broker's jars, `kafka-clients` among them. Downloads them the first time.
///
/// # Errors
/// When Java or Maven is missing, or Maven cannot resolve the artifacts.
pub fn broker() -> Result<PathBuf, Error> {
    resolve("kafka", BROKER_VERSION, &["kafka_2.13"])
}

/// The folder with Kafka's own message definitions of [`BROKER_VERSION`], `ProduceRequest.json` and its like: what the
/// guard's schema table is generated from.
///
/// # Errors
/// As [`broker`].
pub fn messages() -> Result<PathBuf, Error> {
    Ok(broker()?.join(MESSAGES))
}

/// The folder with the jars of the command line tools. Downloads them the first time.
///
/// # Errors
/// As [`broker`].
pub fn tools() -> Result<PathBuf, Error> {
    resolve("kafka-tools", TOOLS_VERSION, &["kafka_2.13", "kafka-tools"])
}

/// A `java` command with the given jars, tuned for a short life: `main` is the class, `options` go to the JVM.
pub(crate) fn java(jars: &Path, options: &[String], main: &str, mut command: Command) -> Command {
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
    command.args(options).arg("-cp").arg(jars.join("*")).arg(main);
    command
}

/// What to do when Java or Maven is not there.
pub(crate) const CURE: &str =
    "on Debian: apt-get install openjdk-17-jdk-headless maven   (./justw test offers to do it)";

/// `slf4j-simple`: without a binding, a broker that refuses its configuration dies silently.
const SLF4J_VERSION: &str = "1.7.36";
/// Part of the folder's name, so that a change of what is in it is a new folder.
const LAYOUT: &str = "1";
const MESSAGES: &str = "common/message";
const MAVEN_GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
/// 43 MB over a slow line.
const DOWNLOAD_WITHIN: Duration = Duration::from_secs(900);

fn resolve(name: &str, version: &str, artifacts: &[&str]) -> Result<PathBuf, Error> {
    let cache = cache_dir()?;
    let target = cache.join(format!("{name}-{version}-{LAYOUT}"));
    if target.is_dir() {
        return Ok(target);
    }
    fs::create_dir_all(&cache).map_err(Error::io(format!("make {}", cache.display())))?;
    // One download at a time; who waited finds the folder.
    let lock_path = cache.join(format!("{name}-{version}.lock"));
    let lock = File::create(&lock_path).map_err(Error::io(format!("open {}", lock_path.display())))?;
    while lock.try_lock().is_err() {
        thread::sleep(POLL);
    }
    if target.is_dir() {
        return Ok(target);
    }
    let work = tempfile::Builder::new()
        .prefix("kafka-download-")
        .tempdir_in(&cache)
        .map_err(Error::io(format!("make a folder in {}", cache.display())))?;
    download(work.path(), version, artifacts)?;
    // The folder appears whole or not at all: a killed download leaves only a temporary folder behind.
    fs::rename(work.path().join("jars"), &target).map_err(Error::io(format!("rename to {}", target.display())))?;
    Ok(target)
}

fn download(work: &Path, version: &str, artifacts: &[&str]) -> Result<(), Error> {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        )
    };
    let mut dependencies: String =
        artifacts.iter().map(|artifact| dependency("org.apache.kafka", artifact, version)).collect();
    dependencies.push_str(&dependency("org.slf4j", "slf4j-simple", SLF4J_VERSION));
    let pom = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>weir</groupId><artifactId>kafka</artifactId>\
         <version>1</version><dependencies>{dependencies}</dependencies></project>"
    );
    let file = work.join("pom.xml");
    fs::write(&file, pom).map_err(Error::io(format!("write {}", file.display())))?;
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", MAVEN_GOAL, "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", work.join("jars").display())).arg("-f").arg(&file);
    maven.current_dir(work);
    for program in ["mvn", "java", "jar"] {
        need(program)?;
    }
    child::run(&mut maven, "mvn dependency:copy-dependencies", &[], DOWNLOAD_WITHIN)?
        .success(&format!("the download of Apache Kafka {version} by Maven"))?;
    let mut extract = Command::new("jar");
    extract.current_dir(work.join("jars")).arg("-xf").arg(format!("kafka-clients-{version}.jar")).arg(MESSAGES);
    child::run(&mut extract, "jar", &[], DOWNLOAD_WITHIN)?.success("the extraction of Kafka's message definitions")?;
    Ok(())
}

/// Fails with the cure when `program` is not on the path.
pub(crate) fn need(program: &str) -> Result<(), Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return Ok(());
    }
    Err(Error::Missing { what: format!("the program `{program}`"), cure: CURE.into() })
}

fn cache_dir() -> Result<PathBuf, Error> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => match env::var_os("HOME") {
            Some(home) => PathBuf::from(home).join(".cache"),
            None => return Err(Error::Missing { what: "a cache folder".into(), cure: "set HOME".into() }),
        },
    };
    Ok(base.join("weir"))
}
