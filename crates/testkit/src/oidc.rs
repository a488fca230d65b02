//! An OIDC server, and the Python environment that it and other clients run in.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::{self, Guarded, POLL};
use crate::{Error, PortBlock};

/// The folder of the Python environment that tests share: `bin/python` with `confluent-kafka`, `bin/node`, and what else
/// `tools/requirements.txt` names. Made at the first call on a machine.
///
/// # Errors
/// When Python is missing, or a package cannot be had.
pub fn python_env() -> Result<PathBuf, Error> {
    tool("python-env")
}

/// A running OIDC server: the certified `oidc-provider` of npm with discovery, key set and client credentials. Its keys outlive a stop.
///
/// ```no_run
/// use weir_testkit::{OidcOptions, OidcServer};
///
/// let mut server = OidcServer::start(OidcOptions::default())?;
/// let old = server.token()?;
/// server.rotate()?; // another key signs from now on, both are published
/// server.drop_old()?; // the first is published no more
/// assert_ne!(old, server.token()?);
/// assert_eq!(server.requests()?.keys, 0);
/// # Ok::<(), weir_testkit::Error>(())
/// ```
#[derive(Debug)]
pub struct OidcServer {
    options: OidcOptions,
    folder: PathBuf,
    issuer: String,
    ports: PortBlock,
    process: Option<Guarded>,
    dir: TempDir,
}

/// How an [`OidcServer`] is started.
#[derive(Debug, Clone)]
pub struct OidcOptions {
    /// How long its tokens live; whole seconds.
    pub lifetime: Duration,
    /// Files with a certificate for `localhost` and its key, in PEM: it then serves over TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Default for OidcOptions {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(300), tls: None }
    }
}

/// How often a server was asked for what, other than by the test itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OidcRequests {
    /// For the discovery document.
    pub discovery: u64,
    /// For the key set.
    pub keys: u64,
    /// For tokens.
    pub tokens: u64,
}

impl OidcServer {
    /// The client that it knows; its tokens say that it is in group `apps`.
    pub const CLIENT: &str = "orders-app";
    /// That client's secret.
    pub const SECRET: &str = "s3cret";
    /// The scope to ask for; tokens are for the audience `kafka`.
    pub const SCOPE: &str = "kafka";

    /// Starts one on a free port. The first call on a machine downloads Node and the server.
    ///
    /// # Errors
    /// When a part cannot be had, or the server does not get ready.
    pub fn start(options: OidcOptions) -> Result<Self, Error> {
        let folder = tool("oidc-server")?;
        let ports = PortBlock::reserve()?;
        let dir =
            tempfile::Builder::new().prefix("weir-oidc-").tempdir().map_err(Error::io("make a temporary folder"))?;
        let issuer = match &options.tls {
            Some(_) => format!("https://localhost:{}", ports.port(0)),
            None => format!("http://{}", ports.address(0)),
        };
        let mut server = Self { options, folder, issuer, ports, process: None, dir };
        server.start_again()?;
        Ok(server)
    }

    /// Starts it again after [`OidcServer::stop`], on the same port and with the same keys.
    ///
    /// # Errors
    /// As [`OidcServer::start`].
    pub fn start_again(&mut self) -> Result<(), Error> {
        let log = self.dir.path().join("server.log");
        let file = File::options().create(true).append(true).open(&log);
        let file = file.map_err(Error::io(format!("open {}", log.display())))?;
        let errors = file.try_clone().map_err(Error::io("duplicate a file handle"))?;
        let mut arguments = json!({
            "port": self.ports.port(0),
            "control": self.ports.port(1),
            "ttl": self.options.lifetime.as_secs(),
            "keys": self.dir.path().join("keys.json"),
            "issuer": self.issuer,
        });
        if let (Some((cert, key)), Some(map)) = (&self.options.tls, arguments.as_object_mut()) {
            map.insert("cert".to_owned(), json!(cert));
            map.insert("key".to_owned(), json!(key));
        }
        let mut command = Command::new(python_env()?.join("bin/node"));
        command.arg(self.folder.join("server.mjs")).arg(arguments.to_string());
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let mut process = Guarded::spawn(&mut command, "the OIDC server")?;
        let started = Instant::now();
        while self.requests().is_err() {
            if let Some(status) = process.ended()? {
                let (what, output) = ("the OIDC server".to_owned(), child::tail_of(&log));
                return Err(Error::Command { what, status, output });
            }
            if started.elapsed() >= READY_WITHIN {
                let (what, log) = ("the OIDC server did not get ready".to_owned(), child::tail_of(&log));
                return Err(Error::TimedOut { what, within: READY_WITHIN, log });
            }
            thread::sleep(POLL);
        }
        self.process = Some(process);
        Ok(())
    }

    /// Ends it: nobody answers at its address.
    ///
    /// # Errors
    /// When the operating system does not say how it ended.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.process.take().map_or(Ok(()), |mut process| process.kill().map(drop))
    }

    /// Its name, and the address below which everything is.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where its key set is.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.issuer)
    }

    /// Where clients get tokens.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}/token", self.issuer)
    }

    /// A fresh token of [`OidcServer::CLIENT`], signed with the newest key.
    ///
    /// # Errors
    /// When the server does not give one.
    pub fn token(&self) -> Result<String, Error> {
        let form = format!("grant_type=client_credentials&scope={}", Self::SCOPE);
        let answer = self.control("POST", "/token", &form)?;
        let token = answer.get("access_token").and_then(Value::as_str).map(str::to_owned);
        token.ok_or_else(|| unexpected("a token"))
    }

    /// The key set as it is published now.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn jwks(&self) -> Result<String, Error> {
        self.control("GET", "/jwks", "").map(|jwks| jwks.to_string())
    }

    /// Lets a new key sign from now on; the others stay published.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn rotate(&self) -> Result<(), Error> {
        self.control("POST", "/test/rotate", "").map(drop)
    }

    /// Publishes the newest key alone.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn drop_old(&self) -> Result<(), Error> {
        self.control("POST", "/test/drop-old", "").map(drop)
    }

    /// What it was asked for since it was started; the test's own questions are not counted.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn requests(&self) -> Result<OidcRequests, Error> {
        let answer = self.control("GET", "/test/requests", "")?;
        let count = |name: &str| answer.get(name).and_then(Value::as_u64).ok_or_else(|| unexpected("counts"));
        Ok(OidcRequests { discovery: count("discovery")?, keys: count("keys")?, tokens: count("tokens")? })
    }

    fn control(&self, method: &str, path: &str, form: &str) -> Result<Value, Error> {
        let ask = || {
            let mut stream = TcpStream::connect(self.ports.address(1))?;
            stream.set_read_timeout(Some(READY_WITHIN))?;
            let basic = STANDARD.encode(format!("{}:{}", Self::CLIENT, Self::SECRET));
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Basic {basic}\r\n\
                 content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
                form.len()
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        };
        let answer = ask().map_err(Error::io(format!("ask the OIDC server for {path}")))?;
        let body = answer.split_once("\r\n\r\n").filter(|(head, _)| head.starts_with("HTTP/1.1 200"));
        body.and_then(|(_, body)| serde_json::from_str(body).ok()).ok_or_else(|| unexpected(path))
    }
}

fn unexpected(what: &str) -> Error {
    Error::Missing { what: format!("{what} in an answer of the OIDC server"), cure: "look at its log".to_owned() }
}

/// Runs a script of `tools` that prints a folder.
fn tool(name: &str) -> Result<PathBuf, Error> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools");
    let tools = fs::canonicalize(&tools).map_err(Error::io(format!("find {}", tools.display())))?;
    let printed = child::run(&mut Command::new(tools.join(name)), name, &[], DOWNLOAD_WITHIN)?.success(name)?.stdout;
    Ok(PathBuf::from(printed.trim_end()))
}

const READY_WITHIN: Duration = Duration::from_secs(60);
/// 100 MB over a slow line.
const DOWNLOAD_WITHIN: Duration = Duration::from_secs(900);
