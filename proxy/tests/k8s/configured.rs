//! What `weir.yaml` of a deployment says.

use std::collections::BTreeMap;

use weir_yaml::{Node, Problems, Value as Yaml};

use crate::render::Objects;

/// What `weir.yaml` of a deployment says, as far as the manifests repeat it.
pub(crate) struct Configured {
    pub(crate) namespace: String,
    /// Port names and numbers: the bootstrap and the brokers.
    pub(crate) clients: BTreeMap<String, u16>,
    pub(crate) metrics: u16,
    pub(crate) advertise: String,
    pub(crate) upstream_ports: Vec<u16>,
    pub(crate) drain_seconds: u64,
    pub(crate) log_bytes_max: u64,
    pub(crate) data_dir: String,
    pub(crate) text: String,
}

impl Configured {
    pub(crate) fn of(objects: &Objects) -> Self {
        let namespace = objects.only("Namespace")["metadata"]["name"].as_str().unwrap().to_owned();
        let maps = objects.of_kind("ConfigMap");
        let texts: Vec<&str> = maps.iter().filter_map(|map| map["data"]["weir.yaml"].as_str()).collect();
        let [text] = texts.as_slice() else { panic!("one ConfigMap has weir.yaml") };
        let mut problems = Problems::default();
        let documents = weir_yaml::parse("weir.yaml", text, &mut problems);
        assert!(problems.is_empty(), "{problems}");
        let document = &documents[0];
        let string = |path: &[&str]| as_string(get(document, path));
        let listener = &list(get(document, &["listeners"]))[0];
        let bootstrap = port(&as_string(get(listener, &["bind"])));
        let ids = list(get(document, &["upstream", "node_ids"])).iter().flat_map(|range| {
            let range = as_string(range);
            let (first, last) = range.split_once('-').unwrap_or((&range, &range));
            first.parse::<u16>().unwrap()..=last.parse::<u16>().unwrap()
        });
        let mut clients: BTreeMap<String, u16> = ids
            .enumerate()
            .map(|(i, id)| (format!("broker-{id}"), bootstrap + 1 + u16::try_from(i).unwrap()))
            .collect();
        clients.insert("bootstrap".into(), bootstrap);
        let upstream = list(get(document, &["upstream", "bootstrap"]));
        let mut sizes = Problems::default();
        let log_bytes_max = get(document, &["audit", "retain", "bytes_max"]).as_size("bytes_max", &mut sizes).unwrap();
        Self {
            namespace,
            clients,
            metrics: port(&string(&["admin", "metrics"])),
            advertise: as_string(get(listener, &["advertise"])),
            upstream_ports: upstream.iter().map(|broker| port(&as_string(broker))).collect(),
            drain_seconds: get(document, &["limits", "drain_timeout"])
                .as_duration("drain_timeout", &mut sizes)
                .unwrap()
                .as_secs(),
            log_bytes_max,
            data_dir: string(&["data_dir"]),
            text: (*text).to_owned(),
        }
    }
}

fn get<'a>(node: &'a Node, path: &[&str]) -> &'a Node {
    path.iter().fold(node, |node, key| {
        let Yaml::Map(entries) = &node.value else { panic!("{key}: not in a map") };
        &entries.iter().find(|entry| entry.key == *key).unwrap_or_else(|| panic!("no {key}")).value
    })
}

fn list(node: &Node) -> &[Node] {
    let Yaml::List(items) = &node.value else { panic!("not a list") };
    items
}

fn as_string(node: &Node) -> String {
    let Yaml::String(text) = &node.value else { panic!("not a string") };
    text.clone()
}

pub(crate) fn port(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}
