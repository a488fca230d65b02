//! The verbs on real logs: what they print and how they end.

use std::path::Path;

use clap::Parser;
use weir_audit::{
    ClientRef, Commit, Committer, ConnectionId, Decision, EntryBody, EventId, Kind, Outcome, Part, PrincipalKind,
    PrincipalRef, RuleHit, Ticket,
};
use weir_audit_store::Store;

use super::{AuditArgs, run};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    audit: AuditArgs,
}

struct Ran {
    exit: String,
    out: String,
    err: String,
}

/// Runs `weir audit` with `--data-dir`.
fn weir_audit(data_dir: &Path, args: &[&str]) -> Ran {
    let (verb, rest) = args.split_first().unwrap();
    let line = ["audit", verb, "--data-dir", data_dir.to_str().unwrap()];
    let cli = Cli::try_parse_from(line.iter().chain(rest)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run(&cli.audit, &mut out, &mut err);
    Ran { exit: format!("{exit:?}"), out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

#[track_caller]
fn check_exit(ran: &Ran, code: u8) {
    assert_eq!(ran.exit, format!("{:?}", std::process::ExitCode::from(code)), "{}{}", ran.out, ran.err);
}

const START: u64 = 1_760_000_000_000_000_000;

fn body(seq: u64) -> EntryBody {
    let at = START + seq * 60_000_000_000;
    let bare = EntryBody::new(Kind::Boot, EventId::new(at / 1_000_000, [0; 10]), at);
    let principal = |id: &str| Some(PrincipalRef { kind: PrincipalKind::Oauthbearer, id: id.to_owned() });
    let hit = |action: &str, count| RuleHit { rule: "card-numbers".into(), action: action.into(), count };
    let part = |topic: &str, records| Part {
        topic: topic.to_owned(),
        topic_id: None,
        partition: 0,
        base_offset: Some(17),
        last_offset: Some(17),
        records,
        bytes_in: 90,
        bytes_out: 90,
        error_code: 0,
        producer: None,
        digest: Some([1; 32]),
    };
    match seq {
        0 => bare,
        1 => EntryBody {
            kind: Kind::AuthFail,
            decision: Decision::Refuse,
            reason: Some("expired".into()),
            count: 17,
            client: Some(ClientRef {
                address: [10, 0, 0, 1].into(),
                port: 5000,
                client_id: Some("evil\u{1b}[2J".into()),
                listener: "apps".into(),
                insecure: false,
            }),
            ..bare
        },
        2 => EntryBody {
            kind: Kind::Produce,
            principal: principal("checkout"),
            api: Some((0, 9)),
            decision: Decision::Mask,
            outcome: Outcome::Stored,
            rule_hits: vec![hit("mask", 2), hit("failure-redact", 3)],
            parts: vec![part("payments.eu", 1)],
            ..bare
        },
        _ => EntryBody {
            kind: Kind::Fetch,
            principal: principal("analytics\u{1b}[2J"),
            api: Some((1, 13)),
            outcome: Outcome::Delivered,
            parts: vec![part("payments.eu", 1), part("orders", 9)],
            ..bare
        },
    }
}

/// A log of four entries, the last of them newer than the checkpoint if `newer`.
fn log(newer: bool) -> tempfile::TempDir {
    let data_dir = tempfile::tempdir().unwrap();
    let (store, opened) = Store::open(data_dir.path()).unwrap();
    let mut committer = Committer::open(store, opened.chain);
    for seq in 0..4 {
        if seq > 0 && (!newer || seq == 3) {
            checkpoint(&mut committer);
        }
        let commit = Commit::Entry { entry: body(seq), closes: Vec::new() };
        assert_eq!(committer.commit(vec![(Ticket::new(ConnectionId(1), seq), commit)]).receipts.len(), 1);
    }
    if !newer {
        checkpoint(&mut committer);
    }
    data_dir
}

fn checkpoint(committer: &mut Committer<Store>) {
    let (chain, file) = (committer.state().chain, committer.sink_mut().checkpoint_file());
    let data_dir = file.path().ancestors().nth(2).unwrap();
    let mut signer = weir_audit_store::signer(data_dir, chain, file.read().unwrap(), None).unwrap();
    committer.sink_mut().sync_checkpoint(&mut signer).unwrap();
}

#[test]
fn query_prints_a_table_and_says_what_it_covers() {
    let log = log(false);
    let ran = weir_audit(log.path(), &["query"]);
    check_exit(&ran, 0);
    let expected = "\
SEQ  TIME                  PRINCIPAL            ACTION         TOPIC                RECORDS  DECISION           RULES
  0  2025-10-09T08:53:20Z  -                    boot           -                          -  -                  -
  1  2025-10-09T08:54:20Z  -                    auth_fail ×17  -                          -  refused (expired)  -
  2  2025-10-09T08:55:20Z  checkout             produce        payments.eu                1  masked             card-numbers ×5
  3  2025-10-09T08:56:20Z  analytics\\u{1b}[2J  fetch          payments.eu, orders       10  passed             -
";
    let squeeze =
        |text: &str| text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    assert_eq!(squeeze(&ran.out), squeeze(expected), "{}", ran.out);
    assert!(ran.out.lines().all(|line| !line.ends_with(' ') && !line.contains('\u{1b}')));
    assert_eq!(
        ran.err,
        "4 shown of entries 0–3, 2025-10-09T08:53:20.000000000Z to 2025-10-09T08:56:20.000000000Z; asked: the beginning to now\n"
    );
}

#[test]
fn the_same_option_again_is_or_and_different_options_are_and() {
    let log = log(false);
    let seqs = |args: &[&str]| {
        let ran = weir_audit(log.path(), &[&["query", "-o", "ndjson"], args].concat());
        check_exit(&ran, 0);
        let entries = ran.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        entries.map(|entry| entry["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(seqs(&["--topic", "payments.eu"]), [2, 3]);
    assert_eq!(seqs(&["--topic", "orders", "--topic", "nothing"]), [3]);
    assert_eq!(seqs(&["--topic", "payments.eu", "--principal", "checkout"]), [2]);
    assert_eq!(seqs(&["--topic", "orders", "--principal", "checkout"]), Vec::<u64>::new());
    assert_eq!(seqs(&["--rule", "card-numbers", "--scan"]), [2]);
    assert_eq!(seqs(&["-n", "1"]), [3]);
    assert_eq!(seqs(&["--since", "2025-10-09T08:54:20Z", "--until", "2025-10-09 08:55:20"]), [1, 2]);
    assert_eq!(seqs(&["--since", "1h"]), Vec::<u64>::new());
}

#[test]
fn ndjson_has_the_documented_keys() {
    let log = log(true);
    let ran = weir_audit(log.path(), &["query", "-o", "ndjson", "--rule", "card-numbers"]);
    let entry: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let docs = include_str!("../../../../docs/audit-format.md");
    let documented = docs.split("<!-- ndjson keys -->").nth(1).unwrap().split("<!-- end -->").next().unwrap();
    let mut keys: Vec<String> = Vec::new();
    let mut add = |prefix: &str, value: &serde_json::Value| {
        keys.extend(value.as_object().unwrap().keys().map(|key| format!("`{prefix}{key}`")));
    };
    add("", &entry);
    add("principal.", &entry["principal"]);
    add("api.", &entry["api"]);
    add("rules[].", &entry["rules"][0]);
    add("parts[].", &entry["parts"][0]);
    for key in keys {
        assert!(documented.contains(&key), "{key} is not documented");
    }
    assert_eq!(entry["time"], "2025-10-09T08:55:20.000000000Z");
    assert_eq!(entry["outcome"], "stored");
    assert_eq!(entry["parts"][0]["base_offset"], 17);
    assert!(ran.err.ends_with("the newest 1 are in no checkpoint yet\n"), "{}", ran.err);
}

#[test]
fn verify_ends_with_0_when_all_is_well_and_counts_what_is_newer_than_the_checkpoint() {
    let ran = weir_audit(log(false).path(), &["verify"]);
    check_exit(&ran, 0);
    assert!(ran.out.starts_with("4 entries, chain and tree intact, signed to entry 3\nroot "), "{}", ran.out);
    assert!(ran.err.contains("keys beside the log") && ran.err.contains("--anchor FILE"), "{}", ran.err);
    let ran = weir_audit(log(true).path(), &["verify"]);
    check_exit(&ran, 0);
    assert!(
        ran.out.starts_with("4 entries, chain and tree intact, signed to entry 2\nthe newest 1 are in no checkpoint yet, the oldest from "),
        "{}",
        ran.out
    );
}

#[test]
fn verify_ends_with_3_when_there_is_nothing_to_verify() {
    let nothing = tempfile::tempdir().unwrap();
    let ran = weir_audit(nothing.path(), &["verify"]);
    check_exit(&ran, 3);
    assert!(ran.err.starts_with("error: there is no audit log in `"), "{}", ran.err);
    check_exit(&weir_audit(&nothing.path().join("not-there"), &["verify", "--report", "json"]), 3);
    check_exit(&weir_audit(nothing.path(), &["query"]), 3);

    let empty = tempfile::tempdir().unwrap();
    drop(Store::open(empty.path()).unwrap());
    let ran = weir_audit(empty.path(), &["verify"]);
    check_exit(&ran, 3);
    assert_eq!(ran.out, "inconclusive: the log has no entries\n");

    let log = log(false);
    std::fs::remove_file(log.path().join("audit/checkpoint")).unwrap();
    let ran = weir_audit(log.path(), &["verify"]);
    check_exit(&ran, 3);
    assert!(ran.out.starts_with("inconclusive: 4 entries"), "{}", ran.out);
}

#[test]
fn verify_ends_with_1_and_names_what_is_missing() {
    let log = log(false);
    // The checkpoint of a longer log: what an older copy of the database looks like.
    let (store, opened) = Store::open(log.path()).unwrap();
    let mut committer = Committer::open(store, opened.chain);
    let older = tempfile::tempdir().unwrap();
    let files = |from: &Path, to: &Path| {
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    files(&log.path().join("audit/db"), older.path());
    let commit = Commit::Entry { entry: body(5), closes: Vec::new() };
    assert_eq!(committer.commit(vec![(Ticket::new(ConnectionId(1), 9), commit)]).receipts.len(), 1);
    checkpoint(&mut committer);
    drop(committer);
    std::fs::remove_dir_all(log.path().join("audit/db")).unwrap();
    std::fs::create_dir(log.path().join("audit/db")).unwrap();
    files(older.path(), &log.path().join("audit/db"));

    let ran = weir_audit(log.path(), &["verify"]);
    check_exit(&ran, 1);
    assert_eq!(ran.out, "entry 4: TRUNCATED: a checkpoint knows of these entries\nintact: 0–3 of 4 entries\n");
    let ran = weir_audit(log.path(), &["verify", "--report", "json"]);
    check_exit(&ran, 1);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["verdict"], "tampered");
    assert_eq!(report["findings"][0]["class"], "TRUNCATED");
    assert_eq!(report["intact"], serde_json::json!([[0, 3]]));
}

#[test]
fn verify_ends_with_4_when_the_log_cannot_be_read() {
    let log = log(false);
    // A directory in the place of the checkpoint: reading one as a file fails for root too.
    let head = log.path().join("audit/checkpoint");
    std::fs::remove_file(&head).unwrap();
    std::fs::create_dir(&head).unwrap();
    check_exit(&weir_audit(log.path(), &["verify"]), 4);
}

#[test]
fn wrong_usage_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("weir.yaml");
    let cli = Cli::try_parse_from(["audit", "verify", "--config", config.to_str().unwrap()]).unwrap();
    let exit = run(&cli.audit, &mut Vec::new(), &mut Vec::new());
    assert_eq!(format!("{exit:?}"), format!("{:?}", std::process::ExitCode::from(2)));
    for wrong in [&["audit", "query", "--since", "soon"][..], &["audit", "verify", "--data-dir", "a", "--config", "b"]]
    {
        let error = Cli::try_parse_from(wrong).map(|_| ()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
