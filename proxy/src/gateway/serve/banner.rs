//! The block that says at the start what is served.

use weir_audit::VerifierKey;
use weir_audit_store::Opened;
use weir_session::Context;

use super::memory::memory;
use crate::config::{self, Config, Durability};

/// What is served, in one block.
pub(crate) fn banner(config: &Config, context: &Context, opened: &Opened, key: &VerifierKey, threads: usize) -> String {
    use std::fmt::Write as _;
    let mut text = format!("weir {}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let written = writeln!(text, "  {name:<10} {value}");
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    };
    for listener in &config.listeners {
        let auth = match &listener.auth {
            config::ListenerAuth::Oauthbearer => "oauthbearer".to_owned(),
            config::ListenerAuth::Anonymous { groups } => format!("anonymous, groups {}", groups.join(", ")),
        };
        let security = match (&listener.tls, listener.insecure) {
            (Some(_), _) => "   TLS",
            (None, true) => "   INSECURE: neither TLS nor loopback",
            (None, false) => "",
        };
        line(
            "listener",
            format!(
                "{}   {}   told to clients: {}   {auth}{security}",
                listener.name, listener.bind, listener.advertise
            ),
        );
    }
    let bootstrap = config.upstream.bootstrap.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let tls = if config.upstream.tls.is_some() { "TLS" } else { "plaintext" };
    let login = match &config.upstream.auth {
        Some(auth) => format!("{} as {}", auth.mechanism.name(), auth.username),
        None => "no login".to_owned(),
    };
    line("upstream", format!("{bootstrap}   {tls}, {login}"));
    let digest = context.policy.digest().iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
    line(
        "policies",
        format!("{} rules, {} tests, digest {digest}…", context.policy.rule_count(), context.policy.test_count()),
    );
    let last = opened.chain.head.size().checked_sub(1).map_or("empty".to_owned(), |last| format!("last entry {last}"));
    line(
        "audit",
        format!(
            "{}   {}   {last}",
            config.data_dir.display(),
            match config.audit.durability {
                Durability::Async => "async",
                Durability::Outcome => "outcome",
                Durability::Strict => "strict",
            }
        ),
    );
    line("signed by", key.to_string());
    line("metrics", format!("http://{}/metrics", config.admin.metrics));
    line("memory", memory(config, threads));
    text
}
