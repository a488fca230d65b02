//! The test ground: real parts of the outside world, started for one test and gone after it.
//!
//! | type | what it is |
//! |---|---|
//! | [`Kafka`] | one Apache Kafka broker in a temporary folder, and what it stored on disk |
//! | [`Console`] | Kafka's own console producer and consumer, as somebody at a terminal would run them |
//! | [`Network`] | three network namespaces in which clients reach weir and nothing else |
//! | [`WeirProcess`] | the built `weir` binary as its own process: start, stop, kill, restart |
//! | [`Authority`] | a certificate authority, and what it issues |
//! | [`OidcServer`] | a certified OpenID Connect server whose keys rotate when told |
//! | [`TokenIssuer`] | an identity provider: keys, a key set, tokens good and hostile |
//! | [`WorkDir`], [`WeirYaml`] | a folder with a `weir.yaml`, policies and key files |
//! | [`PortBlock`] | free consecutive ports that no other test, in this process or another, is given |
//!
//! Nothing here skips: a part that cannot be had is an [`Error`] that says what is missing and how to get it.
//! Every process started here dies with its owner, also when the test process itself is killed.
//!
//! ```no_run
//! use weir_testkit::{Kafka, KafkaOptions};
//!
//! let kafka = Kafka::start(KafkaOptions::default())?;
//! kafka.create_topic("orders", 3)?;
//! println!("{}", kafka.bootstrap());
//! # Ok::<(), weir_testkit::Error>(())
//! ```

mod certificates;
mod child;
mod error;
mod kafka;
mod netns;
mod oidc;
mod ports;
mod process;
mod tokens;
mod workdir;

pub use certificates::{Authority, Certificate};
pub use child::{Finished, Guarded};
pub use error::Error;
pub use kafka::console::{ClientProperties, Console, RunningTool};
pub use kafka::jars;
pub use kafka::wire;
pub use kafka::{Kafka, KafkaOptions};
pub use netns::{Namespace, Network};
pub use oidc::{OidcOptions, OidcRequests, OidcServer, python_env};
pub use ports::PortBlock;
pub use process::{Ready, Usage, WeirOptions, WeirProcess, settle_log};
pub use tokens::{KeyKind, PublicKeyAs, TokenBuilder, TokenIssuer};
pub use workdir::{Listener, WeirYaml, WorkDir};
