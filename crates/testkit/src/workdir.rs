use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::Error;

/// A temporary folder with the files of one weir: `weir.yaml`, `policies/`, keys, tokens, `data/`.
#[derive(Debug)]
pub struct WorkDir {
    dir: TempDir,
}

impl WorkDir {
    /// Makes an empty one.
    ///
    /// # Errors
    /// When the temporary folder cannot be written.
    pub fn new() -> Result<Self, Error> {
        let made = tempfile::Builder::new().prefix("weir-work-").tempdir();
        made.map(|dir| Self { dir }).map_err(Error::io("make a temporary folder"))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file, with the folders above it, readable by the owner alone; returns its absolute path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, Error> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.dir.path().join(name);
        let parent = path.parent().unwrap_or(self.dir.path());
        let written = fs::create_dir_all(parent)
            .and_then(|()| fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path))
            .and_then(|mut file| file.write_all(content.as_ref()));
        written.map_err(Error::io(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// Reads a file as text.
    ///
    /// # Errors
    /// When it cannot be read or is not UTF-8.
    pub fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.dir.path().join(name);
        fs::read_to_string(&path).map_err(Error::io(format!("read {}", path.display())))
    }
}

/// Builds a `weir.yaml` and the files it names.
///
/// ```no_run
/// # use weir_testkit::{Listener, PortBlock, WeirYaml, WorkDir};
/// let (dir, ports) = (WorkDir::new()?, PortBlock::reserve()?);
/// let config = WeirYaml::new("127.0.0.1:9092")
///     .node_ids("1")
///     .listener(Listener::anonymous("try", &ports.address(0), &["checkout"]))
///     .policy("pii", "version: 1\naccess: []\n")
///     .key("links-2026", &[7; 32])
///     .metrics(&ports.address(15))
///     .write(&dir)?;
/// # Ok::<(), weir_testkit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct WeirYaml {
    upstream: Vec<String>,
    listeners: Vec<String>,
    issuers: Vec<String>,
    policies: Vec<(String, String)>,
    keys: Vec<(String, [u8; 32])>,
    sections: Vec<(String, Vec<String>)>,
    files: Vec<(String, String)>,
}

/// One entry of `listeners`.
#[derive(Debug, Clone)]
pub struct Listener {
    yaml: String,
}

impl Listener {
    /// Lets everybody in as `anonymous`, in the given groups. Off loopback also call [`Listener::insecure`].
    #[must_use]
    pub fn anonymous(name: &str, bind: &str, groups: &[&str]) -> Self {
        Self::new(name, bind, &format!("{{ anonymous: {{ groups: {} }} }}", list(groups)))
    }

    /// Asks for SASL/OAUTHBEARER. Off loopback also call [`Listener::insecure`] or [`Listener::line`] with `tls`.
    #[must_use]
    pub fn oauthbearer(name: &str, bind: &str) -> Self {
        Self::new(name, bind, "[oauthbearer]")
    }

    /// Says `insecure: true`: no TLS and not on loopback.
    #[must_use]
    pub fn insecure(self) -> Self {
        self.line("insecure: true")
    }

    /// What clients are told, when that is not `bind`.
    #[must_use]
    pub fn advertise(self, address: &str) -> Self {
        self.line(&format!("advertise: {}", quote(address)))
    }

    /// Adds a line as it is, such as `tls: { cert: tls.crt, key: tls.key }`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.yaml.push_str("    ");
        self.yaml.push_str(line);
        self.yaml.push('\n');
        self
    }

    fn new(name: &str, bind: &str, auth: &str) -> Self {
        Self { yaml: format!("  - name: {name}\n    bind: {}\n    auth: {auth}\n", quote(bind)) }
    }
}

impl WeirYaml {
    /// A configuration with this upstream and `data_dir: data`, and nothing else yet.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        Self {
            upstream: vec![format!("bootstrap: {}", list(&[bootstrap]))],
            listeners: Vec::new(),
            issuers: Vec::new(),
            policies: Vec::new(),
            keys: Vec::new(),
            sections: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Sets `upstream.node_ids` to one item, such as `1` or `0-9`.
    #[must_use]
    pub fn node_ids(mut self, ids: &str) -> Self {
        self.upstream.push(format!("node_ids: {}", list(&[ids])));
        self
    }

    /// Adds a line to `upstream` as it is.
    #[must_use]
    pub fn upstream(mut self, line: &str) -> Self {
        self.upstream.push(line.to_owned());
        self
    }

    /// Adds a listener.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener.yaml);
        self
    }

    /// Adds a token issuer whose keys are the given JWKS document, written to a file beside the configuration.
    #[must_use]
    pub fn issuer(mut self, issuer: &str, audience: &str, jwks: &str, algorithms: &[&str]) -> Self {
        let file = format!("jwks-{}.json", self.issuers.len());
        self.issuers.push(format!(
            "    - issuer: {}\n      audience: {}\n      jwks: {{ file: {file} }}\n      algorithms: {}\n",
            quote(issuer),
            list(&[audience]),
            list(algorithms)
        ));
        self.files.push((file, jwks.to_owned()));
        self
    }

    /// Adds a token issuer whose keys are where `jwks` says: `discover`, `{ url: … }`; with the default algorithms.
    #[must_use]
    pub fn issuer_at(mut self, issuer: &str, audience: &str, jwks: &str) -> Self {
        let (issuer, audience) = (quote(issuer), list(&[audience]));
        self.issuers.push(format!("    - issuer: {issuer}\n      audience: {audience}\n      jwks: {jwks}\n"));
        self
    }

    /// Adds `policies/NAME.yaml`.
    #[must_use]
    pub fn policy(mut self, name: &str, yaml: &str) -> Self {
        self.policies.push((format!("policies/{name}.yaml"), yaml.to_owned()));
        self
    }

    /// Adds a key for `hash` transforms, written to a file of its own.
    #[must_use]
    pub fn key(mut self, id: &str, secret: &[u8; 32]) -> Self {
        self.keys.push((id.to_owned(), *secret));
        self
    }

    /// Serves `/metrics`, `/livez` and `/readyz` there.
    #[must_use]
    pub fn metrics(self, address: &str) -> Self {
        self.section("admin", &format!("metrics: {}", quote(address)))
    }

    /// Adds a line to a top-level section: `section("audit", "durability: async")`, `section("limits", "fetch_bytes_max: 1MiB")`.
    #[must_use]
    pub fn section(mut self, name: &str, line: &str) -> Self {
        match self.sections.iter_mut().find(|(known, _)| known == name) {
            Some((_, lines)) => lines.push(line.to_owned()),
            None => self.sections.push((name.to_owned(), vec![line.to_owned()])),
        }
        self
    }

    /// The text of `weir.yaml`.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut yaml = String::from("version: 1\ndata_dir: data\n");
        section(&mut yaml, "upstream", &self.upstream);
        yaml.push_str("listeners:\n");
        yaml.extend(self.listeners.iter().map(String::as_str));
        if !self.issuers.is_empty() {
            let identity = self.sections.iter().find(|(name, _)| name == "identity");
            section(&mut yaml, "identity", identity.map_or(&[], |(_, lines)| lines.as_slice()));
            yaml.push_str("  issuers:\n");
            yaml.extend(self.issuers.iter().map(String::as_str));
        }
        yaml.push_str("policies: [\"policies/*.yaml\"]\n");
        if !self.keys.is_empty() {
            yaml.push_str("keys:\n");
            yaml.extend(self.keys.iter().map(|(id, _)| format!("  - {{ id: {id}, use: hash, file: keys/{id} }}\n")));
        }
        for (name, lines) in &self.sections {
            if name != "identity" || self.issuers.is_empty() {
                section(&mut yaml, name, lines);
            }
        }
        yaml
    }

    /// Writes `weir.yaml` and the files it names; returns the path of `weir.yaml`. May be called again to change them.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, dir: &WorkDir) -> Result<PathBuf, Error> {
        for (name, content) in self.policies.iter().chain(&self.files) {
            dir.write(name, content)?;
        }
        for (id, secret) in &self.keys {
            dir.write(&format!("keys/{id}"), STANDARD.encode(secret))?;
        }
        dir.write("weir.yaml", self.to_yaml())
    }
}

fn section(yaml: &mut String, name: &str, lines: &[String]) {
    yaml.push_str(name);
    yaml.push_str(":\n");
    for line in lines {
        yaml.push_str("  ");
        yaml.push_str(line);
        yaml.push('\n');
    }
}

fn list(items: &[&str]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| quote(item)).collect();
    format!("[{}]", quoted.join(", "))
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::{Listener, WeirYaml, WorkDir};

    #[test]
    fn writes_a_configuration_with_its_files() {
        let dir = WorkDir::new().unwrap();
        let config = WeirYaml::new("127.0.0.1:1")
            .node_ids("1")
            .listener(Listener::oauthbearer("apps", "127.0.0.1:2").advertise("localhost:2"))
            .listener(Listener::anonymous("try", "127.0.0.1:9", &["a", "b"]))
            .issuer("https://issuer.test", "kafka", "{\"keys\":[]}", &["RS256"])
            .policy("pii", "version: 1\n")
            .key("k1", &[0; 32])
            .section("identity", "clock_skew: 1s")
            .section("audit", "durability: async")
            .metrics("127.0.0.1:3")
            .write(&dir)
            .unwrap();
        let expected = r#"version: 1
data_dir: data
upstream:
  bootstrap: ["127.0.0.1:1"]
  node_ids: ["1"]
listeners:
  - name: apps
    bind: "127.0.0.1:2"
    auth: [oauthbearer]
    advertise: "localhost:2"
  - name: try
    bind: "127.0.0.1:9"
    auth: { anonymous: { groups: ["a", "b"] } }
identity:
  clock_skew: 1s
  issuers:
    - issuer: "https://issuer.test"
      audience: ["kafka"]
      jwks: { file: jwks-0.json }
      algorithms: ["RS256"]
policies: ["policies/*.yaml"]
keys:
  - { id: k1, use: hash, file: keys/k1 }
audit:
  durability: async
admin:
  metrics: "127.0.0.1:3"
"#;
        assert_eq!(std::fs::read_to_string(config).unwrap(), expected);
        assert_eq!(dir.read("policies/pii.yaml").unwrap(), "version: 1\n");
        assert_eq!(dir.read("keys/k1").unwrap().len(), 44);
        assert_eq!(dir.read("jwks-0.json").unwrap(), "{\"keys\":[]}");
    }
}
