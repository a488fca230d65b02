//! `upstream.auth`: who weir is to the brokers, and where its password is.

use std::path::Path;

use super::{WHOLE, check_in, folder, load_text, write_key};

const AUTH: &str = "{ mechanism: scram-sha-512, username: weir, password: { file: kafka.password } }";
const PASSWORD: &str = "must-not-be-printed";

fn write_password(folder: &Path) {
    write_key(&folder.join("kafka.password"), &format!("{PASSWORD}\n"), 0o600);
}

/// `upstream.auth` behind `connect_timeout`, on line 7.
fn check_auth(prepare: impl Fn(&Path), auth: &str, expected: &[&str]) {
    let with_password = |folder: &Path| {
        write_password(folder);
        prepare(folder);
    };
    let line = "  connect_timeout: 3s\n";
    check_in(with_password, line, &format!("{line}  auth: {auth}\n"), expected);
}

#[test]
fn the_login_is_read_and_its_password_not_shown() {
    let folder = folder();
    write_password(folder.path());
    let text = WHOLE.replacen("listeners:", &format!("  auth: {AUTH}\nlisteners:"), 1);
    let (config, problems) = load_text(&folder, &text);
    assert_eq!(problems, [""; 0]);
    let config = config.unwrap();
    let auth = config.upstream.auth.as_ref().unwrap();
    assert_eq!((auth.mechanism.name(), auth.username.as_str()), ("SCRAM-SHA-512", "weir"));
    assert_eq!(auth.password.reveal().as_str(), PASSWORD, "without its line feed");
    let login = auth.login();
    assert!(login.has_password(PASSWORD));
    let shown = format!("{config:?} {login:?} {}", config.effective);
    assert!(shown.contains("Secret(..)") && shown.contains("kafka.password") && !shown.contains(PASSWORD), "{shown}");
}

#[test]
fn the_login_to_the_brokers_names_a_user_and_where_its_password_is() {
    let with = |auth: &str, expected: &[&str]| check_auth(|_| {}, auth, expected);
    with("{ mechanism: scram-sha-256, username: weir, password: { env: KAFKA_PASSWORD } }", &[]);
    with(
        "{ mechanism: SCRAM-SHA-512, username: weir, password: { env: KAFKA_PASSWORD } }",
        &["error: `upstream.auth.mechanism` has an unknown value \
           | weir.yaml:7:22 one of plain, scram-sha-256, scram-sha-512"],
    );
    with(
        "{ mechanism: scram-sha-512, username: \"\", password: { env: KAFKA_PASSWORD } }",
        &["error: `upstream.auth.username` is not a name \
           | weir.yaml:7:47 1 to 255 bytes without control characters"],
    );
    with(
        "{ password: { env: KAFKA_PASSWORD }, usrname: weir }",
        &[
            "error: `mechanism` is required | weir.yaml:7:9 one of plain, scram-sha-256, scram-sha-512",
            "error: `username` is required | weir.yaml:7:9 the name that the brokers know weir by",
            "error: unknown key `usrname` | weir.yaml:7:46 did you mean `username`?",
        ],
    );
    with(
        "{ mechanism: oauthbearer, token_url: \"https://sso\", client_id: weir, client_secret: must-not-be-printed }",
        &[
            "error: `upstream.auth.mechanism: oauthbearer` is not supported yet \
             | weir.yaml:7:22 one of plain, scram-sha-256, scram-sha-512",
            "error: `upstream.auth.token_url` is not supported yet \
             | weir.yaml:7:35 one of plain, scram-sha-256, scram-sha-512",
            "error: `upstream.auth.client_id` is not supported yet \
             | weir.yaml:7:61 one of plain, scram-sha-256, scram-sha-512",
            "error: `upstream.auth.client_secret` is not supported yet \
             | weir.yaml:7:78 one of plain, scram-sha-256, scram-sha-512",
        ],
    );
}

#[test]
fn secrets_are_read_from_files_and_variables_and_never_shown() {
    let with = |password: &str, expected: &[&str]| {
        check_auth(|_| {}, &AUTH.replace("{ file: kafka.password }", password), expected)
    };
    for literal in ["must-not-be-printed", "\"must-not-be-printed\"", "4711", "[must-not-be-printed]", "~"] {
        let expected = "error: `upstream.auth.password` is a literal | weir.yaml:7:63 use { file: … } or { env: … }";
        with(literal, &[expected]);
    }
    let one = "error: `upstream.auth.password` needs `file` or `env`, one of them | weir.yaml:7:63";
    with("{}", &[one]);
    with("{ file: kafka.password, env: KAFKA_PASSWORD }", &[one]);
    with(
        "{ env: must-not-be-printed }",
        &["error: `env` is not the name of an environment variable | weir.yaml:7:70 as in env: WEIR_KAFKA_PASSWORD"],
    );
    with("{ env: ABSENT }", &["error: the environment variable that `env` names is not set | weir.yaml:7:70"]);
    with(
        "{ env: KAFKA_PASSWORDS }",
        &["error: `upstream.auth.password` has more than one line, or other control characters \
           | weir.yaml:7:70 one line of at most 1024 bytes"],
    );
    with(
        "{ file: must-not-be-printed }",
        &["error: cannot read the file of `upstream.auth.password`: there is no such file | weir.yaml:7:71"],
    );
    let file = |text: String, mode| move |folder: &Path| write_key(&folder.join("kafka.password"), &text, mode);
    let same = |prepare: &dyn Fn(&Path), expected: &[&str]| check_auth(prepare, AUTH, expected);
    for mode in [0o644, 0o604, 0o602] {
        let expected = "error: secret file `kafka.password` is open to every user of this machine \
                        | weir.yaml:7:71 its owner and group are enough: chmod o-rwx kafka.password";
        same(&file("x".to_owned(), mode), &[expected]);
    }
    let of_size = |bytes: usize| file("x".repeat(bytes) + "\r\n", 0o600);
    same(&of_size(1024), &[]);
    let long = "error: cannot read the file of `upstream.auth.password`: it is larger than 1026 bytes | weir.yaml:7:71";
    same(&of_size(1025), &[long]);
    let empty = "error: `upstream.auth.password` is empty | weir.yaml:7:71 one line of at most 1024 bytes";
    same(&of_size(0), &[empty]);
    same(&file(String::new(), 0o600), &[empty]);
}

#[test]
fn a_password_in_clear_text_off_loopback_is_warned_of() {
    let plain = AUTH.replace("scram-sha-512", "plain");
    let warning = "warning: the password for `kafka-1.internal:9092` crosses the network in clear text \
                   | weir.yaml:7:9 add upstream.tls, or use mechanism: scram-sha-512 which sends a proof instead";
    check_auth(|_| {}, &plain, &[warning]);
    check_auth(|_| {}, &format!("{plain}\n  tls: {{}}"), &[]);
    let section = WHOLE.split_once("bootstrap: ").unwrap().1.split_once("listeners:").unwrap().0;
    let local = section.replace("kafka-1.internal", "localhost").replace("2001:db8::1", "::1");
    check_in(write_password, section, &format!("{local}  auth: {plain}\n"), &[]);
}
