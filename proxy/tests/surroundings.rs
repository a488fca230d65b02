//! A broker that comes, goes and hangs; and everything that makes weir refuse to serve.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::type_complexity,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "test code"
)]

#[path = "bad_input/batch.rs"]
#[expect(dead_code, reason = "shared with another test binary")]
mod batch;
#[path = "surroundings/broker.rs"]
mod broker;
#[path = "common/errors.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod errors;
#[path = "surroundings/refusals.rs"]
mod refusals;
#[path = "surroundings/shares.rs"]
mod shares;
#[path = "bad_input/wire.rs"]
#[expect(dead_code, reason = "shared with another test binary")]
mod wire;

use std::path::Path;

use weir_testkit::{Listener, PortBlock, Ready, WeirOptions, WeirYaml, WorkDir};

/// Everybody may do everything with the topic `orders`.
const POLICY: &str = r#"
version: 1
access:
  - name: everybody
    principals: { groups: [apps] }
    allow: [{ produce: ["orders"] }, { consume: ["orders"] }]
"#;

/// A configuration with one listener at port 0 of the block, and metrics at port 15.
fn yaml(bootstrap: &str, ports: &PortBlock) -> WeirYaml {
    WeirYaml::new(bootstrap)
        .node_ids("1")
        .listener(Listener::anonymous("open", &ports.address(0), &["apps"]))
        .policy("orders", POLICY)
        .metrics(&ports.address(15))
}

/// How that configuration is served; it is ready when its ports answer, whether a broker does or not.
fn options(yaml: &WeirYaml, dir: &WorkDir, ports: &PortBlock) -> WeirOptions {
    let ready = Ready::Ports([0, 15].map(|index| ports.address(index).parse().unwrap()).to_vec());
    WeirOptions::new(Path::new(env!("CARGO_BIN_EXE_weir")), &yaml.write(dir).unwrap(), ready)
}
