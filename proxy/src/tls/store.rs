//! The TLS settings of the running process, each swapped whole when its files change.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

use super::{Connector, Identity, MaterialError, Swap, date, load_authorities, load_identity, provider};
use crate::config::{Config, Files, Listener, Seen, ServerTls, TlsVersion, Upstream, UpstreamTls};
use crate::gateway::Metrics;

/// How often the files are looked at. A new certificate serves two seconds after it is in place, at the latest; files that are
/// wrong are looked at twice before they are complained about.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The TLS settings of all listeners that have TLS, and of the way to the brokers.
#[derive(Debug)]
pub(crate) struct TlsStore {
    listeners: Vec<(String, Arc<Swap<ServerConfig>>)>,
    upstream: Option<Arc<Swap<Connector>>>,
    slots: Mutex<Vec<Slot>>,
    metrics: Arc<Metrics>,
}

/// One setting, and the files that it came from.
#[derive(Debug)]
struct Slot {
    kind: Kind,
    /// The files as they were when they were judged last.
    seen: Seen,
    /// Files that were wrong a moment ago: perhaps only one of two was in place yet.
    suspect: Option<Seen>,
}

#[derive(Debug)]
enum Kind {
    Listener { name: String, tls: ServerTls, current: Arc<Swap<ServerConfig>> },
    Upstream { tls: UpstreamTls, current: Arc<Swap<Connector>> },
}

/// Files that are good, and what puts them to use.
struct Renewal {
    ends: Ends,
    swap: Box<dyn FnOnce() + Send>,
}

/// What was read for the settings of a changed configuration; nothing of it serves yet.
pub(crate) struct Renewals(Vec<(usize, Slot, Renewal)>);

/// Whether a certificate that has expired is taken: at the start, where there is no other and the clients judge; not in place of one
/// that serves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expired {
    Take,
    Refuse,
}

/// When what a setting consists of ends: its label, and seconds since 1970.
type Ends = Vec<(String, i64)>;

impl TlsStore {
    /// Reads everything that the configuration names.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be used.
    pub(crate) fn load(config: &Config, metrics: Arc<Metrics>) -> Result<Self, MaterialError> {
        let mut store = Self { listeners: Vec::new(), upstream: None, slots: Mutex::default(), metrics };
        let mut slots = Vec::new();
        for (listener, tls) in config.listeners.iter().filter_map(|listener| Some((listener, listener.tls.as_ref()?))) {
            let files = Files::default();
            let (server, ends) = server(&files, &listener.name, tls, Expired::Take)?;
            store.show(&ends);
            let current = Arc::new(Swap::new(server));
            store.listeners.push((listener.name.clone(), Arc::clone(&current)));
            let kind = Kind::Listener { name: listener.name.clone(), tls: tls.clone(), current };
            slots.push(Slot { kind, seen: files.into_seen(), suspect: None });
        }
        if let Some(tls) = &config.upstream.tls {
            let files = Files::default();
            let (connector, ends) = connector(&files, tls, Expired::Take)?;
            store.show(&ends);
            let current = Arc::new(Swap::new(connector));
            store.upstream = Some(Arc::clone(&current));
            let kind = Kind::Upstream { tls: tls.clone(), current };
            slots.push(Slot { kind, seen: files.into_seen(), suspect: None });
        }
        store.slots = Mutex::new(slots);
        Ok(store)
    }

    /// The way to the brokers alone, for whoever only looks.
    ///
    /// # Errors
    ///
    /// What of its files cannot be used.
    pub(crate) fn connector(tls: &UpstreamTls) -> Result<Connector, MaterialError> {
        Ok(connector(&Files::default(), tls, Expired::Take)?.0)
    }

    /// What clients of a listener are shown; none when it has no TLS.
    pub(crate) fn listener(&self, name: &str) -> Option<Arc<Swap<ServerConfig>>> {
        self.listeners.iter().find(|(listener, _)| listener == name).map(|(_, current)| Arc::clone(current))
    }

    /// How brokers are reached; none is in plain text.
    pub(crate) fn upstream(&self) -> Option<Arc<Swap<Connector>>> {
        self.upstream.clone()
    }

    /// Reads settings that have changed, with the files that they name; [`TlsStore::take`] puts them to use. Who has TLS and who has none
    /// stays as it was. Files that changed under settings that did not are not this one's affair: they are looked at all the time.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be used.
    pub(crate) fn prepare(&self, listeners: &[Listener], upstream: &Upstream) -> Result<Renewals, MaterialError> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut renewed = Vec::new();
        for (at, slot) in slots.iter().enumerate() {
            let kind = match &slot.kind {
                Kind::Listener { name, tls, current } => {
                    let new = listeners.iter().find(|listener| listener.name == *name);
                    match new.and_then(|listener| listener.tls.as_ref()).filter(|new| *new != tls) {
                        Some(new) => {
                            Kind::Listener { name: name.clone(), tls: new.clone(), current: Arc::clone(current) }
                        }
                        None => continue,
                    }
                }
                Kind::Upstream { tls, current } => match upstream.tls.as_ref().filter(|new| *new != tls) {
                    Some(new) => Kind::Upstream { tls: new.clone(), current: Arc::clone(current) },
                    None => continue,
                },
            };
            let files = Files::default();
            let renewal = kind.load(&files)?;
            renewed.push((at, Slot { kind, seen: files.into_seen(), suspect: None }, renewal));
        }
        Ok(Renewals(renewed))
    }

    /// Puts to use what was read, all of it.
    pub(crate) fn take(&self, Renewals(renewed): Renewals) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, slot, renewal) in renewed {
            self.put_to_use(&slot.kind.label(), renewal);
            if let Some(old) = slots.get_mut(at) {
                *old = slot;
            }
        }
    }

    /// Looks at the files again and again, until the process ends.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let store = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || store.look()).await {
                tracing::error!(event = "certificate.unwatched", error = %error);
                return;
            }
        }
    }

    fn look(&self) {
        for slot in self.slots.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let now = slot.seen.again();
            if now == slot.seen {
                slot.suspect = None;
                continue;
            }
            let label = slot.kind.label();
            let files = Files::default();
            let loaded = slot.kind.load(&files);
            let seen = files.into_seen();
            match loaded {
                Ok(renewal) => {
                    (slot.seen, slot.suspect) = (seen, None);
                    self.put_to_use(&label, renewal);
                }
                Err(_) if slot.suspect.as_ref() != Some(&seen) => slot.suspect = Some(seen),
                Err(error) => {
                    (slot.seen, slot.suspect) = (seen, None);
                    self.count(&label, "kept");
                    tracing::warn!(event = "certificate.kept", "where" = label, reason = %error, hint = error.cure());
                }
            }
        }
    }

    fn put_to_use(&self, label: &str, renewal: Renewal) {
        self.show(&renewal.ends);
        (renewal.swap)();
        self.count(label, "loaded");
        let expires = renewal.ends.iter().map(|(_, at)| *at).min().map_or_else(|| "-".to_owned(), date);
        tracing::info!(event = "certificate.loaded", "where" = label, expires);
    }

    fn show(&self, ends: &Ends) {
        for (label, at) in ends {
            self.metrics.tls.expiry.with_label_values(&[label.as_str()]).set(*at);
        }
    }

    fn count(&self, label: &str, result: &str) {
        self.metrics.tls.reloads.with_label_values(&[label, result]).inc();
    }
}

impl Kind {
    fn label(&self) -> String {
        match self {
            Self::Listener { name, .. } => listener_label(name),
            Self::Upstream { .. } => UPSTREAM.to_owned(),
        }
    }

    /// Reads its files anew.
    fn load(&self, files: &Files) -> Result<Renewal, MaterialError> {
        match self {
            Self::Listener { name, tls, current } => {
                let ((new, ends), current) = (server(files, name, tls, Expired::Refuse)?, Arc::clone(current));
                Ok(Renewal { ends, swap: Box::new(move || current.set(new)) })
            }
            Self::Upstream { tls, current } => {
                let ((new, ends), current) = (connector(files, tls, Expired::Refuse)?, Arc::clone(current));
                Ok(Renewal { ends, swap: Box::new(move || current.set(new)) })
            }
        }
    }
}

/// What clients of a listener are shown.
fn server(files: &Files, name: &str, tls: &ServerTls, expired: Expired) -> Result<(ServerConfig, Ends), MaterialError> {
    let identity = identity(files, &tls.cert, &tls.key, expired)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(tls.min_version))
        .map_err(|_| MaterialError::KeyUnusable(tls.key.clone()))?;
    let resolver = Arc::new(SingleCertAndKey::from(identity.certified));
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok((config, vec![(listener_label(name), identity.validity.not_after)]))
}

/// How brokers are reached.
fn connector(files: &Files, tls: &UpstreamTls, expired: Expired) -> Result<(Connector, Ends), MaterialError> {
    let (roots, authorities_end) = load_authorities(files, tls.ca.as_deref())?;
    let mut ends: Ends = authorities_end.into_iter().map(|at| (UPSTREAM_CA.to_owned(), at)).collect();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(tls.min_version))
        .map_err(|_| MaterialError::NoSystemAuthorities)?
        .with_root_certificates(roots);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let identity = identity(files, cert, key, expired)?;
            ends.push((UPSTREAM_CERT.to_owned(), identity.validity.not_after));
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified)))
        }
    };
    config.resumption = Resumption::disabled();
    Ok((Connector { config: Arc::new(config), server_name: tls.server_name.clone() }, ends))
}

fn identity(files: &Files, cert: &Path, key: &Path, expired: Expired) -> Result<Identity, MaterialError> {
    let identity = load_identity(files, cert, key)?;
    if expired == Expired::Refuse && identity.validity.has_expired() {
        return Err(MaterialError::Expired { path: cert.to_owned(), not_after: identity.validity.not_after });
    }
    Ok(identity)
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static FROM_12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    static FROM_13: [&SupportedProtocolVersion; 1] = [&TLS13];
    match min {
        TlsVersion::Tls12 => &FROM_12,
        TlsVersion::Tls13 => &FROM_13,
    }
}

/// Of a listener, in labels and log lines.
fn listener_label(name: &str) -> String {
    format!("listener/{name}")
}

/// Of the way to the brokers, in labels and log lines.
const UPSTREAM: &str = "upstream";
/// Of the authorities among them.
const UPSTREAM_CA: &str = "upstream/ca";
/// Of weir's own certificate for brokers.
const UPSTREAM_CERT: &str = "upstream/cert";
