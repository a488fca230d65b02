//! Everything that weir prints is searched for the password, in each form in which it could be there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::clients::{Consumer, Producer};
use crate::ground::{KAFKA, PASSWORD, Weir};

/// The wrong password of a login that is refused.
const WRONG: &str = "Wr0ng-secret-of-nobody-91";

/// A secret as it is, in hexadecimal, and in base64 wherever it may stand in what was encoded.
fn forms(secret: &str) -> Vec<String> {
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut forms = vec![secret.to_owned(), hex];
    for before in 0..3 {
        // Whole groups of three bytes that hold nothing but the secret.
        let skip = (3 - before) % 3;
        let inner = &secret.as_bytes()[skip..];
        forms.push(STANDARD.encode(&inner[..inner.len() / 3 * 3]));
    }
    forms
}

/// Where a secret is found.
fn found<'a>(secret: &str, places: &'a [(String, String)]) -> Vec<&'a str> {
    let forms = forms(secret);
    let holds = |text: &str| forms.iter().any(|form| text.contains(form.as_str()));
    places.iter().filter(|(_, text)| holds(text)).map(|(name, _)| name.as_str()).collect()
}

/// Everything that can be read of a weir from outside.
fn outputs(weir: &Weir) -> Vec<(String, String)> {
    let mut places = vec![("stdout".to_owned(), weir.stdout()), ("stderr".to_owned(), weir.log())];
    for page in ["/metrics", "/readyz", "/livez"] {
        places.push((page.to_owned(), weir.page(page).1));
    }
    let options = weir.options();
    let config = options.config.display().to_string();
    let verbs: [&[&str]; 6] = [
        &["check", "--config", &config],
        &["check", "--strict", "--config", &config],
        &["check", "--show", "--config", &config],
        &["--help"],
        &["serve", "--help"],
        &["audit", "query", "--output", "ndjson", "--config", &config],
    ];
    for verb in verbs {
        let finished = options.run(verb).unwrap();
        places.push((verb.join(" "), finished.stdout + &finished.stderr));
    }
    places
}

#[test]
fn no_output_shows_a_secret_in_any_form() {
    KAFKA.create_topic("secrets", 1).unwrap();
    for mechanism in ["plain", "scram-sha-512"] {
        let auth = format!(
            "auth: {{ mechanism: {mechanism}, username: weir, password: {{ file: kafka.password }} }}\n  \
             connect_timeout: 1s"
        );
        let prepare = |secret: &'static str| {
            move |dir: &weir_testkit::WorkDir| drop(dir.write("kafka.password", secret).unwrap())
        };
        let good = Weir::start("SHORT", &auth, prepare(PASSWORD), &[]);
        good.is_ready();
        Producer::new(&good.bootstrap()).send("secrets", 1);
        Consumer::new(&good.bootstrap(), "secrets").take(1);
        let places = outputs(&good);
        assert!(places.iter().all(|(name, text)| name == "stdout" || !text.is_empty()), "every place says something");
        assert_eq!(found(PASSWORD, &places), [""; 0]);

        let bad = Weir::start("LOGIN", &auth, prepare(WRONG), &[]);
        bad.logs("cluster.login_refused");
        bad.refuses_clients();
        assert_eq!(found(WRONG, &outputs(&bad)), [""; 0]);
    }
}

/// The control: the search finds what it looks for, in each form.
#[test]
fn the_search_for_secrets_finds_them() {
    let mut places = Vec::new();
    let mut put = |name: &str, text: String| places.push((name.to_owned(), text));
    put("clear", format!("x{PASSWORD}x"));
    put("hex", format!("{:x?}", PASSWORD.as_bytes()).replace([',', ' '], ""));
    for padding in ["", "\0", "\0weir", "\0weir\0", "ab\0weir\0"] {
        put("base64", STANDARD.encode(format!("{padding}{PASSWORD}")));
    }
    put("other", "nothing to see".to_owned());
    assert_eq!(found(PASSWORD, &places), ["clear", "hex", "base64", "base64", "base64", "base64", "base64"]);
}
