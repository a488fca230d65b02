//! Who comes in, and what is answered before.

use kafka_protocol::messages::{
    ApiVersionsRequest, HeartbeatRequest, MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use weir_audit::Kind;
use weir_protocol::ApiKey;
use weir_session::DoorAuth;

use crate::messages::{HEARTBEAT, METADATA, heartbeat, metadata, metadata_answer, text};
use crate::stage::{Setup, play, play_in};
use crate::world::{self, SECOND, token};

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default().with_client_software_name(text("app")).with_client_software_version(text("1.0"))
}

#[test]
fn a_good_token_lets_in_and_says_for_how_long() {
    play(|stage| {
        stage.handshake();
        let answer = stage.authenticate(&token("svc-1", "checkout", stage.now, 300 * SECOND));
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 300_000));
        assert_eq!(stage.session.principal(), Some("svc-1"));
        let entries = stage.entries();
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(entry.kind, Kind::AuthOk);
        assert_eq!(entry.principal.as_ref().map(|principal| principal.id.as_str()), Some("svc-1"));
        stage.heard_nothing();
    });
}
