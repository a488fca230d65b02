//! Runs the demonstration as a user does and reads its screen; once more without rules, as the control: the same screen then shows clear
//! text, so it shows what is there and not what it hopes for.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

const CARD: &str = "4111111111111111";
const MASKED: &str = "************1111";
const ADDRESS: &str = "ada@example.com";

/// The weir that was built from this checkout: built now, so that it is never an older one.
static WEIR: LazyLock<PathBuf> = LazyLock::new(|| {
    let demo = Path::new(env!("CARGO_BIN_EXE_weir-demo"));
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "weir", "--bin", "weir"]);
    if demo.components().any(|part| part.as_os_str() == "release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "weir does not build");
    demo.with_file_name("weir")
});

struct Screen(String);

impl Screen {
    fn of(arguments: &[&str]) -> Self {
        let mut demo = Command::new(env!("CARGO_BIN_EXE_weir-demo"));
        let output = demo.arg("--weir").arg(&*WEIR).args(arguments).output().unwrap();
        let (screen, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{screen}\n{errors}");
        Self(screen)
    }

    /// The one line with that label.
    fn line(&self, label: &str) -> &str {
        let mut lines = self.0.lines().filter(|line| line.contains(label));
        let line = lines.next().unwrap_or_else(|| panic!("no line `{label}` in\n{}", self.0));
        assert_eq!(lines.next(), None, "two lines `{label}` in\n{}", self.0);
        line
    }

    /// The line holds the first text and not the second.
    fn check(&self, label: &str, shows: &str, hides: &str) {
        let line = self.line(label);
        assert!(
            line.contains(shows) && !line.contains(hides),
            "`{label}` must show {shows} and not {hides}:\n{}",
            self.0
        );
    }

    /// What comes after the line with that label.
    fn after(&self, label: &str) -> &str {
        self.0.split_once(label).unwrap_or_else(|| panic!("no `{label}` in\n{}", self.0)).1
    }
}

#[test]
fn shows_masking_refusal_and_the_log() {
    let screen = Screen::of(&[]);
    screen.check("the broker stored", MASKED, CARD);
    screen.check("the broker stored", ADDRESS, "email changed");
    screen.check("analytics receives", MASKED, ADDRESS);
    screen.check("analytics receives", "2 values changed", CARD);
    screen.check("fraud-desk receives", ADDRESS, CARD);
    screen.check("fraud-desk receives", "card.number changed", "email changed");
    screen.check("the broker holds", "1 record", "records");
    assert!(screen.0.contains("INVALID_RECORD") || screen.0.contains("InvalidRecord"), "{}", screen.0);
    let after_login = screen.after("with a token that expired");
    assert!(after_login.lines().nth(1).unwrap().contains("token expired 3 minutes ago"), "{}", screen.0);
    assert!(after_login.lines().nth(2).unwrap().contains("token_expired, event 01"), "{}", screen.0);
    assert!(screen.0.contains("rule `card-secrets`, event 01"), "{}", screen.0);
    let log = screen.after("weir audit query --topic payments.eu");
    for word in ["checkout", "analytics", "fraud-desk", "card-numbers", "emails-for-the-few", "card-secrets"] {
        assert!(log.contains(word), "no {word} in the log:\n{}", screen.0);
    }
    assert!(!log.contains(CARD) && !log.contains(ADDRESS), "the log holds data:\n{}", screen.0);
    screen.check("weir audit verify", "exit 0", "exit 1");
    assert!(screen.after("weir audit verify").contains("chain and tree intact"), "{}", screen.0);
    screen.check("one bit flipped", "exit 1", "exit 0");
    screen.check("a copy cut short", "exit 1", "exit 0");
}

#[test]
fn control_without_rules_the_same_screen_shows_clear_text() {
    let screen = Screen::of(&["--policy", "none"]);
    for label in ["the broker stored", "analytics receives", "fraud-desk receives"] {
        // `the broker stored` stands there twice: the second order is stored too.
        let line = screen.after(label).lines().next().unwrap();
        assert!(line.contains(CARD) && line.contains(ADDRESS) && line.contains("as sent"), "{}", screen.0);
    }
    screen.check("the broker holds", "2 records", MASKED);
    assert!(screen.after("checkout sends").contains("737"), "{}", screen.0);
    assert!(!screen.0.contains(MASKED) && !screen.0.contains("changed"), "{}", screen.0);
    // Access, login and log do not depend on rules.
    assert!(screen.after("with a token that expired").lines().nth(1).unwrap().contains("refused"), "{}", screen.0);
    screen.check("weir audit verify", "exit 0", "exit 1");
}

#[test]
fn says_what_is_missing_when_there_is_no_weir() {
    let output = Command::new(env!("CARGO_BIN_EXE_weir-demo")).args(["--weir", "/nonexistent/weir"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("no weir at /nonexistent/weir"), "{errors}");
}
