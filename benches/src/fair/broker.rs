//! A broker that answers by a script: every Produce and Heartbeat succeeds at once.

use std::net::SocketAddr;
use std::thread;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, HeartbeatResponse, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::wire::{HEARTBEAT_VERSION, PRODUCE_VERSION, read_frame, response};

/// The broker, on a thread of its own until the process ends.
#[derive(Debug)]
pub struct Broker {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Broker {
    /// Its id in the cluster.
    pub const NODE: i32 = 1;

    /// Starts it on a free port.
    ///
    /// # Panics
    /// Without one.
    #[must_use]
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, address));
                }
            });
        });
        Self { address }
    }
}

async fn serve(mut stream: TcpStream, address: SocketAddr) {
    stream.set_nodelay(true).unwrap();
    while let Some(frame) = read_frame(&mut stream).await {
        if stream.write_all(&answer(frame, address)).await.is_err() {
            return;
        }
    }
}

fn answer(mut frame: Bytes, address: SocketAddr) -> BytesMut {
    let (api, version) = (frame.get(..2).unwrap(), frame.get(2..4).unwrap());
    let api = ApiKey::try_from(i16::from_be_bytes(api.try_into().unwrap())).unwrap();
    let version = i16::from_be_bytes(version.try_into().unwrap());
    let header = RequestHeader::decode(&mut frame, api.request_header_version(version)).unwrap();
    let id = header.correlation_id;
    if api == ApiKey::ApiVersions {
        response(api, version, id, &versions())
    } else if api == ApiKey::Metadata {
        response(api, version, id, &cluster(address))
    } else if api == ApiKey::Heartbeat {
        response(api, version, id, &HeartbeatResponse::default())
    } else {
        assert_eq!(api, ApiKey::Produce, "an API that is not in the script");
        let request = ProduceRequest::decode(&mut frame, version).unwrap();
        response(api, version, id, &stored(request))
    }
}

fn versions() -> ApiVersionsResponse {
    let served = [
        (ApiKey::Produce, PRODUCE_VERSION),
        (ApiKey::Metadata, 12),
        (ApiKey::Heartbeat, HEARTBEAT_VERSION),
        (ApiKey::ApiVersions, 3),
    ];
    let served = served.map(|(api, max)| ApiVersion::default().with_api_key(api as i16).with_max_version(max));
    ApiVersionsResponse::default().with_api_keys(served.to_vec())
}

fn cluster(address: SocketAddr) -> MetadataResponse {
    let broker = MetadataResponseBroker::default()
        .with_node_id(Broker::NODE.into())
        .with_host(StrBytes::from(address.ip().to_string()))
        .with_port(i32::from(address.port()));
    MetadataResponse::default().with_brokers(vec![broker]).with_controller_id(Broker::NODE.into())
}

fn stored(request: ProduceRequest) -> ProduceResponse {
    let topics = request.topic_data.into_iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|data| {
            assert!(data.records.as_ref().is_some_and(|records| !records.is_empty()), "records arrive");
            PartitionProduceResponse::default().with_index(data.index)
        });
        TopicProduceResponse::default().with_partition_responses(partitions.collect()).with_name(topic.name)
    });
    ProduceResponse::default().with_responses(topics.collect())
}
