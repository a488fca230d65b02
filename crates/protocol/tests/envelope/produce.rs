//! Produce requests.

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest as Body, TransactionalId};
use proptest::prelude::*;
use weir_protocol::ProduceRequest;

use super::*;

/// Two topics: one with partitions 0, 1 and 2, one with partition 7 that is null; unknown tags in all structs that can
/// carry them.
fn body(version: i16) -> Body {
    let partition = |index, records: Option<Bytes>| {
        tagged(version, PartitionProduceData::default().with_index(index).with_records(records), |it| {
            it.with_unknown_tagged_field(3, Bytes::from_static(b"who"))
        })
    };
    let topic = |at: u128, partitions| {
        let names = ["", "first", "second"];
        tagged(
            version,
            TopicProduceData::default()
                .with_name(name(version, names[usize::try_from(at).unwrap()]))
                .with_topic_id(id(version, at))
                .with_partition_data(partitions),
            |it| it.with_unknown_tagged_field(5, Bytes::from_static(b"knows")),
        )
    };
    let records = |byte, length| Some(Bytes::from(vec![byte; length]));
    tagged(
        version,
        Body::default().with_transactional_id(Some(TransactionalId(text("tx")))).with_acks(-1).with_timeout_ms(30_000),
        |it| it.with_unknown_tagged_field(0, Bytes::from_static(b"this")),
    )
    .with_topic_data(vec![
        topic(
            1,
            vec![partition(0, records(b'a', 10)), partition(1, records(b'b', 200)), partition(2, records(b'c', 0))],
        ),
        topic(2, vec![partition(7, None)]),
    ])
}

fn tagged<T>(version: i16, it: T, tag: impl FnOnce(T) -> T) -> T {
    if ApiKey::Produce.is_flexible(version) { tag(it) } else { it }
}

/// What is left of the body when nothing but the unknown tags is taken out.
fn clean(mut body: Body) -> Body {
    body.unknown_tagged_fields.clear();
    for topic in &mut body.topic_data {
        topic.unknown_tagged_fields.clear();
        topic.partition_data.iter_mut().for_each(|partition| partition.unknown_tagged_fields.clear());
    }
    body
}

/// Edits the request of every version with weir, and the expected outcome by hand.
fn check(edit: impl Fn(&ProduceRequest, &mut Splices), expect: impl Fn(&mut Body)) {
    for version in ApiKey::Produce.versions() {
        let (frame, request) = request(ApiKey::Produce, version, &body(version));
        let produce = ProduceRequest::read(&frame, &request).unwrap();
        let mut splices = Splices::default();
        edit(&produce, &mut splices);
        let mut expected = clean(body(version));
        expect(&mut expected);
        assert_eq!(edited_request::<Body>(frame, &request, splices), expected, "version {version}");
    }
}

#[test]
fn reads_what_the_oracle_wrote() {
    for version in ApiKey::Produce.versions() {
        let (frame, request) = request(ApiKey::Produce, version, &body(version));
        let produce = ProduceRequest::read(&frame, &request).unwrap();
        assert_eq!(produce.transactional_id.map(|span| &frame[span]), Some(&b"tx"[..]));
        assert_eq!((produce.acks, &frame[produce.acks_at], produce.timeout_ms), (-1, &[0xff, 0xff][..], 30_000));
        let [first, second] = produce.topics.as_slice() else { panic!("two topics") };
        assert_topic(&frame, &first.topic, version, "first", 1);
        assert_topic(&frame, &second.topic, version, "second", 2);
        let partitions = [&first.partitions, &second.partitions].map(|them| {
            them.iter().map(|it| (it.index, it.records.clone().map(|at| frame[at].to_vec()))).collect::<Vec<_>>()
        });
        assert_eq!(
            partitions,
            [vec![(0, Some(vec![b'a'; 10])), (1, Some(vec![b'b'; 200])), (2, Some(vec![]))], vec![(7, None)]]
        );
    }
}

#[test]
fn leaves_everything_alone_unless_told() {
    check(|_, _| {}, |_| {});
    check(|produce, splices| produce.retain(|_, _| true, splices), |_| {});
    check(|produce, splices| produce.replace_records(9, 0, Bytes::from_static(b"no such topic"), splices), |_| {});
}

#[test]
fn sets_acks() {
    check(|produce, splices| produce.set_acks(1, splices), |body| body.acks = 1);
}

#[test]
fn replaces_records_with_longer_shorter_and_none() {
    for length in [0, 1, 126, 127, 128, 20_000] {
        let records = Bytes::from(vec![b'x'; length]);
        for (topic, partition) in [(0, 0), (0, 1), (0, 2), (1, 0)] {
            check(
                |produce, splices| produce.replace_records(topic, partition, records.clone(), splices),
                |body| body.topic_data[topic].partition_data[partition].records = Some(records.clone()),
            );
        }
    }
}

#[test]
fn drops_partitions_and_topics_left_empty() {
    check(|produce, splices| produce.retain(|topic, _| topic == 1, splices), |body| drop(body.topic_data.remove(0)));
    check(|produce, splices| produce.retain(|topic, _| topic == 0, splices), |body| drop(body.topic_data.remove(1)));
    check(|produce, splices| produce.retain(|_, _| false, splices), |body| body.topic_data.clear());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn combines_edits_in_any_order(
        keep in prop::array::uniform4(any::<bool>()),
        lengths in prop::array::uniform4(prop::option::of(0..300_usize)),
        retain_first in any::<bool>(),
    ) {
        let places = [(0, 0), (0, 1), (0, 2), (1, 0)];
        let kept = |topic, partition| keep[places.iter().position(|place| *place == (topic, partition)).unwrap()];
        let records = |at: usize| lengths[at].map(|length| Bytes::from(vec![b'y'; length]));
        check(
            |produce, splices| {
                if retain_first {
                    produce.retain(kept, splices);
                }
                for (at, (topic, partition)) in places.into_iter().enumerate().rev() {
                    if let Some(records) = records(at) {
                        produce.replace_records(topic, partition, records, splices);
                    }
                }
                if !retain_first {
                    produce.retain(kept, splices);
                }
                produce.set_acks(1, splices);
            },
            |body| {
                body.acks = 1;
                for (at, (topic, partition)) in places.into_iter().enumerate() {
                    if let Some(records) = records(at) {
                        body.topic_data[topic].partition_data[partition].records = Some(records);
                    }
                }
                for (topic, data) in body.topic_data.iter_mut().enumerate() {
                    let mut at = 0..;
                    data.partition_data.retain(|_| kept(topic, at.next().unwrap()));
                }
                body.topic_data.retain(|topic| !topic.partition_data.is_empty());
            },
        );
    }
}
