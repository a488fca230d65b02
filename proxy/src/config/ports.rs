//! Ports of all listeners together: each may be used once, none may lie above 65535, and weir must not be its own upstream.

use std::net::{IpAddr, SocketAddr};

use weir_yaml::{Place, Problems};

use super::address::HostPort;
use super::listeners::LocatedListener;
use super::operations::LocatedAdmin;
use super::upstream::{LocatedUpstream, NodeIds};

pub(super) fn check(
    listeners: &[LocatedListener],
    upstream: &LocatedUpstream,
    admin: Option<&LocatedAdmin>,
    problems: &mut Problems,
) {
    let node_ids = &upstream.upstream.node_ids;
    let brokers = u16::try_from(node_ids.len()).unwrap_or(u16::MAX);
    let spans: Vec<Span<'_>> = listeners.iter().map(|located| Span::of(located, brokers)).collect();
    for (index, span) in spans.iter().enumerate() {
        span.check_end(problems);
        for earlier in spans.iter().take(index) {
            if earlier.meets(span) {
                report_twice(earlier, span, node_ids, problems);
            } else if earlier.advertises_with(span) {
                report_advertised_twice(earlier, span, problems);
            }
        }
        if let Some(admin) = admin {
            span.check_metrics(admin, node_ids, problems);
        }
        span.check_upstream(upstream, problems);
    }
}

/// The ports of a listener: its bootstrap and one for each broker.
struct Span<'a> {
    located: &'a LocatedListener,
    /// Ports after the first.
    brokers: u16,
}

impl<'a> Span<'a> {
    fn of(located: &'a LocatedListener, brokers: u16) -> Self {
        Span { located, brokers }
    }

    fn name(&self) -> &str {
        &self.located.listener.name
    }

    fn bind(&self) -> SocketAddr {
        self.located.listener.bind
    }

    fn advertise(&self) -> &HostPort {
        &self.located.listener.advertise
    }

    fn bind_end(&self) -> u16 {
        self.bind().port().saturating_add(self.brokers)
    }

    fn advertise_end(&self) -> u16 {
        self.advertise().port.saturating_add(self.brokers)
    }

    fn holds(&self, port: u16) -> bool {
        (self.bind().port()..=self.bind_end()).contains(&port)
    }

    fn meets(&self, other: &Span<'_>) -> bool {
        share_an_address(self.bind().ip(), other.bind().ip())
            && self.bind().port() <= other.bind_end()
            && other.bind().port() <= self.bind_end()
    }

    fn advertises_with(&self, other: &Span<'_>) -> bool {
        self.advertise().host.eq_ignore_ascii_case(&other.advertise().host)
            && self.advertise().port <= other.advertise_end()
            && other.advertise().port <= self.advertise_end()
    }

    /// What the port is for: `the bootstrap` or `broker 3`.
    fn role(&self, port: u16, node_ids: &NodeIds) -> String {
        let index = port.checked_sub(self.bind().port()).and_then(|offset| offset.checked_sub(1));
        match index.and_then(|index| node_ids.iter().nth(usize::from(index))) {
            Some(id) => format!("broker {id}"),
            None => "the bootstrap".to_owned(),
        }
    }

    fn check_end(&self, problems: &mut Problems) {
        let mut check = |key: &str, first: u16, place: &Place| {
            if first.checked_add(self.brokers).is_none() {
                let message = format!("`{key}` of listener `{}` leaves no ports for its brokers", self.name());
                let last = u16::MAX.saturating_sub(self.brokers);
                let cure = format!("{} ports follow it, one for each of `node_ids`: at most {last}", self.brokers);
                problems.error(place, message, cure);
            }
        };
        check("bind", self.bind().port(), &self.located.bind_place);
        if self.advertise().port != self.bind().port() {
            check("advertise", self.advertise().port, &self.located.advertise_place);
        }
    }

    fn check_metrics(&self, admin: &LocatedAdmin, node_ids: &NodeIds, problems: &mut Problems) {
        let metrics = admin.admin.metrics;
        if share_an_address(self.bind().ip(), metrics.ip()) && self.holds(metrics.port()) {
            let place = admin.metrics_place.as_ref().unwrap_or(&self.located.bind_place);
            let role = self.role(metrics.port(), node_ids);
            let cure = format!("{role} of listener `{}` and `admin.metrics`; move one of them", self.name());
            problems.error(place, format!("port {} is used twice", metrics.port()), cure);
        }
    }

    /// Finds only what the text shows: a name may still lead back here.
    fn check_upstream(&self, upstream: &LocatedUpstream, problems: &mut Problems) {
        for (broker, place) in upstream.upstream.bootstrap.iter().zip(&upstream.bootstrap_places) {
            let here = match broker.ip() {
                Some(ip) => share_an_address(ip, self.bind().ip()) && (ip == self.bind().ip() || ip.is_loopback()),
                None => broker.host == "localhost" && share_an_address(IpAddr::from([127, 0, 0, 1]), self.bind().ip()),
            };
            if here && self.holds(broker.port) {
                let message = format!("upstream `{broker}` is weir itself, listener `{}`", self.name());
                problems.error(place, message, "name a Kafka broker");
            }
        }
    }
}

fn report_twice(first: &Span<'_>, second: &Span<'_>, node_ids: &NodeIds, problems: &mut Problems) {
    let port = first.bind().port().max(second.bind().port());
    let cure = format!(
        "{} of listener `{}` and {} of `{}`; move `{}` above {}",
        first.role(port, node_ids),
        first.name(),
        second.role(port, node_ids),
        second.name(),
        second.name(),
        first.bind_end()
    );
    problems.error(&second.located.bind_place, format!("port {port} is used twice"), cure);
}

fn report_advertised_twice(first: &Span<'_>, second: &Span<'_>, problems: &mut Problems) {
    let port = first.advertise().port.max(second.advertise().port);
    let message = format!("port {port} of `{}` is advertised twice", second.advertise().host);
    let cure = format!(
        "by `{}` and by `{}`; move `{}` above {}",
        first.name(),
        second.name(),
        second.name(),
        first.advertise_end()
    );
    problems.error(&second.located.advertise_place, message, cure);
}

/// Whether one socket at each address could not have the same port: they are equal, or one is every address.
fn share_an_address(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}
