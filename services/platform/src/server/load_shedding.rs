//! Load shedding: refuses calls for which there is no place, and all new calls while the server stops, at once and at
//! little cost.
//!
//! The places of `MAX_IN_FLIGHT` are in parts, so that calls of one kind cannot take those of another, and the places of a
//! part are shared out between callers (`places`). Without a listed certificate, the network and the connection are the
//! holders of a place; behind a trusted proxy, only the network that it states, because many clients share its connections.
//! A listed service has a share of its own; the shares of its people are taken behind the
//! authorization (`person_limits`).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http_body::Frame;
use tonic::Status;

use super::{
    client_address,
    connection::{Connection, service_of_request},
    layer::{Chain, Next},
    places::{Fraction, NoPlace, Place, Places},
    response_body::MappedBody,
};
use crate::{
    access::{Access, AccessTable, ResponseKind},
    call::{ServiceName, UserId},
    failure::Failure,
    network::Network,
    reason::Reason,
    trusted_proxies::TrustedProxies,
};

/// The path prefix of the health service, which answers while all other calls are refused.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// A holder of places.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Network(Network),
    /// The site of an IPv6 network.
    Site(Network),
    Connection(u64),
    Service(ServiceName),
    Person(UserId),
    /// The network of a client that a service calls for.
    Forwarded(ServiceName, Network),
}

impl Holder {
    fn kind(&self) -> &'static str {
        match self {
            Self::Network(_) | Self::Site(_) | Self::Forwarded(..) => "network",
            Self::Connection(_) => "connection",
            Self::Service(_) => "service",
            Self::Person(_) => "user",
        }
    }
}

/// The origin of a call, as far as it is known before the authorization.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    /// The connection. `None` only in tests of other layers.
    connection: Option<&'a Connection>,
    /// The service with the connection's certificate. `None` for a call from a browser.
    service: Option<&'a ServiceName>,
    /// The network of the client that a trusted proxy states, if the connection is that of one.
    behind_proxy: Option<Network>,
}

/// A part of the places, for calls of one kind, and the shares of its holders.
#[derive(Clone, Debug)]
pub(super) struct Part {
    name: &'static str,
    places: Places<Holder>,
    network: Fraction,
    connection: Fraction,
    service: Fraction,
    person: Fraction,
}

/// The causes of a refusal: no place at all, or the kind of holder that has its share.
const CAUSES: [&str; 5] = [FULL, "network", "connection", "service", "user"];

/// The cause of a refusal when all places of the part are taken.
const FULL: &str = "full";

impl Part {
    /// Creates a part of `total` places, at least one. The shares are in eighths of the free places.
    fn new(name: &'static str, total: usize, [network, connection, service, person]: [usize; 4]) -> Self {
        // Counters that alerts watch start at zero.
        for cause in CAUSES {
            metrics::counter!("haven_rpc_shed_total", "part" => name, "cause" => cause).absolute(0);
        }
        Self {
            name,
            places: Places::new(total.max(1)),
            network: Fraction(network),
            connection: Fraction(connection),
            service: Fraction(service),
            person: Fraction(person),
        }
    }

    fn take(&self, origin: Origin<'_>) -> Result<Place<Holder>, Refused> {
        let mut holders = Vec::with_capacity(3);
        if let Some(service) = origin.service {
            holders.push((Holder::Service(service.clone()), self.service));
        } else {
            let socket = origin.connection.and_then(Connection::network);
            let network = origin.behind_proxy.or(socket);
            holders.extend(network.map(|network| (Holder::Network(network), self.network)));
            let site = network.and_then(|network| network.site());
            holders.extend(site.map(|site| (Holder::Site(site), self.site())));
            if origin.behind_proxy.is_none() {
                let connection = origin.connection.map(Connection::id);
                holders.extend(connection.map(|id| (Holder::Connection(id), self.connection)));
            }
        }
        self.places
            .take(&holders)
            .map_err(|refused| self.refused(&refused))
    }

    /// The share of a site of IPv6 networks: more than that of one of its networks.
    fn site(&self) -> Fraction {
        Fraction(self.network.0 + 8)
    }

    /// Counts the place of an admitted call for a person, or for the network that a service calls for, who may hold at most
    /// `most`.
    pub(super) fn count_for(&self, holder: Holder, most: usize) -> Result<Place<Holder>, Refused> {
        self.places
            .count_for(holder, self.person, most)
            .map_err(|refused| self.refused(&refused))
    }

    fn refused(&self, refused: &NoPlace<Holder>) -> Refused {
        Refused {
            part: self.name,
            cause: match refused {
                NoPlace::Full => FULL,
                NoPlace::Holder(holder) => holder.kind(),
            },
        }
    }
}

/// A call for which there is no place: the labels of the metric.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    part: &'static str,
    cause: &'static str,
}

impl From<Refused> for Failure {
    /// Counts the refusal.
    fn from(Refused { part, cause }: Refused) -> Self {
        metrics::counter!("haven_rpc_shed_total", "part" => part, "cause" => cause).increment(1);
        match cause {
            FULL => Self::new(Reason::Overloaded),
            holder => Self::new(Reason::TooManyCalls).metadata("holder", holder.to_ascii_uppercase()),
        }
    }
}

/// The state of the layer: the places of each kind of call.
#[derive(Clone)]
pub(super) struct LoadShedding {
    access: AccessTable,
    proxies: TrustedProxies,
    /// Half of all, for calls with one answer.
    calls: Part,
    /// Three quarters of the places in `calls`, for callers without credentials. A flood of sign-ins, which wait in the hash
    /// queue, leaves the rest to people who are signed in and to services.
    anonymous: Part,
    /// An eighth, for streams that end.
    streams: Part,
    /// A quarter, for the streams of people that stay open. They are held for long, so that a person's share is small.
    watches: Part,
    /// An eighth, for the streams of services that stay open.
    service_watches: Part,
    /// The places of the health service, apart from the others: probes are answered while all other calls are refused. As
    /// many as of calls.
    health: Part,
    draining: Arc<AtomicBool>,
}

impl LoadShedding {
    pub(super) fn new(max: usize, access: AccessTable, proxies: TrustedProxies) -> Self {
        let calls = max / 2;
        Self {
            access,
            proxies,
            //                                       network, connection, service, person
            calls: Part::new("calls", calls, [32, 16, 32, 8]),
            anonymous: Part::new("anonymous", calls - calls / 4, [16, 8, 0, 0]),
            streams: Part::new("streams", max / 8, [32, 16, 32, 4]),
            watches: Part::new("watches", max / 4, [8, 8, 32, 1]),
            service_watches: Part::new("service_watches", max / 8, [32, 16, 32, 32]),
            health: Part::new("health", calls, [8, 4, 8, 0]),
            draining: Arc::default(),
        }
    }

    /// Refuses all calls from now on with DRAINING.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns the origin of a request.
    fn origin<'a>(&self, request: &'a Request) -> Origin<'a> {
        let connection = request.extensions().get::<Connection>();
        let behind_proxy = connection.and_then(|connection| {
            client_address::behind_proxy(connection, request.headers(), &self.proxies)
        });
        Origin {
            connection,
            service: service_of_request(request),
            behind_proxy,
        }
    }

    /// Returns the part and the places of one more call.
    fn admit(&self, path: &str, origin: Origin<'_>) -> Result<(Part, Vec<Place<Holder>>), Refused> {
        let rpc = self.access.find(path);
        let access = rpc.map_or(Access::Anyone, |rpc| rpc.access);
        let part = match rpc.map(|rpc| rpc.response) {
            Some(ResponseKind::Stream) => &self.streams,
            Some(ResponseKind::Watch) if access == Access::Service => &self.service_watches,
            Some(ResponseKind::Watch) => &self.watches,
            Some(ResponseKind::Message) | None => &self.calls,
        };
        let places = if access == Access::Anyone && origin.service.is_none() {
            let anonymous = self.anonymous.take(origin)?;
            let place = part.places.take(&[]).map_err(|refused| part.refused(&refused))?;
            vec![anonymous, place]
        } else {
            vec![part.take(origin)?]
        };
        Ok((part.clone(), places))
    }

    /// Returns the number of calls in flight.
    pub(super) fn in_flight(&self) -> usize {
        let parts = [&self.calls, &self.streams, &self.watches, &self.service_watches];
        parts.iter().map(|part| part.places.used()).sum()
    }
}

/// The layer: refuses the call with DRAINING, OVERLOADED or TOO_MANY_CALLS, or holds its places until the response is sent. Puts the
/// [`Part`] into the request.
pub(super) async fn shed_load<C: Chain>(
    shedding: Arc<LoadShedding>,
    mut request: Request,
    next: Next<C>,
) -> Response {
    if request.uri().path().starts_with(HEALTH) {
        let taken = shedding.health.take(shedding.origin(&request));
        return match taken {
            Ok(place) => held_until_sent(next.run(request).await, place),
            Err(refused) => Status::from(Failure::from(refused)).into_http(),
        };
    }
    if shedding.draining.load(Ordering::Relaxed) {
        return Status::from(Failure::new(Reason::Draining)).into_http();
    }
    let admitted = shedding.admit(request.uri().path(), shedding.origin(&request));
    let (part, places) = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => return Status::from(Failure::from(refused)).into_http(),
    };
    request.extensions_mut().insert(part);
    held_until_sent(next.run(request).await, places)
}

/// Holds `places` until the last frame of the response was sent.
fn held_until_sent<P: Send + 'static>(response: Response, places: P) -> Response {
    response.map(|body| {
        Body::new(MappedBody::new(body, move |frame: Frame<Bytes>| {
            let _held = &places;
            frame
        }))
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const CALL: &str = "/haven.test.v1.TestService/ListItems";
    const WATCH: &str = "/haven.test.v1.TestService/WatchItems";
    const UNKNOWN_RPC: &str = "/nothing";

    fn shedding() -> LoadShedding {
        let access = AccessTable::for_tests([(CALL, ResponseKind::Message), (WATCH, ResponseKind::Watch)]);
        LoadShedding::new(512, access, TrustedProxies::default())
    }

    fn stranger(id: u64, network: u8) -> Connection {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, network));
        Connection::new(id, Some(Network::of(address)), None)
    }

    fn direct(connection: &Connection) -> Origin<'_> {
        Origin {
            connection: Some(connection),
            service: connection.service(),
            behind_proxy: None,
        }
    }

    /// Makes calls on `connection` until one is refused.
    fn hoard(
        shedding: &LoadShedding,
        path: &str,
        connection: &Connection,
    ) -> (usize, Vec<Vec<Place<Holder>>>, Refused) {
        hoard_from(shedding, path, direct(connection))
    }

    fn hoard_from(
        shedding: &LoadShedding,
        path: &str,
        origin: Origin<'_>,
    ) -> (usize, Vec<Vec<Place<Holder>>>, Refused) {
        let mut held = Vec::new();
        loop {
            match shedding.admit(path, origin) {
                Ok((_, places)) => held.push(places),
                Err(refused) => return (held.len(), held, refused),
            }
        }
    }

    #[test]
    fn strangers_leave_places_to_other_networks_and_to_people() {
        let shedding = shedding();
        let mut held = Vec::new();
        // One connection has half of the 192 places, and more connections of its network two thirds.
        let (count, places, refused) = hoard(&shedding, UNKNOWN_RPC, &stranger(1, 1));
        assert_eq!((count, refused.cause), (96, "connection"));
        held.push(places);
        let mut network = count;
        for id in 2..20 {
            let (count, places, _) = hoard(&shedding, UNKNOWN_RPC, &stranger(id, 1));
            network += count;
            held.push(places);
        }
        assert_eq!(network, 128);
        let (count, ..) = hoard(&shedding, UNKNOWN_RPC, &stranger(21, 2));
        assert_eq!(count, 32);
        // A quarter of the places is for people and services, whatever strangers do.
        for id in 30..100 {
            held.push(hoard(&shedding, UNKNOWN_RPC, &stranger(id, id as u8)).1);
        }
        let (count, ..) = hoard(&shedding, CALL, &stranger(1, 1));
        assert!(count >= 32, "{count}");
        drop(held);
        assert_eq!(shedding.in_flight(), 0);
    }

    /// The table in `deploy/README.md`.
    #[test]
    fn a_lone_holder_has_the_documented_places() {
        let shedding = shedding();
        let lone = |part: &Part, fraction: Fraction| {
            let mut held = Vec::new();
            while let Ok(place) = part.places.take(&[(Holder::Connection(1), fraction)]) {
                held.push(place);
            }
            held.len()
        };
        let most = |part: &Part| [part.network, part.connection, part.service].map(|most| lone(part, most));
        assert_eq!(most(&shedding.calls), [205, 171, 205]);
        assert_eq!(most(&shedding.anonymous)[..2], [128, 96]);
        assert_eq!(most(&shedding.streams), [52, 43, 52]);
        assert_eq!(most(&shedding.watches), [64, 64, 103]);
        assert_eq!(most(&shedding.service_watches), [52, 43, 52]);
        assert_eq!(most(&shedding.health), [128, 85, 128]);
        assert_eq!(lone(&shedding.calls, shedding.calls.person), 128);
    }

    #[test]
    fn the_networks_of_an_ipv6_site_leave_places_to_others() {
        let shedding = shedding();
        let mut held = Vec::new();
        let mut count = 0;
        for id in 0..200_u16 {
            let address = IpAddr::from([0x2001, 0xdb8, 0, id, 0, 0, 0, 1]);
            let connection = Connection::new(id.into(), Some(Network::of(address)), None);
            let (more, places, _) = hoard(&shedding, UNKNOWN_RPC, &connection);
            count += more;
            held.push(places);
        }
        assert_eq!(count, 144, "three quarters of 192");
        let (count, ..) = hoard(&shedding, UNKNOWN_RPC, &stranger(500, 1));
        assert!(count >= 16, "{count}");
    }

    /// A hundred people share the connection of one proxy, and an attacker does too.
    #[test]
    fn clients_behind_a_trusted_proxy_are_not_each_others_neighbours() {
        let shedding = shedding();
        let address = |network: u8| Network::of(IpAddr::V4(Ipv4Addr::new(198, 51, 100, network)));
        let proxy = Connection::of_proxy(1, address(0));
        let behind = |client| Origin {
            connection: Some(&proxy),
            service: None,
            behind_proxy: Some(address(client)),
        };
        let (count, attacker, refused) = hoard_from(&shedding, UNKNOWN_RPC, behind(200));
        assert_eq!(
            (count, refused.cause),
            (128, "network"),
            "as much as a network, not a connection"
        );
        for person in 0..100 {
            assert!(shedding.admit(UNKNOWN_RPC, behind(person)).is_ok(), "{person}");
        }
        drop(attacker);
        // At once, each of a hundred people has a call without credentials, and one with a token.
        let mut held = Vec::new();
        for person in 0..100 {
            held.push(shedding.admit(UNKNOWN_RPC, behind(person)).unwrap().1);
            held.push(shedding.admit(CALL, behind(person)).unwrap().1);
        }
        assert_eq!(shedding.in_flight(), 200);
        drop(held);
        // A proxy that states no address is a client like any other.
        let (count, _held, refused) = hoard(&shedding, UNKNOWN_RPC, &proxy);
        assert_eq!((count, refused.cause), (96, "connection"));
    }

    #[test]
    fn a_service_has_places_of_its_own() {
        let shedding = shedding();
        let _strangers = hoard(&shedding, CALL, &stranger(1, 1)).1;
        let service = Connection::new(2, None, Some(ServiceName::new("backend")));
        let (count, _held, refused) = hoard(&shedding, CALL, &service);
        assert!(count >= 64, "{count}");
        assert_eq!(refused.cause, "service");
        assert!(shedding.admit(CALL, direct(&stranger(3, 3))).is_ok());
    }

    #[test]
    fn a_persons_watches_shrink_as_places_get_scarce() {
        let shedding = shedding();
        let mut held = Vec::new();
        let mut counts = Vec::new();
        for person in 0..20_u8 {
            let holder = Holder::Person(UserId::new(uuid::Uuid::from_u128(person.into())));
            let connection = stranger(person.into(), person);
            let mut count = 0;
            while let Ok((part, places)) = shedding.admit(WATCH, direct(&connection)) {
                let Ok(counted) = part.count_for(holder.clone(), 12) else {
                    break;
                };
                held.push((places, counted));
                count += 1;
            }
            counts.push(count);
        }
        assert_eq!(counts[0], 12, "{counts:?}");
        assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
        assert!(counts[19] >= 1, "{counts:?}");
        assert!(shedding.admit(WATCH, direct(&stranger(99, 99))).is_ok());
    }
}
