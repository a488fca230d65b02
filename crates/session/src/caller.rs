//! Who asks, by which door, under which context: what every API decides on.

use std::sync::Arc;

use weir_audit::{ClientRef, Decision, EntryBody, EventId, Kind, Outcome, PrincipalKind, PrincipalRef, SessionId};
use weir_authn::{Mechanism, Principal};
use weir_policy::{Access, Subject};
use weir_protocol::ApiKey;

use crate::context::{ClusterView, Context, Door, Peer};
use crate::time::Now;

/// A client after login.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Arc<Principal>,
    pub(crate) access: Arc<Access>,
    pub(crate) context: Arc<Context>,
    pub(crate) door: Arc<Door>,
    pub(crate) identity: ClientIdentity,
}

/// What entries say of the client beside its principal.
#[derive(Clone, Debug)]
pub(crate) struct ClientIdentity {
    pub(crate) session: SessionId,
    pub(crate) peer: Peer,
    pub(crate) listener: String,
    pub(crate) insecure: bool,
}

impl ClientIdentity {
    /// An entry about this client, with everything unset that a caller must decide.
    pub(crate) fn entry(&self, kind: Kind, event_id: EventId, now: Now) -> EntryBody {
        EntryBody {
            kind,
            event_id,
            at: now.wall_ns(),
            intent_at: None,
            session: Some(self.session),
            principal: None,
            client: Some(ClientRef {
                address: self.peer.address.ip(),
                port: self.peer.address.port(),
                client_id: None,
                listener: self.listener.clone(),
                insecure: self.insecure,
            }),
            api: None,
            decision: Decision::Pass,
            outcome: Outcome::None,
            reason: None,
            rule_hits: Vec::new(),
            parts: Vec::new(),
            policy_digest: None,
            count: 1,
            prune: None,
        }
    }
}

impl Caller {
    pub(crate) fn new(
        principal: Arc<Principal>,
        context: Arc<Context>,
        door: Arc<Door>,
        identity: ClientIdentity,
    ) -> Self {
        let access = Arc::new(context.policy.access(&Subject { id: &principal.id, groups: &principal.groups }));
        Self { principal, access, context, door, identity }
    }

    /// The same client under another context: what it may do is computed anew where the policy is another.
    pub(crate) fn under(&self, context: Arc<Context>) -> Self {
        if Arc::ptr_eq(&self.context.policy, &context.policy) {
            return Self { context, ..self.clone() };
        }
        Self::new(Arc::clone(&self.principal), context, Arc::clone(&self.door), self.identity.clone())
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { id: &self.principal.id, groups: &self.principal.groups }
    }

    pub(crate) fn view(&self) -> Option<&ClusterView> {
        self.context.view.as_deref()
    }

    /// What clients are told to connect to for a broker; `None` when that broker has no port here.
    pub(crate) fn advertised(&self, node: i32) -> Option<(&str, u16)> {
        self.door.advertised.get(&node).map(|(host, port)| (host.as_str(), *port))
    }

    /// An entry about a request of this client.
    pub(crate) fn entry(
        &self,
        kind: Kind,
        (api, version): (ApiKey, i16),
        client_id: Option<&str>,
        event_id: EventId,
        now: Now,
    ) -> EntryBody {
        let mut entry = self.identity.entry(kind, event_id, now);
        entry.principal = Some(principal_ref(&self.principal));
        entry.api = Some((api.code(), version));
        entry.policy_digest = Some(self.context.policy.digest());
        if let (Some(client), Some(id)) = (entry.client.as_mut(), client_id) {
            client.client_id = Some(id.to_owned());
        }
        entry
    }
}

/// How entries name a principal.
pub(crate) fn principal_ref(principal: &Principal) -> PrincipalRef {
    let kind = match principal.mechanism {
        Mechanism::Anonymous => PrincipalKind::Anonymous,
        Mechanism::Oauthbearer => PrincipalKind::Oauthbearer,
    };
    PrincipalRef { kind, id: principal.id.clone() }
}

/// Longest client id that is forwarded and recorded, in characters; Kafka itself has no limit but the frame's.
const CLIENT_ID_CHARS_MAX: usize = 128;

/// The client id as logs, quotas and the broker see it: Kafka's own legal characters (`[a-zA-Z0-9._-]`), the others as `_`.
pub(crate) fn sanitised_client_id(client_id: &str) -> String {
    client_id
        .chars()
        .take(CLIENT_ID_CHARS_MAX)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids_keep_kafkas_legal_characters_only() {
        let check = |given: &str, expected: &str| assert_eq!(sanitised_client_id(given), expected);
        check("orders-app_1.2", "orders-app_1.2");
        check("bob@x.org\n", "bob_x.org_");
        check("ü", "_");
        check(&"a".repeat(500), &"a".repeat(CLIENT_ID_CHARS_MAX));
    }
}
