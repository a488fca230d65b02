//! A changed configuration acts while weir runs and clients stay connected, and only if all of it is right.
#![expect(clippy::unwrap_used, reason = "test code")]

#[path = "common/errors.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod errors;
#[path = "common/librdkafka.rs"]
mod librdkafka;
#[path = "reload/scene.rs"]
mod scene;
#[path = "common/stage.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod stage;

use std::os::unix::fs::symlink;
use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;
use weir_testkit::{KeyKind, TokenIssuer};

use librdkafka::{Record, send, wait};
use scene::{APP, POLICY, Scene, order};

/// [`POLICY`] with e-mails redacted as well.
fn with_emails() -> String {
    POLICY.replace("tests: []\n", "      - { path: \"$.email\", transform: redact }\ntests: []\n")
}

#[test]
fn policies_act_on_open_connections_and_bad_ones_do_not() {
    let scene = Scene::enter("orders.policies");
    let door = scene.stage.door(APP);
    scene.in_clients(|| {
        let producer = door.producer(&[]);
        let send_one = |id: &str| send(&producer, scene.topic, &[Record::value(order(id))])[0].result;
        assert!(send_one("a").is_ok());
        let logins = scene.events("login.ok").len();

        let reloaded = scene.change("config.reloaded", || scene.write("policies/test.yaml", &with_emails()));
        assert!(reloaded["files"].as_str().unwrap().ends_with("policies/test.yaml"), "{reloaded}");
        assert!(send_one("b").is_ok());

        let rejected = scene.change("config.rejected", || {
            scene.write("policies/test.yaml", &with_emails().replace("transform: redact", "transform: readct"));
        });
        assert!(rejected["place"].as_str().unwrap().contains("policies/test.yaml:"), "{rejected}");
        assert!(!rejected["hint"].as_str().unwrap().is_empty() && rejected["level"] == "ERROR", "{rejected}");
        assert_eq!(scene.metric("weir_config_current"), "0");
        assert!(send_one("c").is_ok(), "what runs stays");

        // A file that the pattern did not name before.
        let phones = "version: 1\nrules:\n  - name: phones\n    match: { topics: [\"orders.*\"], direction: produce }\n    \
                      fields: [ { path: \"$.phone\", transform: redact } ]\n";
        scene.change("config.reloaded", || {
            scene.write("policies/test.yaml", &with_emails());
            scene.write("policies/phones.yaml", phones);
        });
        assert_eq!(scene.metric("weir_config_current"), "1");
        assert!(send_one("d").is_ok());

        // What may be done is decided anew as well, on the same connection.
        scene.change("config.reloaded", || {
            scene.write("policies/test.yaml", &with_emails().replace("produce: [\"orders.*\"]", "produce: [\"other\"]"));
        });
        assert_eq!(send_one("e"), Err(RDKafkaErrorCode::TopicAuthorizationFailed));
        assert_eq!(scene.events("login.ok").len(), logins, "nobody had to log in again");
    });
    let stored = scene.stored();
    let mask = |id: &str| order(id).replace("4111111111111111", "************1111");
    let redact = |id: &str| mask(id).replace("a@b.c", "[redacted]");
    assert_eq!(stored, [mask("a"), redact("b"), redact("c"), redact("d").replace("555-0100", "[redacted]")]);
    scene.every_change_is_on_record_before_it_decides();
}

#[test]
fn links_that_lead_elsewhere_and_other_token_keys_are_changes() {
    let scene = Scene::enter("orders.links");
    // As Kubernetes mounts a ConfigMap: a directory behind a link, replaced by renaming another link over it.
    let at = |name: &str| scene.stage.dir.path().join(name);
    scene.write("..v1/live.yaml", POLICY);
    scene.write("..v2/live.yaml", &with_emails());
    scene.change("config.reloaded", || {
        symlink("..v1", at("..data")).unwrap();
        symlink("../..data/live.yaml", at("policies/live.yaml")).unwrap();
        std::fs::remove_file(at("policies/test.yaml")).unwrap();
    });
    let send_one = |id: &str| scene.stage.door(APP).send(&[], scene.topic, &[Record::value(order(id))])[0].result;
    assert!(send_one("a").is_ok());
    scene.change("config.reloaded", || {
        symlink("..v2", at("..new")).unwrap();
        std::fs::rename(at("..new"), at("..data")).unwrap();
    });
    assert!(send_one("b").is_ok());
    let masked = |id: &str| order(id).replace("4111111111111111", "************1111");
    assert_eq!(scene.stored(), [masked("a"), masked("b").replace("a@b.c", "[redacted]")]);

    // The issuer has another key.
    let issuer = Arc::new(TokenIssuer::new(scene.stage.issuer.name(), &[("ec-2", KeyKind::P256)]).unwrap());
    let (old, mut new) = (scene.stage.door(APP), scene.stage.door(APP));
    if let Some(login) = &mut new.login {
        login.issuer = Arc::clone(&issuer);
    }
    assert!(scene.lets_in(&old));
    assert!(!scene.lets_in(&new), "the control: nobody knows this key yet");
    scene.change("config.reloaded", || issuer.write_jwks(&at("jwks-0.json")).unwrap());
    assert!(scene.lets_in(&new));
    assert!(!scene.lets_in(&old), "the key that is gone is forgotten");
}

#[test]
fn what_is_wrong_is_not_used_and_what_needs_a_restart_is_named() {
    let scene = Scene::enter("orders.keys");
    let weir_yaml = scene.stage.dir.read("weir.yaml").unwrap();

    // Nothing changed: SIGHUP says so. It is heard at once, not at the next look.
    let unchanged = scene.change("config.unchanged", || scene.hang_up());
    assert_eq!(unchanged["level"], "INFO");

    let rejected = scene.change("config.rejected", || scene.write("weir.yaml", &format!("{weir_yaml}lmits: {{}}\n")));
    assert_eq!(rejected["detail"], "unknown key `lmits`");
    assert!(rejected["hint"].as_str().unwrap().contains("limits"), "{rejected}");
    let value = |counter: &str| scene.metric(counter).parse().unwrap();
    errors::walks_row("config-rejected").holds("nothing", std::slice::from_ref(&rejected), value);
    // The same file again is no news, until somebody asks.
    let attempts = scene.metric("weir_config_reloads_total{result=\"rejected\"}");
    let again = scene.change("config.rejected", || scene.hang_up());
    assert_eq!(again["detail"], "unknown key `lmits`");
    let counted = |text: String| text.parse::<u64>().unwrap();
    let after = || counted(scene.metric("weir_config_reloads_total{result=\"rejected\"}"));
    wait("the count", || (after() == counted(attempts.clone()) + 1).then_some(()));

    let moved = weir_yaml.replace("127.0.0.1:9190", "127.0.0.1:9191") + "limits: { idle_timeout: 9m }\n";
    let needed = scene.change("config.restart_needed", || scene.write("weir.yaml", &moved));
    assert_eq!(needed["keys"], "admin.metrics");
    errors::walks_row("config-restart").holds("nothing", std::slice::from_ref(&needed), value);
    let reloaded = scene.events("config.reloaded").pop().unwrap();
    assert_eq!(reloaded["changed"], "limits.idle_timeout", "the rest is in force");
    assert_eq!(scene.metric("weir_config_current"), "0", "metrics are where they were");

    scene.change("config.reloaded", || scene.write("weir.yaml", &weir_yaml));
    wait("the gauge", || (scene.metric("weir_config_current") == "1").then_some(()));
}

#[test]
fn a_listener_that_only_a_restart_changes_keeps_what_stands_beside_it_from_acting() {
    let scene = Scene::enter("orders.keys");
    let weir_yaml = scene.stage.dir.read("weir.yaml").unwrap();
    // The two are meant together: another door, and a policy for who comes in by it.
    let other = weir_yaml.replace("auth: [oauthbearer]", "auth: { anonymous: { groups: [guests] } }");
    assert_ne!(other, weir_yaml);
    let reloaded = scene.events("config.reloaded").len();
    let rejected = scene.change("config.rejected", || {
        scene.write("weir.yaml", &(other + "limits: { idle_timeout: 9m }\n"));
        scene.write("policies/test.yaml", &with_emails());
    });
    assert!(rejected["detail"].as_str().unwrap().contains("listeners.apps.auth"), "{rejected}");
    let value = |counter: &str| scene.metric(counter).parse().unwrap();
    errors::walks_row("config-listener").holds("nothing", std::slice::from_ref(&rejected), value);
    assert_eq!(scene.metric("weir_config_current"), "0");
    assert_eq!(scene.events("config.reloaded").len(), reloaded, "nothing of it acts");
    // The control: with the listener as it was, the policy acts.
    let applied = scene.change("config.reloaded", || scene.write("weir.yaml", &weir_yaml));
    assert!(applied["files"].as_str().unwrap().contains("policies/test.yaml"), "{applied}");
}

#[test]
fn a_policy_whose_own_tests_fail_is_not_used() {
    let scene = Scene::enter("orders.keys");
    let tested = |expected: &str| {
        let test = format!(
            "tests:\n  - name: cards keep four digits\n    given: {{ topic: orders.eu, direction: produce, groups: [apps], value: \
             {{ card: \"4111111111111111\" }} }}\n    expect: {{ value: {{ card: \"{expected}\" }} }}\n"
        );
        POLICY.replace("tests: []\n", &test)
    };
    let rejected = scene.change("config.rejected", || scene.write("policies/test.yaml", &tested("4111111111111111")));
    assert_eq!(rejected["detail"], "test `cards keep four digits` of the policy fails");
    assert!(rejected["place"].as_str().unwrap().contains("policies/test.yaml:"), "{rejected}");
    let value = |counter: &str| scene.metric(counter).parse().unwrap();
    errors::walks_row("config-policy-test").holds("nothing", std::slice::from_ref(&rejected), value);
    let checked = scene.stage.weir().options().run(&["check", "--config", "weir.yaml"]).unwrap();
    assert!(!checked.status.success() && checked.stdout.contains("of the policy fails"), "{}", checked.stdout);
    // The control: the same policy with the test that it passes.
    scene.change("config.reloaded", || scene.write("policies/test.yaml", &tested("************1111")));
}
