//! What is wrong with a frame, before anybody looks at its records.

use std::time::Duration;

use crate::batch;
use crate::ground::{WEIR, Weir, end_offset, token, topic, until};
use crate::wire::{
    self, API_VERSIONS, Bytes, Client, FETCH, HEARTBEAT, METADATA, PRODUCE, api_versions, fetch_body, flexible,
    metadata_body, produce_body, produced, request, sized,
};

/// Sends bytes on a connection of their own: it is closed without a word, and the log says why.
#[track_caller]
fn check_closed(mut client: Client, bytes: &[u8], reason: &str, detail: &str) {
    client.send(bytes);
    client.is_closed();
    WEIR.closed(&client, reason, detail);
}

#[test]
fn a_tls_hello_is_closed_with_a_hint() {
    // The record and the start of a ClientHello of TLS 1.3.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 506]].concat();
    let detail = "peer speaks TLS where Kafka without TLS is spoken";
    check_closed(WEIR.open(), &hello, "bad_frame", detail);
    let before_login = WEIR.apps();
    let peer = before_login.peer();
    check_closed(before_login, &hello, "bad_frame", detail);
    assert_eq!(WEIR.logs(&[("event", "login.refused"), ("peer", &peer)])["reason"], "bad_frame");
}

#[test]
fn an_http_request_is_closed_with_a_hint() {
    for method in ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT"] {
        let text = format!("{method} / HTTP/1.1\r\nhost: kafka:9092\r\n\r\n");
        check_closed(WEIR.open(), text.as_bytes(), "bad_frame", "peer speaks HTTP where Kafka is spoken");
    }
}

#[test]
fn a_negative_size_is_closed() {
    check_closed(WEIR.open(), &(-1_i32).to_be_bytes(), "bad_frame", "frame size -1 is negative");
    check_closed(WEIR.apps(), &i32::MIN.to_be_bytes(), "bad_frame", "frame size -2147483648 is negative");
}

#[test]
fn an_empty_frame_is_closed() {
    check_closed(WEIR.open(), &[0; 4], "bad_frame", "frame is empty");
    check_closed(WEIR.apps(), &[0; 4], "bad_frame", "frame is empty");
}

#[test]
fn a_size_over_the_limit_is_closed_before_its_body_comes() {
    let over = |max: i32| (max + 1).to_be_bytes();
    check_closed(WEIR.apps(), &over(512 << 10), "bad_frame", "frame of 524289 bytes is larger than 524288");
    check_closed(WEIR.open(), &over(100 << 20), "bad_frame", "frame of 104857601 bytes is larger than 104857600");
    check_closed(
        WEIR.open(),
        &i32::MAX.to_be_bytes(),
        "bad_frame",
        "frame of 2147483647 bytes is larger than 104857600",
    );
}

/// Both limits at their edge: the last good size is taken, one more byte is not.
#[test]
fn frame_limits_hold_at_their_edge_before_and_after_login() {
    let weir = Weir::start(|yaml| yaml.section("limits", "frame_bytes_max: { before_login: 4KiB, after: 8KiB }"));
    // A group's name may be any length, so it makes a good frame of any size with a short answer.
    let heartbeat_of = |size: usize| {
        let named = |group: &str| request(HEARTBEAT, 0, 7, &Bytes::default().string(group).i32(1).string("member").0);
        named(&"g".repeat(size - named("").len()))
    };
    let check = |logged_in: bool, size: usize, good: bool, max: usize| {
        let mut client = weir.apps();
        if logged_in {
            assert_eq!(client.login(&token("edge")).error, 0);
        }
        client.send_frame(&heartbeat_of(size));
        match good {
            true => assert_eq!(client.answer().unwrap().0, 7),
            false => {
                client.is_closed();
                weir.closed(&client, "bad_frame", &format!("frame of {size} bytes is larger than {max}"));
            }
        }
    };
    check(true, 8 << 10, true, 8 << 10);
    check(true, (8 << 10) + 1, false, 8 << 10);
    check(false, (4 << 10) + 1, false, 4 << 10);
    // The last size before login is read; being no login it is refused for that.
    let mut client = weir.apps();
    client.send_frame(&heartbeat_of(4 << 10));
    client.is_closed();
    weir.closed(&client, "not_logged_in", "Heartbeat before login");
}

#[test]
fn a_body_that_never_comes_is_given_up() {
    let weir = Weir::start(|yaml| yaml.section("limits", "body_timeout: 1s"));
    let frame = sized(&request(METADATA, 1, 1, &metadata_body(&[])));
    for sent in [1, 3, 4, 5, frame.len() - 1] {
        let mut client = weir.open();
        client.send(&frame[..sent]);
        client.is_closed();
        weir.closed(&client, "body_timeout", "a frame did not arrive whole within 1s");
    }
    // Its trickle does not set the clock back.
    let mut client = weir.open();
    for byte in frame.iter().cycle().take(frame.len() - 1) {
        client.send(&[*byte]);
        std::thread::sleep(Duration::from_millis(60));
    }
    client.is_closed();
    weir.closed(&client, "body_timeout", "a frame did not arrive whole within 1s");
    let mut whole = weir.open();
    whole.send(&frame[..5]);
    std::thread::sleep(Duration::from_millis(300));
    whole.send(&frame[5..]);
    assert!(whole.answer().is_some(), "what arrives in time is answered");
}

/// Reference: seven connections that announced 90 MiB each stalled a broker of 512 MiB for everybody.
#[test]
fn memory_follows_the_bytes_received() {
    let weir = Weir::start(|yaml| yaml);
    weir.lives();
    let before = weir.usage().rss_bytes;
    let announcement = [&(90_i32 << 20).to_be_bytes()[..], &[0; 1020]].concat();
    let mut clients: Vec<Client> = (0..50).map(|_| weir.open()).collect();
    clients.iter_mut().for_each(|client| client.send(&announcement));
    for client in &mut clients {
        client.hears_nothing_for(Duration::from_millis(1));
    }
    until("every byte is counted", || weir.metric("weir_frame_bytes_held") >= 50.0 * 1024.0);
    assert!(weir.metric("weir_frame_bytes_held") < 60.0 * 1024.0);
    weir.lives();
    let grown = weir.usage().rss_bytes.saturating_sub(before);
    assert!(grown < 16 << 20, "50 announcements of 90 MiB cost {grown} bytes");
}

/// Six clients want to leave seven eighths of a frame each with weir, which may hold one frame in all.
#[test]
fn frames_of_all_connections_stay_within_the_memory_limit() {
    let weir = Weir::start(|yaml| {
        let limits = ["frame_bytes_max: { before_login: 512KiB, after: 8MiB }", "memory_max: 8MiB", "body_timeout: 3s"];
        limits.iter().fold(yaml, |yaml, line| yaml.section("limits", line))
    });
    weir.lives();
    let before = weir.usage().rss_bytes;
    let senders: Vec<_> = (0..6)
        .map(|_| {
            let mut client = weir.open();
            std::thread::spawn(move || {
                client.send(&(8_i32 << 20).to_be_bytes());
                (0..112).for_each(|_| client.send(&[0; 64 << 10]));
                client.until_end();
            })
        })
        .collect();
    let mut held: f64 = 0.0;
    while senders.iter().any(|sender| !sender.is_finished()) {
        held = held.max(weir.metric("weir_frame_bytes_held"));
        std::thread::sleep(Duration::from_millis(20));
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    // The one that may finish adds its frame, each other what it had just been given.
    assert!((6.0..=17.0).contains(&(held / 1024.0 / 1024.0)), "{held} bytes were held");
    let grown = weir.usage().rss_bytes_max.saturating_sub(before);
    assert!(grown < 64 << 20, "the process grew by {grown} bytes");
    weir.logs(&[("event", "connection.closed"), ("reason", "body_timeout")]);
    weir.lives();
}

/// Whatever part of a frame came, it is not taken for a request when the client goes.
#[test]
fn a_frame_that_the_client_leaves_unfinished_is_dropped() {
    let whole = sized(&request(METADATA, 1, 1, &metadata_body(&["alive"])));
    for cut in 1..whole.len() {
        let mut client = WEIR.open();
        client.send(&whole[..cut]);
        client.close_own_side();
        client.is_closed();
        let line = WEIR.logs(&[("event", "connection.closed"), ("peer", &client.peer())]);
        let announced = if cut < 4 { "of an unknown size".to_owned() } else { format!("of {} bytes", whole.len() - 4) };
        assert_eq!(line["reason"], "frame_cut", "{line}");
        assert_eq!(line["detail"], format!("the client closed the connection {cut} bytes into a frame {announced}"));
    }
    WEIR.lives();
    let mut client = WEIR.open();
    client.send(&whole);
    assert!(client.answer().is_some(), "the whole frame is a good request");
}

/// A frame whose size is right and whose content ends early, at every byte.
#[test]
fn a_request_that_ends_early_is_closed() {
    let classic = request(METADATA, 1, 1, &metadata_body(&["alive", "others"]));
    let flexible = flexible(METADATA, 12, 1, &metadata_v12(3, &["alive", "others"]));
    for whole in [&classic, &flexible] {
        for cut in 1..whole.len() {
            let mut client = WEIR.open_from(cut);
            client.send_frame(&whole[..cut]);
            client.is_closed();
            let line = WEIR.logs(&[("event", "connection.closed"), ("peer", &client.peer())]);
            assert_eq!(line["reason"], "malformed_request", "{line}");
        }
        let mut client = WEIR.open();
        client.send_frame(whole);
        assert!(client.answer().is_some(), "the whole request is good");
    }
    WEIR.lives();
}

/// Records are in this one: nothing of it may be stored, wherever it ends.
#[test]
fn a_produce_request_that_ends_early_stores_nothing() {
    topic("early-end", 1);
    let whole = request(PRODUCE, 8, 1, &produce_body(-1, &[("early-end", &[(0, &batch::plain(&["one"]))])]));
    for cut in 1..whole.len() {
        let mut client = WEIR.open_from(cut);
        client.send_frame(&whole[..cut]);
        client.is_closed();
        let line = WEIR.logs(&[("event", "connection.closed"), ("peer", &client.peer())]);
        assert_eq!(line["reason"], "malformed_request", "{line}");
    }
    assert_eq!(end_offset("early-end", 0), 0);
    WEIR.lives();
    let mut client = WEIR.open();
    client.send_frame(&whole);
    assert_eq!(produced(&client.answer().unwrap().1)[0].error, 0);
    assert_eq!(end_offset("early-end", 0), 1);
}

/// What Kafka itself reads in another way than it is written.
#[test]
fn a_header_with_two_readings_is_refused() {
    let header = |client_id: &[u8], tags: &[u8]| {
        let frame = Bytes::default().i16(METADATA).i16(12).i32(1).raw(client_id).raw(tags);
        frame.raw(&metadata_v12(2, &["alive"])).0
    };
    let (none, name) = (&[0xff, 0xff][..], [&[0, 3][..], b"abc"].concat());
    let refused = |frame: &[u8], fault: &str| {
        let mut client = WEIR.open();
        client.send_frame(frame);
        client.is_closed();
        let line = WEIR.logs(&[("event", "connection.closed"), ("peer", &client.peer())]);
        let text = line["detail"].as_str().unwrap();
        assert!(line["reason"] == "malformed_request" && text.ends_with(fault), "{line}");
    };
    // A client id of length -2, which Kafka reads as null.
    refused(&header(&[0xff, 0xfe], &[0]), "length is negative");
    refused(&header(&[&[0, 2][..], &[0xc3, 0x28]].concat(), &[0]), "string is not utf-8");
    // 2^31 tags, which Kafka reads as none, and a zero in two bytes.
    refused(&header(none, &[0x80, 0x80, 0x80, 0x80, 0x08]), "tags are not in ascending order");
    refused(&header(none, &[0x80, 0]), "varint is over-long");
    refused(&header(none, &[2, 5, 0, 5, 0]), "tags are not in ascending order");
    WEIR.lives();
    for (client_id, tags) in [(none, &[0][..]), (&name, &[0]), (&name, &[1, 99, 2, 7, 7])] {
        let mut client = WEIR.open();
        client.send_frame(&header(client_id, tags));
        assert!(client.answer().is_some(), "a null client id is legal, and an unknown tag is left out");
    }
}

#[test]
fn bytes_behind_a_request_are_refused() {
    topic("behind", 1);
    let good = request(PRODUCE, 8, 1, &produce_body(-1, &[("behind", &[(0, &batch::plain(&["one"]))])]));
    let behind = [&good[..], &[0]].concat();
    let at = good.len();
    check_closed(
        WEIR.open(),
        &sized(&behind),
        "malformed_request",
        &format!("ProduceRequest at byte {at}: bytes are left behind the message"),
    );
    let metadata = [request(METADATA, 1, 1, &metadata_body(&["alive"])), vec![0]].concat();
    let at = metadata.len() - 1;
    let detail = format!("MetadataRequest at byte {at}: bytes are left behind the message");
    check_closed(WEIR.open(), &sized(&metadata), "malformed_request", &detail);
    assert_eq!(end_offset("behind", 0), 0);
    let mut client = WEIR.open();
    client.send_frame(&good);
    assert_eq!(produced(&client.answer().unwrap().1)[0].error, 0);
    assert_eq!(end_offset("behind", 0), 1);
}

/// A broker lets the last of two entries win; who checks the first only lets the second through.
#[test]
fn a_partition_named_twice_is_refused() {
    topic("twice", 2);
    let (one, two) = (batch::plain(&["one"]), batch::plain(&["two"]));
    let refused = |topics: &[(&str, &[(i32, &[u8])])], detail: &str| {
        let mut client = WEIR.open();
        client.send_frame(&request(PRODUCE, 8, 1, &produce_body(-1, topics)));
        client.is_closed();
        let line = WEIR.logs(&[("event", "connection.closed"), ("peer", &client.peer())]);
        assert_eq!(line["reason"], "malformed_request");
        let text = line["detail"].as_str().unwrap();
        assert!(text.starts_with("ProduceRequest") && text.ends_with(detail), "{text}");
    };
    refused(&[("twice", &[(0, &one), (0, &two)])], ": partition stands in the request twice");
    refused(&[("twice", &[(0, &one), (1, &one), (0, &two)])], ": partition stands in the request twice");
    refused(&[("twice", &[(0, &one)]), ("twice", &[(0, &two)])], ": topic stands in the request twice");
    assert_eq!((end_offset("twice", 0), end_offset("twice", 1)), (0, 0));
    WEIR.lives();

    let body = produce_body(-1, &[("twice", &[(0, &one), (1, &two)])]);
    let answer = WEIR.open().call(PRODUCE, 8, &body).unwrap();
    assert_eq!(produced(&answer).iter().map(|partition| partition.error).collect::<Vec<_>>(), [0, 0]);
    assert_eq!((end_offset("twice", 0), end_offset("twice", 1)), (1, 1));
}

#[test]
fn a_fetch_that_names_a_partition_twice_is_refused() {
    topic("fetched-twice", 1);
    let partition = Bytes::default().i32(0).i32(-1).i64(0).i64(-1).i32(1 << 20).0;
    let fetch = |times: usize| {
        let body = Bytes::default().i32(-1).i32(0).i32(1).i32(1 << 20).i8(0).i32(0).i32(-1);
        let body = body.count(1).string("fetched-twice").count(times).raw(&partition.repeat(times));
        request(FETCH, 11, 1, &body.count(0).string("").0)
    };
    let mut client = WEIR.open();
    client.send_frame(&fetch(2));
    client.is_closed();
    let line = WEIR.logs(&[("event", "connection.closed"), ("peer", &client.peer())]);
    assert!(line["detail"].as_str().unwrap().ends_with("partition stands in the request twice"), "{line}");
    let mut client = WEIR.open();
    client.send_frame(&fetch(1));
    assert_eq!(wire::fetched(&client.answer().unwrap().1).0, 0);
    assert_eq!(fetch(1), request(FETCH, 11, 1, &fetch_body("fetched-twice", 0, 0, 0)));
}

/// The inputs of 4 to 70 bytes with which `kafka-protocol` takes a whole process down: those in a frame's envelope here, those in
/// a batch with the records.
#[test]
fn an_array_of_two_thousand_million_topics_is_refused() {
    let body = Bytes::default().i32(i32::MAX).0;
    let detail = "MetadataRequest.Topics at byte 23: more is announced than the frame holds";
    check_closed(WEIR.open(), &sized(&request(METADATA, 1, 1, &body)), "malformed_request", detail);
    assert!(WEIR.open().call(METADATA, 1, &metadata_body(&["alive"])).is_some());
}

#[test]
fn a_compact_array_of_four_thousand_million_topics_is_refused() {
    let body = Bytes::default().varint(u32::MAX).0;
    let detail = "MetadataRequest.Topics at byte 25: more is announced than the frame holds";
    check_closed(WEIR.open(), &sized(&flexible(METADATA, 12, 1, &body)), "malformed_request", detail);
    // The same in ApiVersions, which nobody needs to log in for.
    let body = Bytes::default().varint(u32::MAX).0;
    check_closed(
        WEIR.apps(),
        &sized(&flexible(API_VERSIONS, 3, 1, &body)),
        "malformed_request",
        "ApiVersionsRequest.ClientSoftwareName at byte 25: string is longer than 32767 bytes",
    );
}

#[test]
fn a_frame_too_short_for_a_header_is_refused() {
    for (frame, bytes) in [(&[0, 3][..], 2), (&[0], 1), (&[0, 18, 0, 3, 0, 0, 0], 7)] {
        let detail = format!("frame of {bytes} bytes is too short for a header");
        check_closed(WEIR.open(), &sized(frame), "malformed_request", &detail);
        check_closed(WEIR.apps(), &sized(frame), "malformed_request", &detail);
    }
    let answer = WEIR.apps().call(API_VERSIONS, 0, &[]).unwrap();
    assert_eq!(api_versions(&answer).0, 0);
}

/// Metadata of version 12: `count` is the compact array's length field, one more than its topics.
fn metadata_v12(count: u32, topics: &[&str]) -> Vec<u8> {
    let body =
        topics.iter().fold(Bytes::default().varint(count), |body, topic| body.raw(&[0; 16]).compact(topic).varint(0));
    body.i8(0).i8(0).varint(0).0
}
