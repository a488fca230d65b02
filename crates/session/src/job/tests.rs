use bytes::{BufMut as _, Bytes};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest as ProduceMessage, RequestHeader};
use kafka_protocol::protocol::{Encodable as _, StrBytes};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use weir_policy::{Direction, KeyRing, PolicyLimits, PolicySet, Source, Subject};
use weir_protocol::check_request;
use weir_yaml::Problems;

use super::*;

const VERSION: i16 = 9;
const POLICY: &str = r#"
version: 1
access: [ { name: all, principals: { groups: [all] }, allow: [ { produce: ["orders"] } ] } ]
rules:
  - { name: mail, match: { topics: ["orders"], direction: produce }, fields: [ { path: "$.mail", transform: mask } ] }
"#;

fn rules() -> Arc<RuleSet> {
    let source = Source { name: "test.yaml".to_owned(), text: POLICY.to_owned() };
    let mut problems = Problems::default();
    let set = PolicySet::compile(&[source], &KeyRing::default(), &PolicyLimits::default(), &mut problems).unwrap();
    set.rules(&Subject { id: "test", groups: &["all".to_owned()] }, "orders", Direction::Produce).unwrap()
}

fn batch(note_bytes: usize, compression: Compression) -> Bytes {
    let value = format!(r#"{{"mail":"ada@example.com","note":"{}"}}"#, "x".repeat(note_bytes));
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: 0,
        timestamp: 0,
        key: None,
        value: Some(value.into()),
        headers: Default::default(),
    };
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    let zstd = |plain: &mut BytesMut, out: &mut BytesMut, codec: Compression| {
        if codec == Compression::None {
            out.put_slice(plain);
            return Ok(());
        }
        let mut compressed = vec![0; zstd_safe::compress_bound(plain.len())];
        let written = zstd_safe::compress(compressed.as_mut_slice(), plain, 3).unwrap();
        out.put_slice(&compressed[..written]);
        Ok(())
    };
    RecordBatchEncoder::encode_with_custom_compression(&mut out, [&record], &options, Some(zstd)).unwrap();
    out.freeze()
}

/// A job over one partition for each of these batches.
fn job(batches: &[Bytes], rules: Option<&Arc<RuleSet>>) -> Job {
    let partitions = batches.iter().zip(0..);
    let partitions = partitions
        .map(|(batch, index)| PartitionProduceData::default().with_index(index).with_records(Some(batch.clone())));
    let topic = TopicProduceData::default()
        .with_name(StrBytes::from_static_str("orders").into())
        .with_partition_data(partitions.collect());
    let mut frame = BytesMut::new();
    let header = RequestHeader::default().with_request_api_version(VERSION).with_client_id(Some(StrBytes::default()));
    header.encode(&mut frame, 2).unwrap();
    ProduceMessage::default().with_acks(1).with_topic_data(vec![topic]).encode(&mut frame, VERSION).unwrap();
    let request = ProduceRequest::read(&frame, &check_request(&frame).unwrap()).unwrap();
    let planned = |(partition, data): (usize, &weir_protocol::ProducePartition)| Planned {
        topic: 0,
        partition,
        records: data.records.clone().unwrap(),
        rules: rules.cloned(),
        digest_key: Some(DigestKey([7; 32])),
        grown_bytes_max: usize::MAX,
    };
    let plan = request.topics[0].partitions.iter().enumerate().map(planned).collect();
    Job::produce(5, frame, (request, VERSION), plan, records::Limits::default())
}

fn edited(done: Done) -> Vec<u32> {
    match done.result {
        Some(Inspection::Produce(found)) => {
            found.partitions.iter().map(|partition| partition.batch.as_ref().unwrap().edited_records).collect()
        }
        Some(Inspection::Fetch(_)) | None => panic!("no produced records"),
    }
}

/// Whether these batches are inspected inline; wherever it happens, each record's field is masked.
#[track_caller]
fn check(batches: &[Bytes], inline: bool) {
    let mut scratch = Scratch::default();
    let done = match job(batches, Some(&rules())).run_inline(&mut scratch) {
        Ok(done) => {
            assert!(inline, "was run inline");
            done
        }
        Err(job) => {
            assert!(!inline, "was not run inline");
            assert_eq!(job.slot(), 5);
            job.run(&mut scratch)
        }
    };
    assert_eq!(edited(done), vec![1; batches.len()]);
}

#[test]
fn what_opens_to_much_is_not_inspected_inline() {
    check(&[batch(100, Compression::None)], true);
    check(&[batch(INLINE_PLAIN_BYTES_MAX, Compression::None)], false);
    check(&[batch(INLINE_INFLATED_BYTES_MAX - 1000, Compression::Zstd)], true);
    check(&[batch(INLINE_INFLATED_BYTES_MAX, Compression::Zstd)], false);
    let large = batch(15 << 20, Compression::Zstd);
    assert!(large.len() < INLINE_COMPRESSED_BYTES_MAX, "from outside it looks small");
    check(&[large], false);
}

#[test]
fn batches_of_one_frame_share_what_may_be_opened_inline() {
    let third = batch(INLINE_INFLATED_BYTES_MAX / 3 - 1000, Compression::Zstd);
    check(&[third.clone(), third.clone(), third.clone()], true);
    check(&[third.clone(), third.clone(), third.clone(), third.clone()], false);
    // An uncompressed batch before it is edited in place: the copy that is run elsewhere must not be.
    check(&[batch(100, Compression::None), batch(INLINE_INFLATED_BYTES_MAX, Compression::Zstd)], false);
}

#[test]
fn what_is_not_opened_may_be_larger() {
    let check = |bytes: usize, inline: bool| {
        let job = job(&[batch(bytes, Compression::None)], None);
        assert_eq!(job.run_inline(&mut Scratch::default()).is_ok(), inline, "{bytes} bytes");
    };
    let around = batch(INLINE_UNOPENED_BYTES_MAX, Compression::None).len() - INLINE_UNOPENED_BYTES_MAX;
    check(INLINE_UNOPENED_BYTES_MAX - around, true);
    check(INLINE_UNOPENED_BYTES_MAX - around + 1, false);
}
