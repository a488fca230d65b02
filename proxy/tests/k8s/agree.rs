//! What stands in several places must be the same in all of them: ports, names, labels, limits.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use serde_json::{Value, json};

use crate::configured::{Configured, port};
use crate::render::{BASE, BROKERS, Objects, items, objects};

/// weir's side and the brokers' side of one deployment.
struct Deployment {
    folder: &'static str,
    weir: Objects,
    brokers: Objects,
}

impl Deployment {
    fn all() -> Vec<Self> {
        let of = |&(weir, brokers)| Self { folder: weir, weir: objects(weir), brokers: objects(brokers) };
        BROKERS.iter().map(of).collect()
    }
}

fn check(check: impl Fn(&Deployment)) {
    Deployment::all().iter().for_each(check);
}

#[test]
fn every_port_is_the_one_of_the_configuration() {
    check(check_ports);
}

#[test]
fn nobody_but_weir_reaches_the_brokers() {
    check(check_brokers);
}

#[test]
fn names_and_labels_find_each_other() {
    check(check_names);
}

#[test]
fn the_configuration_names_files_that_are_mounted() {
    check(check_files);
}

#[test]
fn a_stop_has_the_time_that_draining_takes() {
    check(check_times);
}

#[test]
fn pods_have_no_rights_and_no_writable_root() {
    check(check_rights);
}

/// The control: each change below makes two places disagree, and the check that holds them together must say so.
#[test]
fn each_disagreement_is_noticed() {
    type Check = fn(&Deployment);
    let template = "/spec/template/spec";
    let container = &format!("{template}/containers/0");
    let policy = "NetworkPolicy";
    let changes: [(Check, &str, &str, &str, Value); 22] = [
        (check_ports, "StatefulSet", "weir", &format!("{container}/ports/1/containerPort"), json!(9193 + 10)),
        (check_ports, "Service", "weir", "/spec/ports/1/port", json!(9199)),
        (check_ports, "Service", "weir", "/spec/ports/1/targetPort", json!("bootstrap")),
        (check_ports, "Service", "weir-replicas", "/spec/ports/0/port", json!(9191)),
        (check_ports, "StatefulSet", "weir", &format!("{container}/livenessProbe/httpGet/port"), json!("bootstrap")),
        (check_ports, "ServiceMonitor", "weir", "/spec/endpoints/0/port", json!("bootstrap")),
        (check_ports, policy, "weir", "/spec/ingress/0/ports/0/endPort", json!(9194)),
        (check_ports, policy, "weir", "/spec/egress/1/ports/0/port", json!(9092)),
        (check_ports, policy, "brokers-behind-weir", "/spec/ingress/0/ports/0/port", json!(9092)),
        (check_ports, policy, "brokers-behind-weir", "/metadata/namespace", json!("elsewhere")),
        (check_brokers, policy, "brokers-behind-weir", "/spec/ingress/0/from", json!([{}, {}])),
        (check_brokers, policy, "brokers-behind-weir", "/spec/ingress/1/from/0", json!({ "namespaceSelector": {} })),
        (check_names, "Service", "weir", "/spec/selector", json!({ "app.kubernetes.io/name": "other" })),
        (check_names, "StatefulSet", "weir", "/spec/serviceName", json!("weir")),
        (check_names, "ServiceMonitor", "weir", "/spec/selector/matchLabels", json!({})),
        (check_names, "ServiceAccount", "weir", "/automountServiceAccountToken", json!(true)),
        (check_files, "StatefulSet", "weir", &format!("{container}/volumeMounts/3/mountPath"), json!("/etc/weir/tsl")),
        (check_files, "StatefulSet", "weir", &format!("{container}/volumeMounts/3/readOnly"), json!(false)),
        (
            check_files,
            "StatefulSet",
            "weir",
            "/spec/volumeClaimTemplates/0/spec/resources/requests/storage",
            json!("16Gi"),
        ),
        (check_files, "StatefulSet", "weir", &format!("{template}/volumes/2/secret/defaultMode"), json!(0o444)),
        (check_times, "StatefulSet", "weir", &format!("{template}/terminationGracePeriodSeconds"), json!(40)),
        (
            check_rights,
            "StatefulSet",
            "weir",
            &format!("{container}/securityContext/readOnlyRootFilesystem"),
            json!(false),
        ),
    ];
    for (check, kind, name, pointer, value) in changes {
        let mut deployment = Deployment::all().swap_remove(0);
        let Deployment { weir, brokers, .. } = &mut deployment;
        let mut all = weir.0.iter_mut().chain(&mut brokers.0);
        let object = all.find(|object| object["kind"] == kind && object["metadata"]["name"] == name).unwrap();
        let place = object.pointer_mut(pointer).unwrap_or_else(|| panic!("{kind} {name} has no {pointer}"));
        assert_ne!(*place, value, "{pointer}");
        *place = value;
        let checked = std::panic::catch_unwind(AssertUnwindSafe(|| check(&deployment)));
        assert!(checked.is_err(), "nobody notices {kind} {name} {pointer}");
    }
}

fn check_ports(deployment: &Deployment) {
    let Deployment { folder: weir, weir: objects, brokers } = deployment;
    let configured = Configured::of(objects);
    let mut of_container = configured.clients.clone();
    of_container.insert("metrics".into(), configured.metrics);
    assert_eq!(ports(&objects.container()["ports"], "containerPort"), of_container, "{weir}: container");

    let service = objects.named("Service", "weir");
    assert_eq!(ports(&service["spec"]["ports"], "port"), configured.clients, "{weir}: Service weir");
    let replicas = objects.named("Service", "weir-replicas");
    assert_eq!(ports(&replicas["spec"]["ports"], "port"), [("metrics".into(), configured.metrics)].into());
    for port in items(&service["spec"]["ports"]).iter().chain(items(&replicas["spec"]["ports"])) {
        assert_eq!(port["targetPort"], port["name"], "{weir}: clients are told the ports that weir binds");
    }
    assert_eq!(port(&configured.advertise), configured.clients["bootstrap"], "{weir}: advertise");

    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(objects.container()[probe]["httpGet"], json!({ "path": path, "port": "metrics" }), "{probe}");
    }
    let endpoint = &items(&objects.only("ServiceMonitor")["spec"]["endpoints"])[0];
    assert_eq!((&endpoint["port"], &endpoint["path"]), (&json!("metrics"), &json!("/metrics")), "{weir}");

    let policy = &objects.only("NetworkPolicy")["spec"];
    let (_, last) = rule_for(&policy["ingress"], configured.clients["bootstrap"]);
    assert_eq!(Some(&last), configured.clients.values().max(), "{weir}: clients' ports in the NetworkPolicy");
    let (scrapers, last) = rule_for(&policy["ingress"], configured.metrics);
    assert!(last == configured.metrics && !items(&scrapers["from"]).is_empty(), "{weir}: metrics are not for all");
    for port in configured.upstream_ports {
        let (out, _) = rule_for(&policy["egress"], port);
        assert!(!items(&out["to"]).is_empty(), "{weir}: the brokers' port leads to brokers alone");
        // The brokers' side opens the same port, to weir.
        let (from, _) = rule_for(&brokers.only("NetworkPolicy")["spec"]["ingress"], port);
        let peer = &items(&from["from"])[0];
        assert_eq!(peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], configured.namespace);
        assert_eq!(out["to"][0]["podSelector"], brokers.only("NetworkPolicy")["spec"]["podSelector"]);
        let template = &objects.only("StatefulSet")["spec"]["template"];
        assert!(selects(&peer["podSelector"]["matchLabels"], template), "{weir}: weir reaches the brokers");
        let namespace = &out["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
        assert_eq!(&brokers.only("NetworkPolicy")["metadata"]["namespace"], namespace, "{weir}: brokers");
    }
}

fn check_brokers(deployment: &Deployment) {
    let Deployment { brokers, .. } = deployment;
    let policy = &brokers.only("NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress"]));
    let [weir, among_themselves] = items(&policy["ingress"]) else { panic!("two rules") };
    assert_eq!((items(&weir["from"]).len(), items(&weir["ports"]).len()), (1, 1));
    // A peer without a namespace is one of the policy's own, and the selector is the brokers' own.
    assert_eq!(among_themselves["from"], json!([{ "podSelector": policy["podSelector"] }]));
}

fn check_names(deployment: &Deployment) {
    let Deployment { folder: weir, weir: objects, .. } = deployment;
    let configured = Configured::of(objects);
    for object in objects.0.iter().filter(|object| object["kind"] != "Namespace") {
        assert_eq!(object["metadata"]["namespace"], configured.namespace, "{weir}: {}", object["kind"]);
    }
    let set = &objects.only("StatefulSet")["spec"];
    let template = &set["template"];
    let budget = &objects.only("PodDisruptionBudget")["spec"]["selector"]["matchLabels"];
    let policy = &objects.only("NetworkPolicy")["spec"]["podSelector"]["matchLabels"];
    let services = objects.of_kind("Service");
    let spread = items(&template["spec"]["topologySpreadConstraints"]);
    let selectors = [&set["selector"]["matchLabels"], budget, policy].into_iter();
    let selectors = selectors.chain(services.iter().map(|service| &service["spec"]["selector"]));
    for selector in selectors.chain(spread.iter().map(|constraint| &constraint["labelSelector"]["matchLabels"])) {
        assert!(selects(selector, template), "{weir}: {selector}");
    }
    // Scraped once: one of the two Services, the one that names single replicas.
    let monitor = &objects.only("ServiceMonitor")["spec"]["selector"]["matchLabels"];
    let scraped: Vec<_> = services.iter().filter(|service| selects(monitor, service)).collect();
    assert_eq!(scraped.len(), 1, "{weir}");
    assert_eq!(scraped[0]["metadata"]["name"], set["serviceName"], "{weir}");
    assert_eq!(scraped[0]["spec"]["clusterIP"], "None", "{weir}");

    let account = objects.only("ServiceAccount");
    assert_eq!(objects.pod()["serviceAccountName"], account["metadata"]["name"]);
    for automount in [account, objects.pod()] {
        assert_eq!(automount["automountServiceAccountToken"], false, "{weir}: weir has no business with the API");
    }
    for volume in items(&objects.pod()["volumes"]) {
        if let Some(name) = volume["configMap"]["name"].as_str() {
            objects.named("ConfigMap", name);
        }
    }
    if *weir == BASE {
        assert_eq!(
            configured.advertise,
            format!("weir.{}.svc.cluster.local:{}", configured.namespace, configured.clients["bootstrap"])
        );
    }
}

fn check_files(deployment: &Deployment) {
    let Deployment { folder: weir, weir: objects, .. } = deployment;
    let configured = Configured::of(objects);
    let volumes: BTreeMap<&str, &Value> =
        items(&objects.pod()["volumes"]).iter().map(|volume| (volume["name"].as_str().unwrap(), volume)).collect();
    let mounts = items(&objects.container()["volumeMounts"]);
    for mount in mounts {
        let (name, path) = (mount["name"].as_str().unwrap(), mount["mountPath"].as_str().unwrap());
        if path == configured.data_dir {
            continue;
        }
        assert_eq!(mount["readOnly"], true, "{weir}: {path}");
        assert!(volumes.contains_key(name), "{weir}: no volume `{name}`");
        let config = path == "/etc/weir/config";
        assert!(config || configured.text.contains(&format!("{path}/")), "{weir}: {path} is mounted for nothing");
    }
    let mounted = |path: &str| mounts.iter().any(|mount| Some(mount["mountPath"].as_str().unwrap()) == parent(path));
    for word in configured.text.split([' ', '"']).filter(|word| word.starts_with("/etc/")) {
        assert!(mounted(word), "{weir}: {word}");
    }
    let claim = &items(&objects.only("StatefulSet")["spec"]["volumeClaimTemplates"])[0];
    let data = mounts.iter().find(|mount| mount["mountPath"] == configured.data_dir.as_str()).unwrap();
    assert_eq!(claim["metadata"]["name"], data["name"], "{weir}: the audit log lies on the claimed volume");
    let storage = quantity(&claim["spec"]["resources"]["requests"]["storage"]);
    assert!(configured.log_bytes_max <= storage / 10 * 9, "{weir}: the log may not fill its volume");
    for (name, volume) in volumes.iter().filter(|(_, volume)| volume.get("secret").is_some()) {
        assert_eq!(volume["secret"]["defaultMode"], 0o440, "{weir}: Secret {name} is for owner and group alone");
    }
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

fn check_times(deployment: &Deployment) {
    let Deployment { folder: weir, weir: objects, .. } = deployment;
    let before = objects.container()["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    let grace = objects.pod()["terminationGracePeriodSeconds"].as_u64().unwrap();
    let drain = Configured::of(objects).drain_seconds;
    assert!(grace > before + drain + CUT_SECONDS, "{weir}: {grace} s for {before} s, {drain} s and {CUT_SECONDS} s");
}

/// What weir takes at most for connections that did not end within `drain_timeout`.
const CUT_SECONDS: u64 = 5;

fn check_rights(deployment: &Deployment) {
    let Deployment { folder: weir, weir: objects, .. } = deployment;
    let labels = &objects.only("Namespace")["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted", "{weir}");
    let container = &objects.container()["securityContext"];
    assert_eq!(
        *container,
        json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "readOnlyRootFilesystem": true })
    );
    let pod = &objects.pod()["securityContext"];
    assert_eq!((&pod["runAsNonRoot"], &pod["seccompProfile"]["type"]), (&json!(true), &json!("RuntimeDefault")));
    assert_eq!((&pod["runAsUser"], &pod["runAsGroup"]), (&pod["fsGroup"], &pod["fsGroup"]), "{weir}");
    let resources = &objects.container()["resources"];
    for resource in ["cpu", "memory"] {
        assert!(resources["limits"][resource].is_string() && resources["requests"][resource].is_string(), "{weir}");
    }
}

/// Name to number of a list of ports.
fn ports(list: &Value, number: &str) -> BTreeMap<String, u16> {
    let ports = items(list).iter();
    ports.map(|port| (port["name"].as_str().unwrap().to_owned(), as_port(&port[number]))).collect()
}

fn as_port(value: &Value) -> u16 {
    u16::try_from(value.as_u64().unwrap()).unwrap()
}

/// The rule of a NetworkPolicy that names this port, and the last port of its range.
fn rule_for(rules: &Value, port: u16) -> (&Value, u16) {
    let names = |rule: &&Value| items(&rule["ports"]).iter().any(|named| named["port"] == port);
    let rule = items(rules).iter().find(names).unwrap_or_else(|| panic!("no rule for port {port}"));
    let named = items(&rule["ports"]).iter().find(|named| named["port"] == port).unwrap();
    (rule, named.get("endPort").map_or(port, as_port))
}

/// `512Mi`, `20Gi` in bytes.
fn quantity(value: &Value) -> u64 {
    let text = value.as_str().unwrap();
    let at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let shift = match &text[at..] {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        other => panic!("quantity in {other}"),
    };
    text[..at].parse::<u64>().unwrap() << shift
}

/// Whether labels are among those of an object.
fn selects(labels: &Value, object: &Value) -> bool {
    labels.as_object().unwrap().iter().all(|(key, value)| object["metadata"]["labels"][key] == *value)
}
