//! The scenarios of `tests/scenarios`, played on the program's own code over a network that answers by the script. Time
//! passes by itself here, so that nearly all that sockets cannot wait for is played too.

use crate::file::{Scenario, Step, all};
use crate::judge::{judge, report};
use crate::simulator::program;
use crate::upstream::{Log, question_line};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use pvtzd::config;
use pvtzd::resolve::query::ClientTransport;
use pvtzd::resolve::shared::SharedState;
use pvtzd::upstream::network::{Arrivals, Connecting, Network, Simulated};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Turns of the scheduler after which whatever needs no time has happened.
const TURNS: usize = 200;

/// From when on a scenario is the engine's alone: there silence takes no time, and here it takes seconds.
const SILENCE_TAKES_TIME: [(&str, u64); 2] =
    [("failure-is-remembered.scn", 1100), ("stale-retry.scn", 91_000)];

/// The sockets that are open, by port and server: where what they receive goes.
type Sockets = BTreeMap<(u16, SocketAddr), mpsc::UnboundedSender<io::Result<Vec<u8>>>>;

/// A network whose servers answer at once, by the script.
#[derive(Debug)]
struct Scripted {
    scenario: Arc<Scenario>,
    roles: Vec<String>,
    start: Instant,
    log: Log,
    unscripted: Mutex<Vec<String>>,
    sockets: Mutex<Sockets>,
}

impl Scripted {
    fn address(&self, role: &str) -> SocketAddr {
        let place = self.roles.iter().position(|other| other == role).unwrap();
        (Ipv4Addr::LOCALHOST, 2000 + place as u16).into()
    }

    /// What a server says.
    fn reply(&self, server: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).unwrap();
        if crate::upstream::is_silence_check(&query) {
            return None;
        }
        let role = &self.roles[usize::from(server.port() - 2000)];
        let line = question_line(role, &query);
        self.log.note(line.clone());
        let at = self.start.elapsed().as_millis() as u64;
        let mut reply = self.scenario.says(role, &query, at).unwrap_or_else(|()| {
            self.unscripted
                .lock()
                .unwrap()
                .push(format!("{}: not in the script: {line}", self.scenario.name));
            Some(crate::upstream::empty(&query, ResponseCode::Refused))
        })?;
        reply.metadata.id = query.metadata.id;
        reply.metadata.message_type = MessageType::Response;
        Some(reply.to_vec().unwrap())
    }
}

/// The same, as the program has it.
#[derive(Debug)]
struct Line(Arc<Scripted>);

impl Simulated for Line {
    fn open(&self, port: u16, server: SocketAddr) -> io::Result<Arrivals> {
        let (arrivals, socket) = mpsc::unbounded_channel();
        self.0.sockets.lock().unwrap().insert((port, server), arrivals);
        Ok(socket)
    }

    fn send(&self, port: u16, server: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        if let Some(reply) = self.0.reply(server, datagram) {
            let sockets = self.0.sockets.lock().unwrap();
            let _ = sockets[&(port, server)].send(Ok(reply)); // it may have been closed
        }
        Ok(())
    }

    fn connect(&self, server: SocketAddr) -> Connecting {
        let scripted = self.0.clone();
        Box::pin(async move {
            let (ours, mut theirs) = tokio::io::duplex(1 << 17);
            tokio::spawn(async move {
                while let Ok(length) = theirs.read_u16().await {
                    let mut query = vec![0; usize::from(length)];
                    theirs.read_exact(&mut query).await?;
                    if let Some(reply) = scripted.reply(server, &query) {
                        theirs.write_u16(reply.len() as u16).await?;
                        theirs.write_all(&reply).await?;
                    }
                }
                Ok::<_, io::Error>(())
            });
            Ok(ours)
        })
    }
}

/// Plays the steps of a scenario; what went wrong, and how many were played.
async fn perform(scenario: Arc<Scenario>) -> (Vec<String>, usize) {
    let roles = scenario.roles().into_iter().collect();
    let start = Instant::now();
    let scripted = Arc::new(Scripted {
        scenario: scenario.clone(),
        roles,
        start,
        log: Log::default(),
        unscripted: Mutex::default(),
        sockets: Mutex::default(),
    });
    let text = scenario.config(|role| scripted.address(role));
    let (config, _) = config::parse(&text, Path::new(&scenario.name)).unwrap();
    let live = program::start(&config, &Network::Simulated(Arc::new(Line(scripted.clone()))));
    let (mut failures, mut played) = (Vec::new(), 0);
    for step in &scenario.steps {
        let due = start + Duration::from_millis(step.at);
        let timeless = |(name, from): &(&str, u64)| *name == scenario.name && step.at >= *from;
        if Instant::now() > due || SILENCE_TAKES_TIME.iter().any(timeless) {
            break; // or an earlier step waited into this one
        }
        sleep_until(due).await;
        let _ = scripted.log.take(); // an earlier question that was repeated meanwhile
        let found = ask(&live, step).await;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        failures.extend(judge(&scenario, step, &found, &scripted.log.take(), 0));
        played += 1;
    }
    failures.append(&mut scripted.unscripted.lock().unwrap());
    (failures, played)
}

/// The answer to a step's question, in lines.
async fn ask(live: &Arc<SharedState>, step: &Step) -> Vec<String> {
    let transport = if step.over_tcp { ClientTransport::Tcp } else { ClientTransport::Udp };
    let client = SocketAddr::new(step.ask.client, 4000);
    match program::answer(live, &step.ask.packet(), client, transport).await {
        Some(octets) => step.ask.take(&octets).unwrap().lines(),
        None => vec!["no answer".into()],
    }
}

#[test]
fn scenarios_hold_on_the_simulator() {
    let (mut failures, mut played, mut steps) = (Vec::new(), 0, 0);
    for scenario in all() {
        steps += scenario.steps.len();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let (found, count) = runtime.unwrap().block_on(perform(scenario));
        failures.extend(found);
        played += count;
    }
    println!("{played} of {steps} steps are played on the simulator");
    report(&failures, played);
}
