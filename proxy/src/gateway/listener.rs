//! Accepts clients: one socket per listener and broker port, and the limits on how many may be there.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_audit::ConnectionId;
use weir_session::{Door, DoorAuth, Peer, Start};

use super::connection::{self, Shared, Stopping};
use super::places::{Handshake, Handshakes, Places, Room};
use super::socket::{self, Socket};
use crate::config::{Limits, Listener, ListenerAuth, NodeIds};
use crate::tls::{self, HandshakeError, Swap, TlsStore};

/// Pause after a failed accept (no file descriptors left, most often): the loop must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A port that is bound, and the door behind it.
pub(crate) struct Port {
    socket: TcpListener,
    door: Arc<Door>,
    /// None in plain text.
    tls: Option<Arc<Swap<ServerConfig>>>,
}

/// What all ports share.
pub(crate) struct Gate {
    shared: Arc<Shared>,
    connections: Arc<Room>,
    handshakes: Handshakes,
    per_address: Arc<Places>,
    next_connection: AtomicU64,
    stopping: watch::Receiver<Stopping>,
}

/// A port that cannot be bound.
#[derive(Debug)]
pub(crate) struct Unbound {
    pub(crate) address: SocketAddr,
    /// What is to be there.
    pub(crate) what: String,
    pub(crate) source: std::io::Error,
}

/// Binds the bootstrap port of a listener and one port per node id.
pub(crate) async fn bind(listener: &Listener, node_ids: &NodeIds, tls: &TlsStore) -> Result<Vec<Port>, Unbound> {
    let tls = tls.listener(&listener.name);
    let name = &listener.name;
    let advertised = node_ids
        .iter()
        .enumerate()
        .map(|(index, id)| (id, (listener.advertise.host.clone(), broker_port(listener.advertise.port, index))))
        .collect::<HashMap<_, _>>();
    let door = |node| {
        Arc::new(Door {
            listener: listener.name.clone(),
            auth: match &listener.auth {
                ListenerAuth::Oauthbearer => DoorAuth::Oauthbearer,
                ListenerAuth::Anonymous { groups } => DoorAuth::Anonymous { groups: groups.clone() },
            },
            insecure: listener.insecure,
            node,
            advertised: advertised.clone(),
        })
    };
    let bootstrap = bind_one(listener.bind, || format!("the bootstrap of listener `{name}`"));
    let mut ports = vec![Port { socket: bootstrap.await?, door: door(None), tls: tls.clone() }];
    for (index, id) in node_ids.iter().enumerate() {
        let address = SocketAddr::new(listener.bind.ip(), broker_port(listener.bind.port(), index));
        let socket = bind_one(address, || format!("broker {id} of listener `{name}`"));
        ports.push(Port { socket: socket.await?, door: door(Some(id)), tls: tls.clone() });
    }
    Ok(ports)
}

/// Broker i of `node_ids` is at the port + 1 + its index (N2). Configuration refuses what does not fit.
fn broker_port(bootstrap: u16, index: usize) -> u16 {
    u16::try_from(index).ok().and_then(|index| bootstrap.checked_add(1)?.checked_add(index)).unwrap_or(u16::MAX)
}

async fn bind_one(address: SocketAddr, what: impl Fn() -> String) -> Result<TcpListener, Unbound> {
    TcpListener::bind(address).await.map_err(|source| Unbound { address, what: what(), source })
}

impl Gate {
    pub(crate) fn new(shared: Arc<Shared>, limits: &Limits, stopping: watch::Receiver<Stopping>) -> Self {
        Self {
            shared,
            connections: Room::new(limits.connections_max),
            handshakes: Handshakes::new(limits.handshakes_max),
            per_address: Places::new(limits.connections_per_address_max),
            next_connection: AtomicU64::new(1),
            stopping,
        }
    }

    /// Other limits from now on. Nobody who is in is put out.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        self.connections.set_max(limits.connections_max);
        self.shared.telemetry.metrics.clients.limited(limits);
        self.handshakes.set_max(limits.handshakes_max);
        self.per_address.set_max(limits.connections_per_address_max);
    }

    /// Accepts on one port until weir stops, then waits for its connections.
    pub(crate) async fn accept(self: Arc<Self>, port: Port) {
        let mut stopping = self.stopping.clone();
        let mut connections = JoinSet::new();
        while *stopping.borrow() == Stopping::No {
            tokio::select! {
                accepted = port.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer, &port, &mut connections).await,
                    Err(error) => {
                        self.shared.telemetry.accept_failed(&port.door.listener, &error);
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                _ = stopping.changed() => {}
            }
        }
        drop(port.socket);
        while connections.join_next().await.is_some() {}
    }

    async fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, port: &Port, into: &mut JoinSet<()>) {
        let (telemetry, door) = (&self.shared.telemetry, &port.door);
        let Some(seat) = self.connections.take() else {
            return telemetry.turned_away(&door.listener, peer, "connections_max");
        };
        let Some(place) = self.per_address.take(peer.ip()) else {
            return telemetry.turned_away(&door.listener, peer, "connections_per_address_max");
        };
        let handshake = match (&door.auth, &port.tls) {
            (DoorAuth::Anonymous { .. }, None) => None,
            (DoorAuth::Anonymous { .. }, Some(_)) | (DoorAuth::Oauthbearer, _) => {
                match self.handshakes.enter(peer.ip()) {
                    Ok(handshake) => Some(handshake),
                    Err(limit) => return telemetry.turned_away(&door.listener, peer, limit),
                }
            }
        };
        let mut seed = [0; 32];
        if socket::prepare(&stream).is_err() || getrandom::fill(&mut seed).is_err() {
            return telemetry.turned_away(&door.listener, peer, "socket");
        }
        telemetry.opened(&door.listener);
        let start = Start {
            id: ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed)),
            door: Arc::clone(door),
            context: self.shared.world.context(),
            peer: Peer { address: peer },
            seed,
            now: self.shared.clock.now(),
        };
        let (shared, stopping) = (Arc::clone(&self.shared), self.stopping.clone());
        let tls = port.tls.clone();
        into.spawn(async move {
            serve(shared, (stream, tls), start, handshake, stopping).await;
            drop((seat, place));
        });
    }
}

/// Takes a client through the TLS handshake, where there is TLS, and serves it. `start` is the moment at which it came: its login has
/// what the handshake left of `login_timeout`.
async fn serve(
    shared: Arc<Shared>,
    (stream, tls): (TcpStream, Option<Arc<Swap<ServerConfig>>>),
    start: Start,
    mut handshake: Option<Handshake>,
    mut stopping: watch::Receiver<Stopping>,
) {
    let (listener, peer) = (&start.door.listener, start.peer.address);
    let socket = match tls {
        None => Socket::plain(stream),
        Some(tls) => {
            let secured = secure(stream, tls.get(), start.context.limits.login_timeout, &mut stopping).await;
            shared.telemetry.handshake(listener, peer, secured.as_ref().map(|_| ()));
            match secured {
                Ok(socket) => socket,
                Err(_) => return shared.telemetry.closed(listener),
            }
        }
    };
    if let DoorAuth::Anonymous { .. } = start.door.auth {
        handshake = None;
    }
    connection::serve(shared, socket, start, handshake, stopping).await;
}

async fn secure(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    timeout: Duration,
    stopping: &mut watch::Receiver<Stopping>,
) -> Result<Socket, HandshakeError> {
    let handshake = async {
        let (tcp, connection) = tls::accept(stream, config).await?;
        Socket::secured(tcp, connection.into()).map_err(|error| HandshakeError::of(&error))
    };
    tokio::select! {
        biased;
        secured = tokio::time::timeout(timeout, handshake) => {
            secured.unwrap_or_else(|_| Err(HandshakeError::timeout(timeout)))
        }
        _ = stopping.wait_for(|stopping| *stopping != Stopping::No) => Err(HandshakeError::stopping()),
    }
}
