//! Nobody fills the disk with log lines.

use serde_json::Value;

use crate::ground::{Weir, until};

/// Written of lines that are alike before any is kept back (`LIKE_BURST`).
const BURST: u64 = 100;
const FLOOD: u64 = 400;

fn sum(lines: &[Value], key: &str) -> u64 {
    lines.iter().filter_map(|line| line[key].as_u64()).sum()
}

#[test]
fn a_flood_of_bad_logins_writes_few_lines_and_is_counted() {
    let weir = Weir::start(|yaml| yaml);
    for _ in 0..FLOOD {
        assert_ne!(weir.apps().login("no.token.atall").error, 0);
    }
    let refused = r#"weir_logins_total{listener="apps",result="refused"}"#;
    until("all are counted", || weir.metric(refused) == 400.0);
    weir.tell_to_stop();
    assert_eq!(weir.ended(), Some(0));
    let lines = weir.log(|line| line["event"] == "login.refused");
    let written = lines.len() as u64;
    // One more each five seconds that the flood took.
    assert!((BURST..BURST + 100).contains(&written), "{written} lines");
    let left = weir.log(|line| line["event"] == "log.suppressed" && line["of"] == "login.refused");
    assert_eq!(left[0]["who"], "127.0.0.0/24", "{left:?}");
    assert_eq!(written + sum(&lines, "suppressed") + sum(&left, "lines"), FLOOD, "each is written or told of");
}
