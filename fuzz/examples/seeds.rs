//! Writes the inputs that fuzzing begins with: `cargo run --package weir-fuzz --example seeds`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a tool for developers stops where it is wrong")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, NodeEndpoint, PartitionData};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{self as m, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use weir_audit::{
    ChainId, ChainState, Checkpoint, CheckpointKey, Entry, EntryBody, EventId, IntentId, IntentRow, KeptCheckpoint,
    Kind,
};
use weir_protocol::ApiKey;

fn main() {
    frames();
    defaults();
    produce();
    fetch();
    batches();
    json();
    identity();
    log();
    policies();
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn put(target: &str, name: &str, data: &[u8]) {
    let folder = repository().join("fuzz/corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("seed-{name}")), data).unwrap();
}

fn frames() {
    put("frame", "two", &[&[255, 3][..], &[0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 1, 9, 0, 0]].concat());
    put("frame", "tls", &[0, 0, 0x16, 3, 1, 0, 0xf1]);
    put("frame", "http", b"\x00\x01GET / HTTP/1.1\r\n");
    put("frame", "negative", &[9, 9, 0xff, 0xff, 0xff, 0xff]);
}

/// What stands behind the correlation id of a request.
fn request(api: ApiKey, version: i16, body: &RequestKind) -> Vec<u8> {
    let mut out = BytesMut::from(&b"\0\x04seed"[..]);
    if api.is_flexible(version) {
        out.extend_from_slice(&[0]);
    }
    body.encode(&mut out, version).unwrap();
    out.to_vec()
}

/// The same of a response.
fn response(api: ApiKey, version: i16, body: &ResponseKind) -> Vec<u8> {
    let mut out = BytesMut::new();
    if api.response_header_version(version) > 0 {
        out.extend_from_slice(&[0]);
    }
    body.encode(&mut out, version).unwrap();
    out.to_vec()
}

/// Which byte stands for a version.
fn byte(api: ApiKey, version: i16) -> u8 {
    u8::try_from(version - api.versions().start()).unwrap()
}

fn defaults() {
    macro_rules! both {
        ($($api:ident $request:ident $response:ident,)*) => {[$((
            ApiKey::$api,
            RequestKind::$api(m::$request::default()),
            ResponseKind::$api(m::$response::default()),
        ),)*]};
    }
    let all = both![
        Produce ProduceRequest ProduceResponse,
        Fetch FetchRequest FetchResponse,
        ListOffsets ListOffsetsRequest ListOffsetsResponse,
        Metadata MetadataRequest MetadataResponse,
        OffsetCommit OffsetCommitRequest OffsetCommitResponse,
        OffsetFetch OffsetFetchRequest OffsetFetchResponse,
        FindCoordinator FindCoordinatorRequest FindCoordinatorResponse,
        JoinGroup JoinGroupRequest JoinGroupResponse,
        Heartbeat HeartbeatRequest HeartbeatResponse,
        LeaveGroup LeaveGroupRequest LeaveGroupResponse,
        SyncGroup SyncGroupRequest SyncGroupResponse,
        SaslHandshake SaslHandshakeRequest SaslHandshakeResponse,
        ApiVersions ApiVersionsRequest ApiVersionsResponse,
        InitProducerId InitProducerIdRequest InitProducerIdResponse,
        SaslAuthenticate SaslAuthenticateRequest SaslAuthenticateResponse,
    ];
    for (at, (api, asked, answered)) in (0..).zip(all) {
        let versions = api.versions();
        for version in [*versions.start(), *versions.end()] {
            let name = format!("{}-{version}", api.name());
            let prefix = |side| vec![side, at, byte(api, version)];
            put("guard", &format!("{name}-request"), &[prefix(0), request(api, version, &asked)].concat());
            put("guard", &format!("{name}-response"), &[prefix(1), response(api, version, &answered)].concat());
        }
    }
}

fn topic(version: i16, name: &'static str) -> (m::TopicName, uuid::Uuid) {
    if version < 13 {
        (m::TopicName(StrBytes::from_static_str(name)), uuid::Uuid::nil())
    } else {
        (m::TopicName::default(), uuid::Uuid::from_u128(u128::from(name.as_bytes()[0])))
    }
}

fn produce() {
    for version in [3, 8, 9, 13] {
        let partition = |index, records: &'static [u8]| {
            PartitionProduceData::default().with_index(index).with_records(Some(Bytes::from_static(records)))
        };
        let data = |name, partitions| {
            let (name, id) = topic(version, name);
            TopicProduceData::default().with_name(name).with_topic_id(id).with_partition_data(partitions)
        };
        let body = m::ProduceRequest::default().with_acks(-1).with_timeout_ms(1500).with_topic_data(vec![
            data("orders", vec![partition(0, b"batch"), partition(3, b"")]),
            data("payments", vec![partition(1, b"another")]),
        ]);
        let message = request(ApiKey::Produce, version, &RequestKind::Produce(body));
        put("produce", &version.to_string(), &[vec![byte(ApiKey::Produce, version), 1], message].concat());
    }
}

fn fetch() {
    use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
    for version in [4, 7, 12, 13, 16, 18] {
        let (name, id) = topic(version, "orders");
        let partition = |index| {
            FetchPartition::default().with_partition(index).with_fetch_offset(42).with_partition_max_bytes(1 << 20)
        };
        let topic = FetchTopic::default()
            .with_topic(name.clone())
            .with_topic_id(id)
            .with_partitions(vec![partition(0), partition(1)]);
        let mut body =
            m::FetchRequest::default().with_max_wait_ms(500).with_max_bytes(50 << 20).with_topics(vec![topic]);
        if version >= 7 {
            body = body.with_session_id(5).with_session_epoch(3);
        }
        let message = request(ApiKey::Fetch, version, &RequestKind::Fetch(body));
        put("fetch_request", &version.to_string(), &[vec![byte(ApiKey::Fetch, version), 1], message].concat());

        let partition = |index| {
            PartitionData::default()
                .with_partition_index(index)
                .with_high_watermark(99)
                .with_records(Some(Bytes::from_static(b"batches")))
        };
        let topic = FetchableTopicResponse::default()
            .with_topic(name)
            .with_topic_id(id)
            .with_partitions(vec![partition(0), partition(1)]);
        let mut body = m::FetchResponse::default().with_responses(vec![topic]);
        if version >= 7 {
            body = body.with_session_id(5);
        }
        if version >= 16 {
            let endpoint = NodeEndpoint::default()
                .with_node_id(1.into())
                .with_host(StrBytes::from_static_str("kafka-1"))
                .with_port(9092);
            body = body.with_node_endpoints(vec![endpoint]);
        }
        let message = response(ApiKey::Fetch, version, &ResponseKind::Fetch(body));
        put("fetch_response", &version.to_string(), &[vec![byte(ApiKey::Fetch, version), 1], message].concat());
    }
}

fn batches() {
    for entry in fs::read_dir(repository().join("testdata/records")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        let (name, batch) = (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
        put("batch", &name, &batch);
        let codec = name.rsplit('-').next().unwrap();
        if ["gzip", "snappy", "lz4", "zstd"].contains(&codec) {
            put(codec, &name, &batch[60..]);
        } else if codec == "none" {
            put("patch", &name, &[&batch[60..61], &[1, 2, 3, 4, 5, 6, 7, 8], &batch[61..]].concat());
        }
    }
}

fn json() {
    let documents = [
        r#"{"a":{"b":1,"c":[10,{"b":"x"},[20]]},"b":null}"#,
        r#"{"em\u0061il":"jana\u0040example.com","a":"gr\u00f6\u00dfe","a":-0.5e-1,"b":{"b":{"a":true}}}"#,
        r#" [ 1 , [ {"a" : [] } , {"x":{"a":{}}} ] , "\ud83d\ude00\n\"\\" ] "#,
        r#"{"a long name":[[1,2],{"c":3}],"":0,"deep":[[[[{"a":1}]]]]}"#,
        r#"[17976931348623158e292,1e308,1e309,-0,0.10,123456789012345678901234567890]"#,
        "\"a string that is longer than any block of sixty-four bytes that is looked at together by anyone\"",
    ];
    for (at, document) in documents.iter().enumerate() {
        for paths in 0..4 {
            put("json", &format!("{at}-{paths}"), &[&[paths], document.as_bytes()].concat());
        }
    }
    for (at, path) in
        ["$.a.b", "$['a b'][0][*]", "$..email", "$..a.b", r"$['\u00e9\n']", "$", "$.*..x[12]"].iter().enumerate()
    {
        put("path", &at.to_string(), path.as_bytes());
    }
}

fn identity() {
    let token = "eyJhbGciOiJFZERTQSIsImtpZCI6ImEiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL3Nzby5leGFtcGxlLmNvbSIsImF1ZCI6ImthZmthIiwic3ViIjoic3ZjIiwiZXhwIjoxODAwMDAwMzAwfQ.c2lnbmF0dXJl";
    put("token", "unsigned", token.as_bytes());
    put("token", "dots", b"..");
    put("oauthbearer", "plain", format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}").as_bytes());
    put("oauthbearer", "extensions", b"n,a=svc,\x01host=kafka\x01auth=Bearer a.b.c\x01port=9092\x01\x01");
    let key =
        r#"{"kty":"OKP","crv":"Ed25519","kid":"a","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let foreign = r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}"#;
    put("jwks", "one", format!(r#"{{"keys":[{key}]}}"#).as_bytes());
    put("jwks", "two", format!(r#"{{"keys":[{foreign},{key}]}}"#).as_bytes());
    put("jwks", "secret", br#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#);
    let first = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
    let messages =
        [&[u8::try_from(first.len()).unwrap()], first.as_bytes(), b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="].concat();
    put("scram", "both", &messages);
    put("scram", "refused", &[&messages[..=first.len()], b"e=invalid-proof"].concat());
}

fn log() {
    let chain = ChainId([7; 16]);
    let state = ChainState::new(chain);
    let body = EntryBody::new(Kind::Boot, EventId::new(1_700_000_000_000, [1; 10]), 1_700_000_000_000_000_000);
    let entry = Entry { log: chain, seq: 0, prev: state.head.last, at: body.at, split: None, body: body.clone() };
    put("entry", "boot", &entry.encode());
    put("entry", "intent", &IntentRow { id: IntentId([3; 16]), body }.encode());
    put("entry", "state", &state.head.encode(&chain));
    let key = CheckpointKey::from_seed(chain, &[9; 32]).unwrap();
    let signed = key.sign(&Checkpoint::of(&state)).unwrap();
    put("note", "checkpoint", signed.to_string().as_bytes());
    put("note", "key", key.verifier().to_string().as_bytes());
    if let Some(kept) = KeptCheckpoint::new(signed, state.head.frontier.clone()) {
        put("entry", "kept", &kept.encode());
    }
    put("head", "empty", state.head.note(chain).to_string().as_bytes());
}

fn policies() {
    for entry in fs::read_dir(repository().join("policies")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            put("policy", path.file_stem().unwrap().to_str().unwrap(), &fs::read(&path).unwrap());
        }
    }
    let short = "version: 1\naccess:\n  - name: a\n    principals: { groups: [staff] }\n    allow: [{ consume: [\"orders\"] }]\nrules:\n  - name: r\n    match: { topics: [\"orders*\"], direction: fetch }\n    fields: [{ path: \"$..email\", transform: redact }, { header: h, transform: { mask: { keep_last: 4 } } }]\n";
    put("policy", "short", short.as_bytes());
    put("policy", "anchors", b"a: &x [1, {b: c}]\nd: *x\n---\ne: |\n  text\n");
}
