//! Renders with kustomize, validates with the schemas of Kubernetes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;
use weir_testkit::WorkDir;

/// The folders of `k8s/` that are applied, with the namespace of weir in each deployment.
pub(crate) const BASE: &str = "base";
pub(crate) const EXAMPLE: &str = "overlays/example";
/// The brokers' side of the two above.
pub(crate) const BROKERS: [(&str, &str); 2] = [(BASE, "brokers"), (EXAMPLE, "overlays/example/brokers")];

/// The oldest and the newest Kubernetes that the manifests are written for.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The Python environment of `tools/requirements.txt`, which also holds kubectl.
pub(crate) fn environment() -> &'static Path {
    static ENVIRONMENT: LazyLock<PathBuf> = LazyLock::new(|| {
        let output = Command::new(root().join("tools/python-env")).output().unwrap();
        assert!(output.status.success(), "tools/python-env: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().into()
    });
    &ENVIRONMENT
}

/// What `kubectl apply -k` would send, as YAML.
pub(crate) fn render(folder: &Path) -> String {
    let output = Command::new(environment().join("bin/kubectl")).arg("kustomize").arg(folder).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "kubectl kustomize {}: {told}", folder.display());
    String::from_utf8(output.stdout).unwrap()
}

/// The objects of a manifest, or what the schemas say against it.
pub(crate) fn validate(manifest: &str) -> Result<Vec<Value>, String> {
    let folder = WorkDir::new().unwrap();
    validate_files(&[folder.write("manifest.yaml", manifest).unwrap()])
}

fn validate_files(files: &[PathBuf]) -> Result<Vec<Value>, String> {
    let mut command = Command::new(environment().join("bin/python"));
    command.arg(root().join("tools/k8s-validate.py"));
    command.arg("--crd").arg(root().join("k8s/tests/servicemonitor-crd.yaml"));
    for version in VERSIONS {
        command.args(["--kubernetes", version]);
    }
    let output = command.args(files).output().unwrap();
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The objects of a folder of `k8s/`, valid; each is rendered once.
pub(crate) fn objects(folder: &str) -> Objects {
    static RENDERED: LazyLock<Mutex<HashMap<String, Objects>>> = LazyLock::new(Mutex::default);
    let mut rendered = RENDERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(objects) = rendered.get(folder) {
        return objects.clone();
    }
    let manifest = render(&root().join("k8s").join(folder));
    let objects = Objects(validate(&manifest).unwrap_or_else(|problems| panic!("k8s/{folder}:\n{problems}")));
    rendered.insert(folder.to_owned(), objects.clone());
    objects
}

#[derive(Clone)]
pub(crate) struct Objects(pub(crate) Vec<Value>);

impl Objects {
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).collect()
    }

    pub(crate) fn named(&self, kind: &str, name: &str) -> &Value {
        let found = self.of_kind(kind).into_iter().find(|object| object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} `{name}`"))
    }

    /// The one object of a kind.
    pub(crate) fn only(&self, kind: &str) -> &Value {
        let found = self.of_kind(kind);
        assert_eq!(found.len(), 1, "{kind}");
        found[0]
    }

    pub(crate) fn pod(&self) -> &Value {
        &self.only("StatefulSet")["spec"]["template"]["spec"]
    }

    pub(crate) fn container(&self) -> &Value {
        let containers = self.pod()["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1);
        &containers[0]
    }
}

/// The items of a list, or none where there is no list.
pub(crate) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn what_is_applied_fits_the_schemas_of_kubernetes() {
    for (weir, brokers) in BROKERS {
        let kinds = |folder| {
            let mut kinds: Vec<String> =
                objects(folder).0.iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect();
            kinds.sort_unstable();
            kinds
        };
        let expected = [
            "ConfigMap",
            "ConfigMap",
            "Namespace",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "Service",
            "Service",
            "ServiceAccount",
            "ServiceMonitor",
            "StatefulSet",
        ];
        // No Secret: their values are nowhere in this repository.
        assert_eq!(kinds(weir), expected, "{weir}");
        assert_eq!(kinds(brokers), ["NetworkPolicy"], "{brokers}");
    }
}

#[test]
fn a_manifest_with_a_mistake_is_refused() {
    let good = render(&root().join("k8s").join(BASE));
    let mistakes = [
        ("        image: weir", "        imagee: weir", "('imagee' was unexpected)"),
        ("replicas: 2", "replicas: \"2\"", ".spec.replicas: '2' is not of type"),
        ("  serviceName: weir-replicas\n", "  serviceName: [weir-replicas]\n", ".spec.serviceName"),
        ("interval: 15s", "every: 15s", "('every' was unexpected)"),
        ("interval: 15s", "interval: soon", "'soon' does not match"),
        ("kind: PodDisruptionBudget", "kind: PodDisruptionBudge", "schema for kind PodDisruptionBudge"),
        ("      protocol: TCP", "      protocoll: TCP", "('protocoll' was unexpected)"),
    ];
    let folder = WorkDir::new().unwrap();
    let write = |name: &str, text: &str| folder.write(name, text).unwrap();
    let mut files = vec![write("good.yaml", &good)];
    for (index, (from, to, _)) in mistakes.iter().enumerate() {
        assert!(good.contains(from), "{from}");
        files.push(write(&format!("mistake-{index}.yaml"), &good.replacen(from, to, 1)));
    }
    let problems = validate_files(&files).map(|_| ()).unwrap_err();
    assert!(!problems.contains("good.yaml"), "{problems}");
    for (index, (_, to, expected)) in mistakes.iter().enumerate() {
        for version in VERSIONS {
            let names = |line: &&str| line.contains(&format!("mistake-{index}.yaml")) && line.contains(version);
            let line = problems.lines().find(names).unwrap_or_else(|| panic!("{to} passes Kubernetes {version}"));
            assert!(line.contains(expected), "{to}: {line}");
        }
    }
}
