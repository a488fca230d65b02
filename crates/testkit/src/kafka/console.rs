//! Kafka's console producer and consumer.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::{jars, write_lines};
use crate::child::{self, Finished};
use crate::netns::Namespace;
use crate::{Error, Guarded};

/// Kafka's console clients ([`jars::TOOLS_VERSION`]) against one bootstrap address.
///
/// Each run is a JVM: about 2 s, more on a busy machine.
///
/// ```no_run
/// # use weir_testkit::{ClientProperties, Console};
/// # use std::path::Path;
/// let login = ClientProperties::oauthbearer(Path::new("/tmp/checkout.jwt"));
/// let console = Console::new("127.0.0.1:9192").with(login);
/// console.produce("orders", &[r#"{"card":"4111111111111111"}"#])?.success("produce")?;
/// println!("{}", console.consume("orders", 1)?.success("consume")?.stdout);
/// # Ok::<(), weir_testkit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Console {
    bootstrap: String,
    properties: ClientProperties,
    namespace: Option<Namespace>,
    arguments: Vec<String>,
    within: Duration,
}

/// Lines of a client's properties file, and what its JVM needs with them.
#[derive(Clone, Default)]
pub struct ClientProperties {
    lines: Vec<String>,
    jvm: Vec<String>,
}

impl ClientProperties {
    /// Nothing set: a PLAINTEXT client.
    #[must_use]
    pub fn plaintext() -> Self {
        Self::default()
    }

    /// SASL/OAUTHBEARER over an unencrypted connection, with the token that the file holds.
    ///
    /// The path must be absolute.
    #[must_use]
    pub fn oauthbearer(token_file: &Path) -> Self {
        Self::oauthbearer_from(&format!("file://{}", token_file.display()))
    }

    /// SASL/OAUTHBEARER over an unencrypted connection, with tokens that the client gets by itself at that address (client
    /// credentials).
    #[must_use]
    pub fn oidc(token_url: &str, client: &str, secret: &str, scope: &str) -> Self {
        Self::oauthbearer_from(token_url)
            .property("sasl.oauthbearer.client.credentials.client.id", client)
            .property("sasl.oauthbearer.client.credentials.client.secret", secret)
            .property("sasl.oauthbearer.scope", scope)
    }

    fn oauthbearer_from(url: &str) -> Self {
        let properties = Self::default()
            .property("security.protocol", "SASL_PLAINTEXT")
            .property("sasl.mechanism", "OAUTHBEARER")
            .property(
                "sasl.jaas.config",
                "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
            )
            .property(
                "sasl.login.callback.handler.class",
                "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
            )
            .property("sasl.oauthbearer.token.endpoint.url", url);
        properties.allow_url(url)
    }

    /// Lets the client get tokens at that address. Without it the client refuses: "The URL cannot be accessed due to restrictions".
    #[must_use]
    pub fn allow_url(mut self, url: &str) -> Self {
        self.jvm.push(format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={url}"));
        self
    }

    /// Puts TLS under it, trusting the PEM certificates in `ca_file`.
    #[must_use]
    pub fn over_tls(self, ca_file: &Path) -> Self {
        let sasl = self.lines.iter().any(|line| line.starts_with("sasl.mechanism="));
        self.property("security.protocol", if sasl { "SASL_SSL" } else { "SSL" })
            .property("ssl.truststore.type", "PEM")
            .property("ssl.truststore.location", &ca_file.display().to_string())
    }

    /// Adds a line; a later one wins.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name}={value}"));
        self
    }
}

impl fmt::Debug for ClientProperties {
    /// Prints a count: the lines may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientProperties({} lines)", self.lines.len())
    }
}

impl Console {
    /// For clients of `bootstrap`, PLAINTEXT unless [`Console::with`] says otherwise.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            properties: ClientProperties::plaintext(),
            namespace: None,
            arguments: Vec::new(),
            within: Duration::from_secs(60),
        }
    }

    /// Sets the client properties.
    #[must_use]
    pub fn with(mut self, properties: ClientProperties) -> Self {
        self.properties = properties;
        self
    }

    /// Runs the clients inside a network namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// Adds a command line argument to each run, such as `--compression-codec`, `zstd`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Sets how long a run may take; it is killed then.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Produces each line as one record's value. Ends with success also when a record was refused: the producer reports
    /// that on [`Finished::stderr`].
    ///
    /// With the arguments `--reader-property parse.key=true` a line is key, tab, value; with `parse.headers=true` it starts
    /// with `name:value,…` and a tab.
    ///
    /// # Errors
    /// When the tool cannot be started or does not end in time.
    pub fn produce(&self, topic: &str, lines: &[&str]) -> Result<Finished, Error> {
        let mut input = lines.join("\n").into_bytes();
        input.push(b'\n');
        let arguments = ["--topic", topic, "--sync"];
        self.run("org.apache.kafka.tools.ConsoleProducer", &arguments, &input)
    }

    /// Reads from the beginning until `messages` records came or 15 s passed without one; a line per record.
    ///
    /// # Errors
    /// When the tool cannot be started or does not end in time.
    pub fn consume(&self, topic: &str, messages: usize) -> Result<Finished, Error> {
        let messages = messages.to_string();
        let arguments = ["--topic", topic, "--from-beginning", "--max-messages", &messages, "--timeout-ms", CONSUME_MS];
        self.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &arguments, &[])
    }

    /// Runs any tool class of Kafka's with `--bootstrap-server` and the client properties.
    ///
    /// # Errors
    /// When the tool cannot be started or does not end in time.
    pub fn run(&self, class: &str, arguments: &[&str], input: &[u8]) -> Result<Finished, Error> {
        let (mut command, _properties) = self.command(class)?;
        command.args(arguments).args(&self.arguments);
        child::run(&mut command, class, input, self.within)
    }

    /// Starts a tool that stays, its output going to `output`; [`Guarded`] ends it.
    ///
    /// # Errors
    /// When the tool cannot be started.
    pub fn spawn(&self, class: &str, arguments: &[&str], output: std::fs::File) -> Result<RunningTool, Error> {
        let (mut command, properties) = self.command(class)?;
        let errors = output.try_clone().map_err(Error::io("duplicate a file handle"))?;
        command.args(arguments).args(&self.arguments).stdout(output).stderr(errors);
        Ok(RunningTool { process: Guarded::spawn(&mut command, class)?, _properties: properties })
    }

    fn command(&self, class: &str) -> Result<(Command, NamedTempFile), Error> {
        let file = NamedTempFile::new().map_err(Error::io("make a temporary file"))?;
        write_lines(file.path(), &self.properties.lines)?;
        let java = match &self.namespace {
            Some(namespace) => namespace.command("java"),
            None => Command::new("java"),
        };
        let mut jvm = vec!["-Xmx256m".to_owned()];
        jvm.extend(self.properties.jvm.iter().cloned());
        let mut command = jars::java(&jars::tools()?, &jvm, class, java);
        command.args(["--bootstrap-server", &self.bootstrap, "--command-config"]).arg(file.path());
        Ok((command, file))
    }
}

/// A tool started by [`Console::spawn`], with the properties file that it reads.
#[derive(Debug)]
pub struct RunningTool {
    /// Its process.
    pub process: Guarded,
    _properties: NamedTempFile,
}

const CONSUME_MS: &str = "15000";
