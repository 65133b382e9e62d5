//! The network of a run: it loses, delays, doubles and damages datagrams, and lets others put in theirs.

use super::book::{Book, Event, Fact};
use super::dice::Dice;
use super::invariants;
use super::servers::{Answering, FORGERIES, Forgery, Reply, forge, plain_name};
use super::streams;
use super::world::{SERVERS, Server, Settings, Tcp, Truth, UNIVERSES};
use hickory_proto::op::Message;
use pvtzd::upstream::network::{Arrivals, Connecting, Simulated};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// The most sockets that are open at a time: a run has few questions, and each may be asked of many servers.
const MAX_SOCKETS: usize = 400;

/// The network, for all who have to do with it.
#[derive(Clone, Debug)]
pub struct Network(Arc<Mutex<State>>);

/// What is behind its lock.
#[derive(Debug)]
pub struct State {
    /// The book of the run.
    pub book: Book,
    /// The choices of the run.
    pub dice: Dice,
    /// The settings.
    pub settings: Settings,
    /// What the servers know.
    pub truth: Truth,
    /// The servers, universe after universe.
    servers: Vec<Server>,
    /// Open sockets: where they are, whom they are connected to.
    sockets: BTreeMap<(u16, SocketAddr), mpsc::UnboundedSender<io::Result<Vec<u8>>>>,
    /// Connections whose server has not gone.
    pub streams: usize,
    /// Questions that a server swallowed for their names.
    pub swallowed: u64,
    /// Somebody sends datagrams that are right in everything: what no invariant can survive.
    pub omniscient: bool,
}

impl Network {
    /// A network of these servers.
    pub fn new(book: Book, dice: Dice, settings: Settings, truth: Truth, servers: Vec<Server>) -> Self {
        assert_eq!(servers.len(), usize::from(UNIVERSES * SERVERS));
        Self(Arc::new(Mutex::new(State {
            book,
            dice,
            settings,
            truth,
            servers,
            sockets: BTreeMap::new(),
            streams: 0,
            swallowed: 0,
            omniscient: false,
        })))
    }

    /// What is behind the lock; held for no longer than it takes to look.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Sockets that are open.
    pub fn open_sockets(&self) -> usize {
        let mut state = self.state();
        state.sockets.retain(|_, arrivals| !arrivals.is_closed());
        state.sockets.len()
    }

    /// Lets something arrive at a socket after a while.
    fn arrive(&self, after: u32, at: (u16, SocketAddr), kind: &'static str, what: io::Result<Reply>) {
        let network = self.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(u64::from(after))).await;
            let mut state = network.state();
            let octets = what.as_ref().map_or(Vec::new(), |reply| reply.octets.clone());
            let (passed_on, facts) = match what {
                Ok(reply) => (Ok(reply.octets), reply.facts),
                Err(error) => (Err(error), Vec::new()),
            };
            let Some(arrivals) = state.sockets.get(&at) else { return };
            if arrivals.send(passed_on).is_ok() {
                state.learn(facts);
                state.book.note(Event::Came(at.0, at.1, kind, octets));
            } else {
                state.sockets.remove(&at);
            }
        });
    }
}

impl State {
    /// A server by its address: universe and properties.
    pub fn server(&self, address: SocketAddr) -> (u8, Server) {
        let SocketAddr::V4(address) = address else { panic!("{address} is no server of the simulation") };
        let [10, 53, universe, number] = address.ip().octets() else { panic!("{address} is no server") };
        (universe, self.servers[usize::from(universe * SERVERS + number - 1)].clone())
    }

    /// What a server answers now.
    pub fn reply(&mut self, address: SocketAddr, query: &[u8], over_tcp: bool) -> Option<Reply> {
        let (universe, server) = self.server(address);
        let name =
            Message::from_vec(query).ok().and_then(|query| Some(plain_name(query.queries.first()?.name())));
        if name.is_some_and(|name| server.swallows_name(&name)) {
            self.swallowed += 1;
            return None;
        }
        let SocketAddr::V4(place) = address else { return None };
        let number = place.ip().octets()[3];
        let (at, truth, settings) = (self.book.now(), self.truth, self.settings.clone());
        let answering = Answering { server: &server, truth, universe, number, settings: &settings, at };
        answering.reply(query, over_tcp, &mut self.dice)
    }

    /// Something true has reached us.
    pub fn learn(&mut self, facts: Vec<Fact>) {
        let at = self.book.now();
        self.book.facts.extend(facts.into_iter().map(|fact| Fact { at, ..fact }));
    }

    /// A question leaves; whether it may is an invariant.
    pub fn leaves(&mut self, port: u16, server: SocketAddr, query: &[u8]) {
        let universe = self.server(server).0;
        let outcome = invariants::nothing_leaves_for_private_names(&self.book, universe, query);
        self.book.hold(outcome);
        self.book.note(Event::Sent(port, server, query.to_vec()));
    }
}

impl Simulated for Network {
    fn open(&self, port: u16, server: SocketAddr) -> io::Result<Arrivals> {
        let mut state = self.state();
        state.sockets.retain(|_, arrivals| !arrivals.is_closed());
        let port = if port == 0 { 1024 } else { port };
        if state.sockets.contains_key(&(port, server)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let open = state.sockets.len();
        state.book.hold(invariants::bounds_hold("sockets", open, MAX_SOCKETS));
        let (arrivals, socket) = mpsc::unbounded_channel();
        state.sockets.insert((port, server), arrivals);
        Ok(socket)
    }

    fn send(&self, port: u16, address: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.leaves(port, address, datagram);
        let server = state.server(address).1;
        let at = (port, address);
        let mut forged: Vec<(Forgery, Vec<u8>)> = Vec::new();
        if server.forger > 0 {
            for _ in 0..state.dice.below(server.forger + 1) {
                let forgery = state.dice.pick(&FORGERIES);
                forged.extend(forge(datagram, forgery, &mut state.dice).map(|octets| (forgery, octets)));
            }
        }
        for _ in 0..state.dice.below(server.bare + 1) {
            let octets = forge(datagram, Forgery::Bare, &mut state.dice);
            forged.extend(octets.map(|octets| (Forgery::Bare, octets)));
        }
        if state.omniscient {
            forged
                .extend(forge(datagram, Forgery::Nothing, &mut state.dice).map(|it| (Forgery::Nothing, it)));
        }
        for (forgery, octets) in forged {
            let mut to = at;
            if forgery == Forgery::Port {
                // where another question waits, or where nobody does
                let other = state.sockets.keys().find(|key| key.1 == address && key.0 != port).copied();
                to = other.unwrap_or((port ^ 1, address));
            }
            let after = state.dice.below(server.latency * 2);
            self.arrive(after, to, "forged", Ok(Reply { octets, facts: Vec::new() }));
        }
        if state.dice.chance(server.loss) {
            return Ok(());
        }
        let now = state.book.now();
        match server.is_down(now) {
            Some(true) => {
                self.arrive(server.latency * 2, at, "refused", Err(io::ErrorKind::ConnectionRefused.into()));
                return Ok(());
            }
            Some(false) => return Ok(()),
            None => {}
        }
        let copies = 1 + u32::from(state.dice.chance(server.doubles));
        for _ in 0..copies {
            let Some(mut reply) = state.reply(address, datagram, false) else { continue };
            if state.dice.chance(server.loss) {
                continue;
            }
            let mut kind = "reply";
            if state.dice.chance(server.damage) {
                // an end is missing: there is nothing in it to believe
                let kept = state.dice.below(reply.octets.len() as u32) as usize;
                reply.octets.truncate(kept);
                reply.facts.clear();
                kind = "cut off";
            }
            let late = if state.dice.chance(server.late) { 1000 + state.dice.below(5000) } else { 0 };
            let after = server.latency * 2 + state.dice.below(server.jitter + 1) + late;
            self.arrive(after, at, kind, Ok(reply));
        }
        Ok(())
    }

    fn connect(&self, address: SocketAddr) -> Connecting {
        let network = self.clone();
        Box::pin(async move {
            let (server, down) = {
                let state = network.state();
                let server = state.server(address).1;
                let down = server.is_down(state.book.now());
                (server, down)
            };
            sleep(Duration::from_millis(u64::from(server.latency * 2))).await;
            match (down, server.tcp) {
                (Some(false), _) | (None, Tcp::Silent) => std::future::pending().await,
                (Some(true), _) | (None, Tcp::Refuses) => Err(io::ErrorKind::ConnectionRefused.into()),
                (None, _) => {
                    let (ours, theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(1 << 17);
                    tokio::spawn(streams::serve(network.clone(), address, theirs));
                    Ok(ours)
                }
            }
        })
    }
}
