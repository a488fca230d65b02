//! The control connection, by which weir learns the cluster: a small machine of its own.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeConfigsRequest, DescribeConfigsResponse, MetadataRequest,
    MetadataResponse, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::Request;
use weir_session::{Control, ControlError, Learned, Now, UpstreamLogin, UpstreamLoginError, UpstreamMechanism};

use crate::messages::{text, topic};
use crate::stage::{Heard, heard, response_bytes, whole_frame};
use crate::upstream::login;
use crate::witness::decode_request;
use crate::world::{ORDERS, START};

const SEED: [u8; 32] = [4; 32];

#[track_caller]
fn asked<R: Request>(control: &mut Control) -> (Heard, R) {
    let frame = whole_frame(&control.poll_to_broker().unwrap());
    let heard = heard(&frame);
    assert_eq!((heard.api, heard.client_id.as_str()), (R::KEY, "weir/control"));
    (heard, decode_request(&frame))
}

fn nothing_asked(control: &mut Control) {
    assert!(control.poll_to_broker().is_none());
}

fn speaks(metadata_max: i16) -> ApiVersionsResponse {
    let api = |key: i16, max: i16| ApiVersion::default().with_api_key(key).with_max_version(max);
    let apis = vec![api(3, metadata_max), api(18, 4), api(0, 11), api(17, 1), api(36, 2)];
    ApiVersionsResponse::default().with_api_keys(apis)
}

fn cluster() -> MetadataResponse {
    let broker = MetadataResponseBroker::default().with_node_id(4.into()).with_host(text("kafka-4")).with_port(9092);
    let orders = MetadataResponseTopic::default().with_name(Some(topic("orders"))).with_topic_id(ORDERS);
    MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![orders])
}

/// The bytes come one at a time.
fn say(control: &mut Control, bytes: &[u8]) -> Result<Option<Learned>, ControlError> {
    let mut learned = None;
    for byte in bytes {
        learned = control.handle_broker_bytes(&[*byte], START)?.or(learned);
    }
    Ok(learned)
}

#[test]
fn learns_brokers_versions_and_topic_ids() {
    let mut control = Control::open(None, SEED).unwrap();
    let (first, request) = asked::<ApiVersionsRequest>(&mut control);
    assert_eq!((first.version, request.client_software_name), (3, text("weir")));
    nothing_asked(&mut control);
    assert!(control.is_waiting());
    assert!(say(&mut control, &response_bytes(&first, &speaks(13))).unwrap().is_none());
    let (second, request) = asked::<MetadataRequest>(&mut control);
    assert_eq!(second.version, 12, "the last in which no error of the whole answer is possible");
    assert_eq!((request.topics, request.allow_auto_topic_creation), (None, false));
    let learned = say(&mut control, &response_bytes(&second, &cluster())).unwrap().unwrap();
    let broker = &learned.brokers[&4];
    assert_eq!((broker.host.as_str(), broker.port, broker.apis[&0]), ("kafka-4", 9092, (0, 11)));
    assert_eq!(learned.topics[&ORDERS].as_ref(), "orders");
    assert!(!control.is_waiting());
}

#[test]
fn falls_back_to_version_0_of_api_versions() {
    let mut control = Control::open(None, SEED).unwrap();
    let (first, _) = asked::<ApiVersionsRequest>(&mut control);
    let refusal = ApiVersionsResponse::default().with_error_code(35);
    let bytes = response_bytes(&Heard { version: 0, ..first }, &refusal);
    assert!(say(&mut control, &bytes).unwrap().is_none());
    let (second, _) = asked::<ApiVersionsRequest>(&mut control);
    assert_eq!(second.version, 0);
    say(&mut control, &response_bytes(&second, &speaks(4))).unwrap();
    assert_eq!(asked::<MetadataRequest>(&mut control).0.version, 4);
}

#[test]
fn asks_again_once_however_often_it_is_told_to_meanwhile() {
    let mut control = Control::open(None, SEED).unwrap();
    let (first, _) = asked::<ApiVersionsRequest>(&mut control);
    control.refresh().unwrap();
    control.refresh().unwrap();
    nothing_asked(&mut control);
    say(&mut control, &response_bytes(&first, &speaks(12))).unwrap();
    let (second, _) = asked::<MetadataRequest>(&mut control);
    nothing_asked(&mut control);
    assert!(say(&mut control, &response_bytes(&second, &cluster())).unwrap().is_some());
    let (third, _) = asked::<MetadataRequest>(&mut control);
    assert!(say(&mut control, &response_bytes(&third, &cluster())).unwrap().is_some());
    nothing_asked(&mut control);
    control.refresh().unwrap();
    asked::<MetadataRequest>(&mut control);
}

/// What a broker says of these topics: their limit, or the error of who may not ask.
fn configs(
    asked: &DescribeConfigsRequest,
    limit: impl Fn(&str) -> Result<&'static str, i16>,
) -> DescribeConfigsResponse {
    let results = asked.resources.iter().map(|resource| {
        assert_eq!(resource.configuration_keys.as_deref(), Some(&[text("max.message.bytes")][..]));
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match limit(&resource.resource_name) {
            Ok(limit) => {
                let config = DescribeConfigsResourceResult::default().with_name(text("max.message.bytes"));
                result.with_configs(vec![config.with_value(Some(text(limit)))])
            }
            Err(code) => result.with_error_code(code),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// A cluster with so many topics.
fn cluster_of(topics: std::ops::Range<u128>) -> MetadataResponse {
    let named = |id: u128| MetadataResponseTopic::default().with_name(Some(topic(&format!("t-{id}"))));
    cluster().with_topics(topics.map(|id| named(id).with_topic_id(uuid::Uuid::from_u128(id + 1))).collect())
}

/// Opens a connection to a broker that also tells configurations, up to its Metadata.
fn opened(topics: std::ops::Range<u128>) -> Control {
    let mut control = Control::open(None, SEED).unwrap();
    let (first, _) = asked::<ApiVersionsRequest>(&mut control);
    let mut speaks = speaks(12);
    speaks.api_keys.push(ApiVersion::default().with_api_key(32).with_min_version(1).with_max_version(4));
    say(&mut control, &response_bytes(&first, &speaks)).unwrap();
    let (second, _) = asked::<MetadataRequest>(&mut control);
    assert!(say(&mut control, &response_bytes(&second, &cluster_of(topics))).unwrap().is_some(), "at once");
    control
}

#[test]
fn learns_what_topics_take_in_one_batch() {
    let mut control = opened(0..3);
    assert_eq!(control.take_topic_sizes(), None, "not before the broker answered");
    let (heard, question) = asked::<DescribeConfigsRequest>(&mut control);
    assert_eq!((heard.version, question.resources.len()), (4, 3));
    let answer = configs(&question, |topic| match topic {
        "t-0" => Ok("1048588"),
        "t-1" => Ok("20000"),
        _ => Err(29),
    });
    assert!(say(&mut control, &response_bytes(&heard, &answer)).unwrap().is_none());
    let told = control.take_topic_sizes().unwrap();
    let mut sizes: Vec<_> = told.batch_bytes_max.iter().map(|(topic, size)| (topic.as_ref(), *size)).collect();
    sizes.sort_unstable();
    assert_eq!((sizes, told.untold), (vec![("t-0", 1_048_588), ("t-1", 20_000)], 1));
    assert!(!control.is_waiting());
    assert_eq!(control.take_topic_sizes(), None, "once");

    // A topic more, one less: only the new one is asked for.
    control.refresh().unwrap();
    let (heard, _) = asked::<MetadataRequest>(&mut control);
    say(&mut control, &response_bytes(&heard, &cluster_of(1..4))).unwrap();
    let (heard, question) = asked::<DescribeConfigsRequest>(&mut control);
    assert_eq!(question.resources.iter().map(|resource| resource.resource_name.as_str()).collect::<Vec<_>>(), ["t-3"]);
    say(&mut control, &response_bytes(&heard, &configs(&question, |_| Ok("7")))).unwrap();
    let told = control.take_topic_sizes().unwrap();
    assert_eq!((told.batch_bytes_max.len(), told.batch_bytes_max["t-3"], told.untold), (2, 7, 1));

    // After a while all are asked for again; nothing new is nothing to tell.
    control.refresh().unwrap();
    let (heard, _) = asked::<MetadataRequest>(&mut control);
    let later = response_bytes(&heard, &cluster_of(1..4));
    assert!(control.handle_broker_bytes(&later, after(25)).unwrap().is_some());
    let (heard, question) = asked::<DescribeConfigsRequest>(&mut control);
    assert_eq!(question.resources.len(), 3);
    let answer = configs(&question, |topic| match topic {
        "t-1" => Ok("20000"),
        "t-3" => Ok("7"),
        _ => Err(29),
    });
    say(&mut control, &response_bytes(&heard, &answer)).unwrap();
    assert_eq!(control.take_topic_sizes(), None);
}

#[test]
fn many_topics_are_asked_for_in_several_questions_and_a_refresh_comes_between() {
    let mut control = opened(0..2001);
    let mut counts = Vec::new();
    for round in 0..3 {
        let (heard, question) = asked::<DescribeConfigsRequest>(&mut control);
        counts.push(question.resources.len());
        if round == 0 {
            control.refresh().unwrap();
            nothing_asked(&mut control);
        }
        assert_eq!(control.take_topic_sizes(), None);
        say(&mut control, &response_bytes(&heard, &configs(&question, |_| Ok("5")))).unwrap();
        if round == 0 {
            let (heard, _) = asked::<MetadataRequest>(&mut control);
            say(&mut control, &response_bytes(&heard, &cluster_of(0..2001))).unwrap();
        }
    }
    assert_eq!(counts, [1000, 1000, 1]);
    nothing_asked(&mut control);
    assert_eq!(control.take_topic_sizes().unwrap().batch_bytes_max.len(), 2001);
}

#[test]
fn a_broker_that_tells_no_configurations_is_not_asked() {
    for (min, max) in [(0, 0), (5, 9)] {
        let mut control = Control::open(None, SEED).unwrap();
        let (first, _) = asked::<ApiVersionsRequest>(&mut control);
        let mut speaks = speaks(12);
        speaks.api_keys.push(ApiVersion::default().with_api_key(32).with_min_version(min).with_max_version(max));
        say(&mut control, &response_bytes(&first, &speaks)).unwrap();
        let (second, _) = asked::<MetadataRequest>(&mut control);
        say(&mut control, &response_bytes(&second, &cluster_of(0..3))).unwrap();
        nothing_asked(&mut control);
    }
}

#[test]
fn a_broker_without_what_weir_needs_is_too_old() {
    let mut control = Control::open(None, SEED).unwrap();
    let (first, _) = asked::<ApiVersionsRequest>(&mut control);
    let error = say(&mut control, &response_bytes(&first, &speaks(3))).unwrap_err();
    assert!(matches!(error, ControlError::TooOld { max: 3, needed: 4, .. }), "{error}");
}

#[test]
fn a_refusal_and_bytes_that_are_no_answer_are_errors() {
    let mut control = Control::open(None, SEED).unwrap();
    let (first, _) = asked::<ApiVersionsRequest>(&mut control);
    let refused = ApiVersionsResponse::default().with_error_code(42);
    let error = say(&mut control, &response_bytes(&first, &refused)).unwrap_err();
    assert!(matches!(error, ControlError::Refused { code: 42, .. }), "{error}");
    let other = Heard { correlation_id: first.correlation_id + 1, ..first };
    for bytes in [response_bytes(&other, &speaks(12)), vec![0xff; 8], vec![0, 0, 0, 2, 1, 1]] {
        let mut control = Control::open(None, SEED).unwrap();
        assert!(matches!(say(&mut control, &bytes), Err(ControlError::Malformed(_))));
    }
}

fn password(password: &str) -> Option<std::sync::Arc<UpstreamLogin>> {
    Some(login(UpstreamMechanism::Plain, "weir", password))
}

/// The broker hears a password, and answers with that code and lifetime.
#[track_caller]
fn hears(control: &mut Control, password: &str, code: i16) -> Result<Option<Learned>, ControlError> {
    let (heard, asked) = asked::<SaslHandshakeRequest>(control);
    assert_eq!((heard.version, asked.mechanism), (1, text("PLAIN")));
    nothing_asked(control);
    say(control, &response_bytes(&heard, &SaslHandshakeResponse::default()))?;
    let (heard, asked) = self::asked::<SaslAuthenticateRequest>(control);
    assert_eq!((heard.version, &*asked.auth_bytes), (2, format!("\0weir\0{password}").as_bytes()));
    nothing_asked(control);
    let answer = SaslAuthenticateResponse::default().with_error_code(code).with_session_lifetime_ms(10_000);
    say(control, &response_bytes(&heard, &answer))
}

/// Two thirds of the lifetime, before which no login is renewed, and four fifths, by when each is.
fn after(seconds: u64) -> Now {
    Now { monotonic: START.monotonic + std::time::Duration::from_secs(seconds), ..START }
}

#[test]
fn logs_in_before_it_asks_and_again_before_the_limit() {
    let mut control = Control::open(password("hunter2"), SEED).unwrap();
    let (first, _) = asked::<ApiVersionsRequest>(&mut control);
    say(&mut control, &response_bytes(&first, &speaks(12))).unwrap();
    assert_eq!(control.logins(), 0);
    hears(&mut control, "hunter2", 0).unwrap();
    assert_eq!(control.logins(), 1);
    let (second, _) = asked::<MetadataRequest>(&mut control);
    assert_eq!(control.poll_timeout(), None, "not while an answer is due");
    assert!(say(&mut control, &response_bytes(&second, &cluster())).unwrap().is_some());
    let due = control.poll_timeout().unwrap();
    assert!(due > after(6).monotonic && due <= after(8).monotonic, "{due:?}");
    control.handle_timeout(password("hunter2"), after(6)).unwrap();
    nothing_asked(&mut control);
    control.handle_timeout(password("hunter3"), after(8)).unwrap();
    // What is asked meanwhile waits.
    control.refresh().unwrap();
    assert!(control.is_waiting());
    hears(&mut control, "hunter3", 0).unwrap();
    assert_eq!(control.logins(), 2);
    asked::<MetadataRequest>(&mut control);
    nothing_asked(&mut control);
}

#[test]
fn a_broker_that_refuses_the_login_or_another_user_is_left() {
    let mut control = Control::open(password("hunter2"), SEED).unwrap();
    let (first, _) = asked::<ApiVersionsRequest>(&mut control);
    say(&mut control, &response_bytes(&first, &speaks(12))).unwrap();
    let error = hears(&mut control, "hunter2", 58).unwrap_err();
    let words = "the broker refused the login of `weir` with PLAIN: error 58: no reason given";
    assert_eq!(error.to_string(), words);
    let mut control = Control::open(password("hunter2"), SEED).unwrap();
    let (first, _) = asked::<ApiVersionsRequest>(&mut control);
    say(&mut control, &response_bytes(&first, &speaks(12))).unwrap();
    hears(&mut control, "hunter2", 0).unwrap();
    let (second, _) = asked::<MetadataRequest>(&mut control);
    say(&mut control, &response_bytes(&second, &cluster())).unwrap();
    let other = Some(login(UpstreamMechanism::Plain, "else", "hunter2"));
    let error = control.handle_timeout(other, after(8)).unwrap_err();
    assert!(matches!(error, ControlError::Login(UpstreamLoginError::OtherUser)), "{error}");
}
