//! weir does not serve, says why and what to do, and disturbs nobody.

use std::net::TcpListener;

use weir_testkit::{Finished, PortBlock, WeirOptions, WeirProcess, WorkDir};

use crate::errors::walks_row;
use crate::wire::Client;
use crate::{options, yaml};

/// `EX_CONFIG`: the supervisor is not to try again at once.
const REFUSED: i32 = 78;

/// Nothing answers there: none of these tests needs a broker.
const NOBODY: &str = "127.0.0.1:9";

#[track_caller]
fn refused(options: &WeirOptions) -> Finished {
    let config = options.config.display().to_string();
    let finished = options.run(&["serve", "--config", &config]).unwrap();
    assert_eq!(finished.status.code(), Some(REFUSED), "{}{}", finished.stdout, finished.stderr);
    // The log's own checkpoints may stand there: it was opened, and closed again.
    let others = finished.stdout.lines().filter(|line| !line.starts_with("{\"event\":\"audit.checkpoint\""));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new(), "nothing is said to be served");
    finished
}

/// The last line on stderr says why.
#[track_caller]
fn check(options: &WeirOptions, expected: &str) {
    let finished = refused(options);
    let last = finished.stderr.trim_end().lines().last().unwrap_or_default();
    assert_eq!(last, format!("weir does not serve: {expected}"));
}

#[test]
fn five_errors_in_the_configuration_are_all_reported_and_nothing_is_served() {
    let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
    let options = options(&yaml(NOBODY, &ports), &dir, &ports);
    let text = format!(
        "version: 1\ndata_dir: data\n\
         upstream:\n  bootstrap: [\"{NOBODY}\"]\n  connect_timeout: 5\n\
         listeners:\n  - name: open\n    bind: \"{}\"\n    auth: [ouathbearer]\n  - name: open\n    bind: \"0.0.0.0:{}\"\n    auth: {{ anonymous: {{}} }}\n\
         policies: [\"policies/*.yaml\"]\n\
         limits: {{ idle_timeout: 0s }}\n\
         admin: {{ metrics: \"{}\" }}\n",
        ports.address(0),
        ports.port(4),
        ports.address(15)
    );
    dir.write("weir.yaml", text).unwrap();
    let finished = refused(&options);
    let places = ["weir.yaml:5:20", "weir.yaml:9:12", "weir.yaml:11:11", "weir.yaml:11:11", "weir.yaml:14:25"];
    check_problems(&finished, &places, "weir.yaml");
    walks_row("start-errors").is_said(&finished.stderr);
    check_same_as_weir_check(&options, &finished);
    assert_silent(&dir, &ports);
}

#[test]
fn five_errors_in_a_policy_are_all_reported_and_nothing_is_served() {
    let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
    let policy = r#"version: 1
access:
  - name: apps
    principals: { groups: [apps] }
    allow: [{ prodcue: ["orders"] }]
rules:
  - name: cards
    match: { topics: [], direction: both }
    fields:
      - { path: "card.number", transform: redact }
      - { path: "$.email", transform: { hash: { key: absent } } }
      - { path: "$.phone", transform: { maks: {} } }
"#;
    let options = options(&yaml(NOBODY, &ports).policy("orders", policy), &dir, &ports);
    let finished = refused(&options);
    let places = ["orders.yaml:5:", "orders.yaml:8:", "orders.yaml:10:", "orders.yaml:11:", "orders.yaml:12:"];
    check_problems(&finished, &places, "policies/orders.yaml");
    check_same_as_weir_check(&options, &finished);
    assert_silent(&dir, &ports);
}

/// Each problem is an `error:` line with a line behind it that says where; all of them come at once.
#[track_caller]
fn check_problems(finished: &Finished, places: &[&str], file: &str) {
    let text = &finished.stderr;
    let lines: Vec<&str> = text.lines().collect();
    let errors: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("error: ")).collect();
    for place in places {
        assert!(errors.iter().any(|at| lines[at + 1].contains(place)), "no error at {place}:\n{text}");
    }
    assert_eq!(errors.len(), places.len(), "{text}");
    assert!(errors.iter().all(|at| lines[at + 1].trim_start().contains(file)), "{text}");
    assert!(text.ends_with("weir does not serve with errors in its configuration\n"), "{text}");
}

#[track_caller]
fn check_same_as_weir_check(options: &WeirOptions, served: &Finished) {
    let config = options.config.display().to_string();
    let checked = options.run(&["check", "--config", &config]).unwrap();
    assert_eq!(checked.status.code(), Some(1));
    let problems = served.stderr.trim_end_matches("weir does not serve with errors in its configuration\n");
    assert!(checked.stdout.starts_with(problems.trim_end()), "{}\n---\n{}", checked.stdout, served.stderr);
}

/// No port was opened and no audit log begun.
#[track_caller]
fn assert_silent(dir: &WorkDir, ports: &PortBlock) {
    for index in [0, 1, 4, 15] {
        TcpListener::bind(ports.address(index)).unwrap();
    }
    assert!(!dir.path().join("data").exists());
}

#[test]
fn a_port_that_is_taken_is_named() {
    for (index, what) in
        [(0, "the bootstrap of listener `open`"), (1, "broker 1 of listener `open`"), (15, "`admin.metrics`")]
    {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        let taken = TcpListener::bind(ports.address(index)).unwrap();
        let options = options(&yaml(NOBODY, &ports), &dir, &ports);
        let expected = format!(
            "cannot listen on {}, {what}: Address already in use (os error 98); stop what listens there, or change the address",
            ports.address(index)
        );
        check(&options, &expected);
        walks_row("start-port").is_said(&expected);
        drop(taken);
        let mut weir = WeirProcess::start(options).unwrap();
        assert!(weir.stop().unwrap().success(), "with the port free it serves, and goes on with its log");
    }
}

#[test]
fn a_data_directory_in_use_is_refused_and_its_user_goes_on() {
    let (dir, ports, others) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap(), PortBlock::reserve().unwrap());
    let mut first = WeirProcess::start(options(&yaml(NOBODY, &ports), &dir, &ports)).unwrap();
    let second_dir = WorkDir::new().unwrap();
    let second_yaml = yaml(NOBODY, &others).to_yaml().replace("data_dir: data", &data_dir(&dir.path().join("data")));
    let second = options(&yaml(NOBODY, &others), &second_dir, &others);
    second_dir.write("weir.yaml", &second_yaml).unwrap();
    let data = dir.path().join("data");
    let expected = format!(
        "the audit log of `data_dir` {0} cannot be opened: the audit log in `{0}/audit/db` is in use by another weir process; stop \
         that one, or give each its own `data_dir`",
        data.display()
    );
    check(&second, &expected);
    walks_row("start-in-use").is_said(&expected);
    assert_eq!(first.ended().unwrap(), None);
    drop(Client::connect(&ports.address(0)));
    assert!(first.stop().unwrap().success());
    let mut second = WeirProcess::start(second).unwrap();
    assert!(second.stop().unwrap().success(), "when the first is gone the second may have it");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_refused() {
    let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
    let options = options(&yaml(NOBODY, &ports), &dir, &ports);
    let file = dir.write("file", "not a folder").unwrap();
    for (data, said) in [
        (file.join("data"), "Not a directory (os error 20)"),
        ("/proc/weir".into(), "No such file or directory (os error 2)"),
    ] {
        dir.write("weir.yaml", yaml(NOBODY, &ports).to_yaml().replace("data_dir: data", &data_dir(&data))).unwrap();
        let expected = format!(
            "the audit log of `data_dir` {0} cannot be opened: cannot create the directory `{0}/keys`: {said}",
            data.display()
        );
        check(&options, &expected);
    }
}

fn data_dir(path: &std::path::Path) -> String {
    format!("data_dir: {}", path.display())
}
