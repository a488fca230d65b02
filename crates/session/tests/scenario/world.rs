//! The world of the scenarios: one policy, one cluster of three brokers of which two have a port, one issuer of tokens.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use uuid::Uuid;
use weir_authn::{Algorithm, Identity, IssuerConfig, Jwks};
use weir_policy::{KeyRing, Pattern, PolicyLimits, PolicySet, Source};
use weir_protocol::{ApiKey, records};
use weir_session::{
    AuditRules, BrokerNode, ClusterView, Context, DigestKey, Door, DoorAuth, Durability, Limits, Now, TopicAudit,
    TopicAuditChange,
};
use weir_testkit::{KeyKind, TokenIssuer};
use weir_yaml::Problems;

pub(crate) const START: Now = Now { monotonic: Duration::from_secs(1000), wall: Duration::from_secs(1_760_000_000) };
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// The smallest step of time.
pub(crate) const TICK: Duration = Duration::from_nanos(1);

pub(crate) const ORDERS: Uuid = Uuid::from_u128(0x0f);
pub(crate) const PAYMENTS: Uuid = Uuid::from_u128(0xaa);
pub(crate) const HIDDEN: Uuid = Uuid::from_u128(0xdd);
/// What `payments.eu` takes in one batch, and what other topics do.
pub(crate) const TOPIC_BYTES_MAX: usize = 1000;
pub(crate) const MESSAGE_BYTES_MAX: usize = 2000;
/// What every broker's host name has in it.
pub(crate) const BROKER_HOST: &str = "kafka-internal";
/// What clients are told instead.
pub(crate) const ADVERTISED_HOST: &str = "weir.example";

const POLICY: &str = r#"
version: 1
access:
  - name: checkout
    principals: { groups: [checkout] }
    allow:
      - produce: ["orders", "payments.*", "clicks", "outcomes"]
      - consume: ["orders", "payments.*", "clicks", "outcomes"]
        consumer_groups: ["checkout-*"]
  - name: readers
    principals: { groups: [readers, anonymous] }
    allow: [ { consume: ["orders"] } ]
rules:
  - name: card-secrets
    match: { topics: ["payments.*"], direction: produce }
    action: refuse
    fields: [ { path: "$.card.cvc" } ]
  - name: card-numbers
    match: { topics: ["payments.*"], direction: both }
    fields: [ { path: "$.card.number", transform: { mask: { keep_last: 4 } } } ]
  - name: nothing-private-out
    match: { topics: ["payments.*"], direction: consume }
    action: refuse
    fields: [ { path: "$.private" } ]
"#;

/// A rule that makes short texts longer.
pub(crate) const GROWING: &str = r#"
version: 1
access: [ { name: checkout, principals: { groups: [checkout] }, allow: [ { produce: ["payments.*"] } ] } ]
rules:
  - name: short
    match: { topics: ["payments.*"], direction: produce }
    fields: [ { path: "$.t", transform: redact } ]
"#;

/// The policy set, compiled once.
pub(crate) fn policy() -> Arc<PolicySet> {
    static POLICY_SET: OnceLock<Arc<PolicySet>> = OnceLock::new();
    Arc::clone(POLICY_SET.get_or_init(|| compiled(POLICY)))
}

pub(crate) fn compiled(text: &str) -> Arc<PolicySet> {
    let sources = [Source { name: "scenario.yaml".to_owned(), text: text.to_owned() }];
    let mut problems = Problems::default();
    let set = PolicySet::compile(&sources, &KeyRing::default(), &PolicyLimits::default(), &mut problems);
    Arc::new(set.unwrap_or_else(|| panic!("{problems:?}")))
}

pub(crate) fn issuer() -> &'static TokenIssuer {
    static ISSUER: OnceLock<TokenIssuer> = OnceLock::new();
    ISSUER.get_or_init(|| TokenIssuer::new("https://issuer.test", &[("key-1", KeyKind::P256)]).unwrap())
}

/// A token for that subject in that group, issued at `now` and good for that long. Made once: signatures are not repeatable.
pub(crate) fn token(subject: &str, group: &str, now: Now, lifetime: Duration) -> String {
    static TOKENS: OnceLock<std::sync::Mutex<HashMap<String, String>>> = OnceLock::new();
    let key = format!("{subject} {group} {now:?} {lifetime:?}");
    let mut tokens = TOKENS.get_or_init(Default::default).lock().unwrap();
    let fresh = || issuer().token(subject).issued_at(now.wall).expires_in(lifetime).groups(&[group]).sign().unwrap();
    tokens.entry(key).or_insert_with(fresh).clone()
}

fn identity() -> Arc<Identity> {
    static IDENTITY: OnceLock<Arc<Identity>> = OnceLock::new();
    let fresh = || {
        let issuer = IssuerConfig {
            issuer: issuer().name().to_owned(),
            audience: vec!["kafka".to_owned()],
            algorithms: vec![Algorithm::ES256],
            principal_path: "sub".to_owned(),
            groups_path: "groups".to_owned(),
            keys: Jwks::parse(&issuer().jwks()).unwrap().into(),
        };
        Arc::new(Identity::new(vec![issuer], Duration::ZERO, 3600 * SECOND).unwrap())
    };
    Arc::clone(IDENTITY.get_or_init(fresh))
}

/// Every broker speaks what weir speaks.
pub(crate) fn view() -> ClusterView {
    let apis: HashMap<i16, (i16, i16)> =
        ApiKey::ALL.iter().map(|api| (api.code(), (*api.versions().start(), *api.versions().end()))).collect();
    let broker = |id: i32| (id, BrokerNode { host: format!("{BROKER_HOST}-{id}"), port: 9092, apis: apis.clone() });
    ClusterView {
        generation: 1,
        brokers: (0..3).map(broker).collect(),
        topics: HashMap::from([
            (ORDERS, Arc::from("orders")),
            (PAYMENTS, Arc::from("payments.eu")),
            (HIDDEN, Arc::from("salaries")),
        ]),
        unknown_topics: HashSet::new(),
        batch_bytes_max: HashMap::from([(Arc::from("payments.eu"), TOPIC_BYTES_MAX)]),
    }
}

pub(crate) fn context() -> Context {
    let change = |durability| TopicAuditChange { durability: Some(durability), digest: None };
    let topic = |name: &str| vec![Pattern::parse(name).unwrap()];
    Context {
        policy: policy(),
        identity: identity(),
        view: Some(Arc::new(view())),
        upstream: None,
        limits: Limits {
            frame_bytes_max_before_login: 64 * 1024,
            frame_bytes_max: 1024 * 1024,
            inflight_requests_max: 8,
            fetch_bytes_max: 256 * 1024,
            session_bytes_max: 64 * 1024,
            message_bytes_max: MESSAGE_BYTES_MAX,
            records: records::Limits::default(),
            login_timeout: 10 * SECOND,
            body_timeout: 20 * SECOND,
            idle_timeout: 600 * SECOND,
            connect_timeout: 5 * SECOND,
        },
        audit: AuditRules {
            default: TopicAudit { durability: Durability::Strict, digest: true },
            topics: vec![
                (topic("clicks"), change(Durability::Async)),
                (topic("outcomes"), change(Durability::Outcome)),
            ],
            digest_key: DigestKey([9; 32]),
            hold_max: 10 * SECOND,
        },
        recording: true,
        #[cfg(feature = "sabotage")]
        sabotage: None,
    }
}

pub(crate) fn door(auth: DoorAuth) -> Door {
    let advertised = [(0, (ADVERTISED_HOST.to_owned(), 9193)), (1, (ADVERTISED_HOST.to_owned(), 9194))];
    Door { listener: "apps".to_owned(), auth, insecure: false, node: Some(0), advertised: advertised.into() }
}
