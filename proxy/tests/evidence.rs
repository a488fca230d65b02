//! What `weir audit verify` may call proven, by the built binary on real files: whoever has the signing key and the directory, against whoever
//! has the trust file and what was collected. Each row of the table in `docs/audit.md`; the same in memory, and more of it, is in
//! `crates/audit/tests/audit/attacks.rs`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

#[path = "common/errors.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod errors;

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use weir_audit::{
    Commit, Committer, ConnectionId, EntryBody, EventId, KeptCheckpoint, Kind, Outcome, PrincipalKind, PrincipalRef,
    Ticket,
};
use weir_audit_store::{Age, Demand, Opened, Store};

use crate::errors::walks_row;

const START: u64 = 1_760_000_000_000_000_000;

/// A data directory with a log, as the gateway leaves one, and what it printed.
struct Log {
    dir: TempDir,
    /// The directory before the first entry.
    origin: TempDir,
    printed: String,
}

impl Log {
    fn new() -> Self {
        let log = Self { dir: TempDir::new().unwrap(), origin: TempDir::new().unwrap(), printed: String::new() };
        drop(Store::open(log.path()).unwrap());
        weir_audit_store::checkpoint_seed(log.path()).unwrap();
        copy_all(log.path(), log.origin.path());
        log
    }

    /// Another history under the name and the signing key of this one: what a thief of the directory writes.
    fn forged(&self) -> Self {
        self.copy_of(self.origin.path())
    }

    /// A copy of the directory.
    fn copy(&self) -> Self {
        self.copy_of(self.path())
    }

    fn copy_of(&self, path: &Path) -> Self {
        let copy = Self { dir: TempDir::new().unwrap(), origin: TempDir::new().unwrap(), printed: String::new() };
        copy_all(path, copy.path());
        copy_all(self.origin.path(), copy.origin.path());
        copy
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Appends entries, with a checkpoint each hundred and at the end. `key`: another than that of the directory.
    fn grow(&mut self, numbers: Range<u64>, key: Option<u8>) {
        let (mut committer, opened) = self.open();
        let mut signer = opened.signer(self.path(), key.map(|seed| [seed; 32])).unwrap();
        if opened.begins {
            committer.sink_mut().sync_checkpoint(&mut signer).unwrap();
        }
        if let Some(before) = signer.last_by_another_key().cloned() {
            let change = EntryBody::new(Kind::KeyChange, EventId([3; 16]), START);
            append(&mut committer, [EntryBody { reason: Some(before.to_string()), ..change }]);
        }
        for begin in numbers.clone().step_by(100) {
            append(&mut committer, (begin..numbers.end.min(begin + 100)).map(body));
            let signed = committer.sink_mut().sync_checkpoint(&mut signer).unwrap();
            self.printed += &signed.line(START);
            committer.keep(KeptCheckpoint::new(signed, committer.state().head.frontier.clone()).unwrap());
        }
    }

    /// Prunes what is older than this entry, under an entry that is signed with the key of the directory.
    fn prune(&mut self, number: u64) {
        let (mut committer, _) = self.open();
        let now = START + 1_000_000_000;
        let age = Age { max: now - (START + number * 1_000), now };
        let demand = Demand { age: Some(age), covered: u64::MAX, bytes: 0 };
        let plan = committer.sink_mut().pruner().plan(&demand).unwrap().unwrap();
        let seed = weir_audit_store::checkpoint_seed(self.path()).unwrap();
        let key = weir_audit::CheckpointKey::from_seed(committer.state().chain, &seed).unwrap();
        let mut prune = plan.prune.clone();
        prune.note = Some(key.sign_prune(&prune));
        assert!(committer.sink_mut().stage(plan));
        let bare = EntryBody::new(Kind::Prune, EventId([3; 16]), START + 1_000_000_000);
        append(&mut committer, [EntryBody { prune: Some(Box::new(prune)), ..bare }]);
    }

    fn open(&self) -> (Committer<Store>, Opened) {
        let (store, opened) = Store::open(self.path()).unwrap();
        let mut committer = Committer::open(store, opened.chain.clone());
        opened.checkpoint.iter().for_each(|kept| committer.keep(kept.clone()));
        (committer, opened)
    }

    /// The trust file of the log as it is now.
    fn trust(&self) -> String {
        let told = weir(&["audit", "key", "--data-dir", self.path().to_str().unwrap()]);
        assert_eq!(told.0, 0, "{}", told.1);
        told.1
    }

    fn chain(&self) -> String {
        fs::read_to_string(self.path().join("keys/chain-id")).unwrap().trim_end().to_owned()
    }
}

fn body(number: u64) -> EntryBody {
    EntryBody {
        principal: Some(PrincipalRef { kind: PrincipalKind::Oauthbearer, id: format!("app-{}", number % 5) }),
        outcome: Outcome::Stored,
        ..EntryBody::new(Kind::Produce, EventId::new(number, [1; 10]), START + number * 1_000)
    }
}

fn append(committer: &mut Committer<Store>, bodies: impl IntoIterator<Item = EntryBody>) {
    let queued = (0..)
        .zip(bodies)
        .map(|(number, entry)| (Ticket::new(ConnectionId(1), number), Commit::Entry { entry, closes: Vec::new() }));
    assert_eq!(committer.commit(queued.collect()).unrecorded, []);
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy_all(&file.path(), &to);
        } else {
            fs::copy(file.path(), to).unwrap();
        }
    }
}

/// How it ends, and what it says, on both outputs.
fn weir(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).output().unwrap();
    let told = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.code().unwrap(), told)
}

/// What the auditor has, in files of his own.
struct Auditor {
    dir: TempDir,
    anchors: Vec<PathBuf>,
}

impl Auditor {
    fn new(trust: &str, collected: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("trust.txt"), trust).unwrap();
        let anchors = (0..collected.len()).map(|number| dir.path().join(format!("collected-{number}.log"))).collect();
        let auditor = Self { dir, anchors };
        auditor.anchors.iter().zip(collected).for_each(|(path, text)| fs::write(path, text).unwrap());
        auditor
    }

    fn verify(&self, log: &Log, more: &[&str]) -> (i32, String) {
        let trust = self.dir.path().join("trust.txt");
        let mut arguments =
            vec!["audit", "verify", "--data-dir", log.path().to_str().unwrap(), "--trust", trust.to_str().unwrap()];
        arguments.extend(self.anchors.iter().flat_map(|path| ["--anchor", path.to_str().unwrap()]));
        arguments.extend(more);
        weir(&arguments)
    }
}

/// It ends so and says all of this; as JSON it is the same verdict. Gives what it says.
#[track_caller]
fn check(auditor: &Auditor, log: &Log, more: &[&str], exit: i32, says: &[&str]) -> String {
    let (code, told) = auditor.verify(log, more);
    assert_eq!(code, exit, "{told}");
    assert!(says.iter().all(|part| told.contains(part)), "{told}");
    let (code, json) = auditor.verify(log, &[more, &["--report", "json"]].concat());
    let report: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(
        (code, report["verdict"].as_str()),
        (exit, Some(["verified", "tampered", "", "inconclusive"][usize::try_from(exit).unwrap()]))
    );
    assert_eq!(report["findings"].as_array().unwrap().is_empty(), exit != 1, "{report}");
    assert!(exit != 3 || !report["doubts"].as_array().unwrap().is_empty(), "{report}");
    told
}

#[test]
fn a_rewritten_log_that_says_it_was_pruned_is_not_proven() {
    let mut truth = Log::new();
    truth.grow(0..900, None);
    let trust = truth.trust();
    // The thief writes another history, says that its beginning was pruned, and the gateway goes on with it and prints.
    let mut forged = truth.forged();
    forged.grow(10_000..11_100, None);
    forged.prune(20_000);
    forged.grow(11_100..11_150, None);
    let lines = forged.printed.lines().rev().take(1).collect::<String>();
    let auditor = Auditor::new(&trust, &[&truth.printed, &lines]);
    let told =
        check(&auditor, &forged, &[], 3, &["9 collected checkpoints lie before entry 1024", "anchored to entry 1150"]);
    walks_row("verify-pruned").is_said(&told);
    // What was proven before the theft does not help him.
    check(&auditor, &forged, &["--proven-to", "900"], 3, &["9 collected checkpoints lie before entry 1024"]);
    // Control: without what was collected before nobody notices.
    check(&Auditor::new(&trust, &[&lines]), &forged, &[], 0, &["entries before 1024 were pruned"]);
    // A cut further ahead leaves some of them to be compared.
    let mut forged = truth.forged();
    forged.grow(10_000..10_900, None);
    forged.prune(10_600);
    forged.grow(10_900..10_950, None);
    check(&auditor, &forged, &[], 1, &["FORK: the rows fit each other and not a collected checkpoint"]);
}

#[test]
fn a_log_that_was_pruned_is_proven_by_going_on_from_the_verification_before() {
    let mut log = Log::new();
    log.grow(0..700, None);
    let trust = log.trust();
    let before = Auditor::new(&trust, &[&log.printed]);
    let (code, json) = before.verify(&log, &["--report", "json"]);
    let report: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((code, report["anchored"]["entries"].as_u64()), (0, Some(700)));
    log.prune(600);
    log.grow(700..800, None);
    let auditor = Auditor::new(&trust, &[&log.printed]);
    check(&auditor, &log, &[], 3, &["5 collected checkpoints lie before entry 512", "--proven-to ENTRIES"]);
    check(&auditor, &log, &["--proven-to", "700"], 0, &["entries before 512 were pruned", "anchored to entry 800"]);
    check(&auditor, &log, &["--proven-to", "500"], 3, &["5 collected checkpoints lie before entry 512"]);
    // The lines of that verification must be there again.
    let last = log.printed.lines().last().unwrap();
    let first = log.printed.lines().next().unwrap();
    check(
        &Auditor::new(&trust, &[first, last]),
        &log,
        &["--proven-to", "700"],
        3,
        &["1 collected checkpoint lies before"],
    );
    check(&Auditor::new(&trust, &[last]), &log, &[], 0, &["1 collected checkpoint, anchored to entry 800"]);
}

#[test]
fn a_log_without_its_change_of_keys_is_not_proven() {
    let mut truth = Log::new();
    truth.grow(0..100, None);
    let (old, old_trust) = (truth.copy(), truth.trust());
    truth.grow(100..200, Some(2));
    let trust = truth.trust();
    assert_eq!(trust.lines().count(), 2);
    let auditor = Auditor::new(&trust, &[]);
    check(&auditor, &truth, &[], 0, &["signed to entry 200"]);
    // Whoever stole the first key goes on with it.
    let mut forged = old.forged();
    forged.grow(10_000..10_300, None);
    let told = check(&auditor, &forged, &[], 3, &["the newest checkpoint is by key"]);
    walks_row("verify-older-key").is_said(&told);
    let ids: Vec<&str> = trust.lines().map(|line| line.split('+').nth(1).unwrap()).collect();
    assert!(told.contains(&format!("by key {}, and the last key of the trust file is {}", ids[0], ids[1])), "{told}");
    // The old copy put back looks the same; who means to look at it has the trust file of then.
    check(&auditor, &old, &[], 3, &["the newest checkpoint is by key", "is verified with the trust file of then"]);
    check(&Auditor::new(&old_trust, &[]), &old, &[], 0, &[]);
    // What the second key signed was collected: then it is proven.
    let auditor = Auditor::new(&trust, &[&truth.printed]);
    check(&auditor, &truth, &[], 0, &[]);
    check(&auditor, &forged, &[], 1, &["FORK"]);
    check(&auditor, &old, &[], 1, &["ROLLBACK: collected checkpoints vouch for these entries"]);
}

#[test]
fn another_log_in_the_place_of_the_one_that_was_asked_for_is_named() {
    let (mut mine, mut other) = (Log::new(), Log::new());
    mine.grow(0..50, None);
    other.grow(0..60, None);
    let (own, foreign) = (mine.chain(), other.chain());
    let both = format!("{}{}", mine.trust(), other.trust());
    let named = format!("this is weir/audit/{foreign}, and ");
    // One trust file, one log.
    let auditor = Auditor::new(&mine.trust(), &[&mine.printed]);
    check(&auditor, &mine, &[], 0, &[]);
    let told =
        check(&auditor, &other, &[], 1, &["entries 0–59: OTHER_LOG", &named, "the trust file has keys of weir/audit/"]);
    walks_row("verify-other-log").is_said(&told);
    // Two replicas into one collector, one trust file for both: he must say which.
    let mixed: String = mine.printed.lines().zip(other.printed.lines()).map(|(a, b)| format!("{a}\n{b}\n")).collect();
    let auditor = Auditor::new(&both, &[&mixed]);
    for log in [&mine, &other] {
        check(&auditor, log, &[], 3, &["keys of 2 logs, and which of them should be here was not said", "--chain ID"]);
    }
    check(
        &auditor,
        &mine,
        &["--chain", &own],
        0,
        &["1 collected checkpoint (1 more of other logs), anchored to entry 49"],
    );
    check(&auditor, &other, &["--chain", &format!("weir/audit/{foreign}")], 0, &[]);
    check(&auditor, &other, &["--chain", &own], 1, &[&format!("{named}weir/audit/{own} was asked for")]);
    // All that was collected is of the other one.
    let auditor = Auditor::new(&both, &[&mine.printed]);
    check(&auditor, &other, &[], 1, &["collected checkpoints that a trusted key signed (1) are of weir/audit/"]);
    check(
        &auditor,
        &other,
        &["--chain", &foreign],
        3,
        &["no collected checkpoint covers the entries (0 of this log, 1 of others)"],
    );
    assert_eq!(auditor.verify(&mine, &["--chain", "5"]).0, 2);
    // Without a trust file nobody can tell whose lines they are, but which log it is can be asked all the same.
    let plain = ["audit", "verify", "--data-dir", other.path().to_str().unwrap(), "--chain", &own];
    assert_eq!(weir(&plain).0, 1);
}

#[test]
fn collected_files_are_read_whatever_they_are_and_what_is_lost_in_them_is_said() {
    let mut log = Log::new();
    log.grow(0..300, None);
    let trust = log.trust();
    let line = |number: usize| log.printed.lines().nth(number).unwrap().to_owned();
    // Twice the same, rotated in the middle of a line, between lines of others.
    let text = format!("weir 0.1.0\n{}\nGET / 200\n{}", log.printed, log.printed);
    let (head, tail) = text.split_at(text.len() / 2 + 5);
    let half = line(2).get(..200).unwrap().to_owned();
    let auditor = Auditor::new(&trust, &[&text, &format!("{head}\n{half}"), tail, ""]);
    check(&auditor, &log, &[], 0, &["3 collected checkpoints, anchored to entry 299", "are cut short: passed over"]);
    // All in one line.
    let one = serde_json::json!({ "logEvents": vec![serde_json::json!({ "message": line(2) }); 100] }).to_string();
    check(&Auditor::new(&trust, &[&one]), &log, &[], 0, &["1 collected checkpoint, anchored to entry 299"]);
    // A damaged line, a line that is too long: named with its place.
    let damaged = format!("first\n{}\n{half}\n{}\n", line(0), line(1));
    let auditor = Auditor::new(&trust, &[&damaged]);
    let told = check(&auditor, &log, &[], 3, &["1 collected checkpoint could not be read: `"]);
    walks_row("verify-lines").is_said(&told);
    assert!(told.contains("collected-0.log` line 3"), "{told}");
    let long = format!("first\n{}{}\n{}\n{half}\n{}\n", "x".repeat(2 << 20), line(0), line(1), line(2));
    let told = check(
        &Auditor::new(&trust, &[&long]),
        &log,
        &[],
        3,
        &["2 collected checkpoints could not be read, the first at `"],
    );
    assert!(told.contains("collected-0.log` line 2"), "{told}");
    // Control: the same without them.
    check(&Auditor::new(&trust, &[&log.printed]), &log, &[], 0, &[]);
}

/// The memory that the reader of a large file takes is that of its checkpoints, not of the file.
#[test]
fn a_large_file_is_read_as_a_stream() {
    let mut log = Log::new();
    log.grow(0..300, None);
    let auditor = Auditor::new(&log.trust(), &[&log.printed]);
    let mut file = fs::File::create(&auditor.anchors[0]).unwrap();
    let noise = format!("{{\"event\":\"request.refused\",\"detail\":\"{}\"}}\n", "y".repeat(900)).repeat(1000);
    for number in 0..200 {
        file.write_all(noise.as_bytes()).unwrap();
        file.write_all(log.printed.lines().nth(number % 3).unwrap().as_bytes()).unwrap();
        file.write_all(b"\n").unwrap();
    }
    drop(file);
    let size = fs::metadata(&auditor.anchors[0]).unwrap().len();
    assert!(size > 175 << 20, "{size} bytes");
    let trust = auditor.dir.path().join("trust.txt");
    let (directory, anchors) = (log.path().to_str().unwrap(), auditor.anchors[0].to_str().unwrap());
    // 160 MB of address space for data: the binary needs some, the file does not fit.
    let script = "ulimit -d 163840; exec \"$0\" audit verify --data-dir \"$1\" --trust \"$2\" --anchor \"$3\"";
    let arguments = ["-c", script, env!("CARGO_BIN_EXE_weir"), directory, trust.to_str().unwrap(), anchors];
    let output = Command::new("sh").args(arguments).output().unwrap();
    let told = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("3 collected checkpoints, anchored to entry 299"), "{told}");
}
