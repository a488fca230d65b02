//! The negative control of `upstream_login.rs`: a weir that does not renew its login, whose clients notice the broker's limit.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]
#![expect(dead_code, reason = "what is shared with other tests is not all used here")]

#[path = "upstream_login/clients.rs"]
mod clients;
#[path = "upstream_login/ground.rs"]
mod ground;

use std::time::{Duration, Instant};

use clients::Producer;
use ground::{KAFKA, PASSWORD, PATIENCE, Weir};

/// The broker's limit on a login, at the listener `SHORT`; shorter than in the proof, which takes the one that was promised.
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn clients_notice_a_login_that_is_not_renewed() {
    KAFKA.create_topic("unrenewed", 1).unwrap();
    let auth = "auth: { mechanism: scram-sha-512, username: weir, password: { env: KAFKA_PASSWORD } }";
    let noticed = |env: &[(&str, &str)], most: Duration| {
        let weir = Weir::start("SHORT", auth, |_| {}, &[&[("KAFKA_PASSWORD", PASSWORD)], env].concat());
        weir.is_ready();
        let producer = Producer::new(&weir.bootstrap());
        let begun = Instant::now();
        while producer.errors().is_empty() && begun.elapsed() < most {
            producer.send("unrenewed", 1);
            std::thread::sleep(Duration::from_millis(50));
        }
        let renewed = weir.metric(r#"weir_upstream_logins_total{kind="renewal",result="ok"}"#);
        (begun.elapsed(), producer.errors(), weir.lines("connection.closed").len(), renewed)
    };
    let (took, errors, closed, _) = noticed(&[("WEIR_SABOTAGE", "renew-off")], PATIENCE);
    assert!(took >= LIMIT && !errors.is_empty() && closed > 0, "{took:?}, {errors:?}, {closed} lines");
    // With renewal nobody notices anything, for twice as long.
    let (_, errors, closed, renewed) = noticed(&[], LIMIT * 2);
    assert!(errors.is_empty() && closed == 0 && renewed > 0.0, "{errors:?}, {closed} lines, {renewed} renewals");
}
