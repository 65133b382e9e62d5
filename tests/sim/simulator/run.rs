//! One run: a world is drawn, clients ask, configurations come and go, and every step is held against the invariants.

use super::book::{Book, Broken, Event};
use super::claims;
use super::client::Asked;
use super::dice::Dice;
use super::held::Given;
use super::invariants as must;
use super::network::Network;
use super::plan::Plan;
use super::program;
use super::world::{SERVERS, Server, Settings, Tcp, Truth, UNIVERSES};
use super::written;
use hickory_proto::op::Message;
use pvtzd::config::Config;
use pvtzd::resolve::query::ClientTransport;
use pvtzd::resolve::shared::SharedState;
use pvtzd::upstream::{ServerCounts, network, random};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// After so long nothing of a run is under way any more: exchanges, probes, connections without questions.
const AFTERMATH: Duration = Duration::from_secs(25);

/// What is made wrong on purpose, to see that an invariant notices.
#[derive(Clone, Copy, Debug, Default)]
pub enum Sabotage {
    /// Nothing.
    #[default]
    None,
    /// Each answer is changed before it is looked at.
    Answers(fn(&mut Message)),
    /// Octets follow each answer.
    Padding(usize),
    /// Forged replies come that are right in everything.
    Omniscience,
    /// Zones without recursion proxy are left out of the configuration.
    MissingZones,
    /// Clients are taken for those of the other VPC.
    WrongClient,
    /// Stale answers are kept for longer than they may be.
    LongStale,
    /// Answers are late.
    Slowness,
    /// The clock of the cache does not count the time asleep.
    LostSleep,
    /// More may be under way than may be.
    NoLimits,
    /// A permit is never given back.
    Leak,
    /// All servers swallow all questions, that for the root's servers too.
    Deafness,
    /// What servers cut over TCP has no TC.
    UnmarkedCuts,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// All that happened.
    pub trace: Vec<(u64, Event)>,
    /// What broke, if something did.
    pub broken: Option<Broken>,
    /// How often what was met: it shows whether runs go everywhere.
    pub met: Vec<(&'static str, u64)>,
    /// The trace and the configurations, for people.
    told: String,
}

impl Outcome {
    /// What to print of a run that broke something.
    pub fn told(&self) -> &str {
        &self.told
    }
}

/// Plays a run.
pub fn play(mut dice: Dice, sabotage: Sabotage) -> Outcome {
    let _predictable = random::predictable(dice.seed());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let stage = Stage::set(dice, sabotage);
        stage.perform().await;
        let mut state = stage.network.state();
        let broken = state.book.broken.take();
        let told = match broken {
            Some(_) => stage.told(&state.book),
            None => String::new(),
        };
        let met = stage.met(&state.book, state.swallowed);
        Outcome { trace: std::mem::take(&mut state.book.trace), broken, met, told }
    })
}

/// What a run is made of.
#[derive(Debug)]
struct Stage {
    live: Arc<SharedState>,
    network: Network,
    /// The same, as the server has it.
    outside: network::Network,
    settings: Settings,
    /// How long the run is, in milliseconds.
    span: u64,
    sabotage: Sabotage,
}

impl Stage {
    /// Draws the world and starts the server.
    fn set(mut dice: Dice, sabotage: Sabotage) -> Arc<Self> {
        let settings = Settings::draw(&mut dice);
        let span = dice.pick(&[20_000, 2_000, 400_000, 90_000_000]);
        let period = dice.pick(&[u64::MAX, span / 3, 20_000.max(span / 60)]);
        let truth = Truth { seed: dice.seed(), period, calm: settings.calm };
        let draw = |_| sabotaged(Server::draw(&mut dice, &settings, span), sabotage);
        let servers = (0..UNIVERSES * SERVERS).map(draw).collect();
        let plan = Plan::draw(&mut dice, &settings);
        let mut book = Book::begin();
        let config = configuration(&plan, &settings, sabotage);
        book.plans.push((0, Arc::new(plan)));
        let network = Network::new(book, dice, settings.clone(), truth, servers);
        network.state().omniscient = matches!(sabotage, Sabotage::Omniscience);
        let outside = network::Network::Simulated(Arc::new(network.clone()));
        let live = program::start(&config, &outside);
        Arc::new(Self { live, network, outside, settings, span, sabotage })
    }

    /// Plays the run to its end, and waits until nothing is under way.
    async fn perform(self: &Arc<Self>) {
        let mut clients: Vec<JoinHandle<()>> = Vec::new();
        let mut asked_so_far = 0;
        let (steps, favourites) = {
            let dice = &mut self.network.state().dice;
            (dice.between(3, 16), [Asked::draw(dice), Asked::draw(dice)])
        };
        if matches!(self.sabotage, Sabotage::Leak) {
            std::mem::forget(self.live.limits.begin([10, 0, 0, 1].into(), None));
        }
        for _ in 0..steps {
            let (gap, reloads, sleeps, crowd) = {
                let dice = &mut self.network.state().dice;
                let most = self.span as u32 / steps * 2;
                // at once, within one exchange, around the ends of usual lives, or anywhere
                let gap = dice.pick(&[0, 1, 30, 700, 5000, 12_000, 57_000, 61_000, most]);
                let gap = if dice.chance(500) { gap } else { dice.below(gap + 1) };
                (gap, dice.chance(150), dice.chance(40), dice.pick(&[1, 1, 1, 2, 6]))
            };
            sleep(Duration::from_millis(u64::from(gap))).await;
            if reloads {
                self.reload();
            }
            if sleeps {
                for client in clients.drain(..) {
                    client.await.unwrap();
                }
                sleep(AFTERMATH).await;
                self.fall_asleep();
            }
            for _ in 0..crowd {
                let asked = {
                    let state = &mut *self.network.state();
                    let mut asked = match state.dice.below(8) {
                        0..4 => favourites[0].repeated(&mut state.dice),
                        4..6 => favourites[1].repeated(&mut state.dice),
                        _ => Asked::draw(&mut state.dice),
                    };
                    asked.at = state.book.now();
                    state.book.asked.push((asked.at, asked.vpc));
                    asked
                };
                asked_so_far += 1;
                clients.push(tokio::spawn(self.clone().serve(asked_so_far - 1, asked)));
            }
            self.look_at_bounds();
            if self.network.state().book.broken.is_some() {
                return;
            }
        }
        for client in clients {
            client.await.unwrap();
        }
        sleep(AFTERMATH).await;
        self.look_at_the_end();
    }

    /// The machine sleeps for a while: the monotonic clock stands still, and servers live on.
    fn fall_asleep(&self) {
        let state = &mut *self.network.state();
        let length = state.dice.pick(&[3_000_u64, 1_000, 30_000, 600_000, 90_000_000]);
        state.book.asleep += length;
        if !matches!(self.sabotage, Sabotage::LostSleep) {
            self.live.clock.slept(Duration::from_millis(state.book.asleep));
        }
        state.book.note(Event::Slept(length));
    }

    /// Publishes another configuration.
    fn reload(&self) {
        let state = &mut *self.network.state();
        let before = state.book.plans.last().unwrap().1.clone();
        let mut plan = Plan::draw(&mut state.dice, &self.settings);
        if state.dice.chance(400) {
            plan.default = before.default.clone();
        }
        if state.dice.chance(400) {
            plan.rules = before.rules.clone();
        }
        if state.dice.chance(300) {
            plan.zones = before.zones.clone();
        }
        let config = configuration(&plan, &self.settings, self.sabotage);
        let number = state.book.plans.len();
        let previous = self.live.published();
        self.live.publish(program::published(&config, &self.outside, Some(&previous), number as u32 + 1));
        let now = state.book.now();
        state.book.plans.push((now, Arc::new(plan)));
        state.book.note(Event::Published(number));
    }

    /// Serves one query and looks at its answer.
    async fn serve(self: Arc<Self>, number: usize, asked: Asked) {
        let packet = asked.packet();
        self.network.state().book.note(Event::Asked(number, packet.clone()));
        let mut client = asked.client;
        if matches!(self.sabotage, Sabotage::WrongClient) && asked.vpc.is_some() {
            client.set_ip([10, 1 - asked.vpc.unwrap_or(0), 0, 1].into());
        }
        let transport = if asked.over_tcp { ClientTransport::Tcp } else { ClientTransport::Udp };
        let answer = program::answer(&self.live, &packet, client, transport).await;
        let mut answer = answer.unwrap_or_default();
        if matches!(self.sabotage, Sabotage::Slowness) {
            sleep(Duration::from_millis(4001)).await;
        }
        if let Sabotage::Padding(octets) = self.sabotage {
            answer.resize(answer.len() + octets, 0);
        }
        self.look_at_bounds();
        let mut state = self.network.state();
        state.book.note(Event::Answered(number, answer.clone()));
        let outcome = self.judge(&state.book, &asked, &answer);
        state.book.hold(outcome);
        let now = state.book.now();
        let given = Message::from_vec(&answer).ok().and_then(|answer| Given::of(&asked, &answer, now));
        state.book.given.extend(given);
    }

    /// Holds an answer against everything that an answer must be.
    fn judge(&self, book: &Book, asked: &Asked, octets: &[u8]) -> Result<(), Broken> {
        must::an_answer_fits(asked, octets)?;
        must::nobody_waits_beyond_four_seconds(asked, book.now())?;
        let Ok(mut answer) = Message::from_vec(octets) else {
            let why = format!("{} octets that cannot be read", octets.len());
            return Err(Broken::new("an answer belongs to its question", why));
        };
        if let Sabotage::Answers(change) = self.sabotage {
            change(&mut answer);
        }
        must::an_answer_belongs_to_its_question(asked, &answer)?;
        must::nothing_forged_is_believed(&answer)?;
        must::no_private_answer_crosses_a_view(asked, &answer)?;
        must::private_answers_are_not_authentic(&answer)?;
        must::nothing_fails_without_cause(&answer, &self.settings)?;
        must::what_holds_is_answered_at_once(book, asked, &answer)?;
        // An answer is made by one configuration: any of those that counted while it was waited for.
        let mut outcome = Ok(());
        for plan in book.plans_between(asked.at, book.now()) {
            outcome = claims::follow(plan, book, asked, &answer).and_then(|claims| {
                must::ttls_never_grow(&claims, asked, &self.settings)?;
                must::stale_only_within_its_cap(&claims, asked, &self.settings)
            });
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// What may be there at most.
    fn look_at_bounds(&self) {
        let settings = &self.settings;
        let in_flight = self.live.limits.in_flight();
        let cached = (self.live.cache.bytes() + self.live.answers.bytes()) as usize;
        let published = self.live.published();
        for group in published.groups.values() {
            let is_well = |server: &pvtzd::upstream::Server| {
                self.network.state().server(server.address().addr).1.is_well()
            };
            let some_are_well = group.servers().any(is_well);
            let outcome =
                must::a_server_that_answers_is_not_silent(group.name(), group.is_silent(), some_are_well);
            self.network.state().book.hold(outcome);
        }
        let servers = published.groups.values().flat_map(|group| group.servers());
        let busiest = servers.map(|server| server.snapshot().in_flight).max().unwrap_or(0);
        let book = &mut self.network.state().book;
        book.hold(must::bounds_hold("queries that wait", in_flight, settings.in_flight));
        book.hold(must::bounds_hold("octets in the caches", cached, settings.cache));
        book.hold(must::bounds_hold("queries to a server", busiest, settings.per_server));
    }

    /// What must not be there once all is over.
    fn look_at_the_end(&self) {
        let sockets = self.network.open_sockets();
        let published = self.live.published();
        let servers = published.groups.values().flat_map(|group| group.servers());
        let asked = servers.map(|server| server.snapshot().in_flight).sum();
        let (waiting, permits) = (self.live.inflight.len(), self.live.limits.in_flight());
        let state = &mut *self.network.state();
        let left = [
            ("sockets", sockets),
            ("connections", state.streams),
            ("exchanges", waiting),
            ("permits", permits),
            ("queries to servers", asked),
        ];
        for (what, found) in left {
            state.book.hold(must::nothing_is_left_behind(what, found));
        }
    }

    /// How often what was met.
    fn met(&self, book: &Book, swallowed: u64) -> Vec<(&'static str, u64)> {
        let counters = &self.live.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let of = |kind: fn(&Event) -> bool| book.trace.iter().filter(|(_, event)| kind(event)).count() as u64;
        let answers = |bits: [u8; 2], of: [u8; 2]| {
            let is = |event: &Event| match event {
                Event::Answered(_, octets) => [octets[2] & bits[0], octets[3] & bits[1]] == of,
                _ => false,
            };
            book.trace.iter().filter(|(_, event)| is(event)).count() as u64
        };
        let published = self.live.published();
        let servers = published.groups.values().flat_map(|group| group.servers());
        let counts: Vec<ServerCounts> = servers.map(|server| server.snapshot().counts).collect();
        let sum = |what: fn(&ServerCounts) -> u64| counts.iter().map(what).sum();
        vec![
            ("configurations", of(|event| matches!(event, Event::Published(_)))),
            ("sleeps", of(|event| matches!(event, Event::Slept(_)))),
            ("answers", of(|event| matches!(event, Event::Answered(..)))),
            ("answers that are cut", answers([2, 0], [2, 0])),
            ("authoritative answers", answers([4, 0], [4, 0])),
            ("failures", answers([0, 15], [0, 2])),
            ("denied names", answers([0, 15], [0, 3])),
            ("refusals", answers([0, 15], [0, 5])),
            ("forged datagrams", of(|event| matches!(event, Event::Came(_, _, "forged", _)))),
            ("damaged replies", of(|event| matches!(event, Event::Came(_, _, "cut off", _)))),
            ("hosts that say no", of(|event| matches!(event, Event::Came(_, _, "refused", _)))),
            ("questions over TCP", of(|event| matches!(event, Event::Sent(0, ..)))),
            ("replies over TCP", of(|event| matches!(event, Event::Came(0, ..)))),
            ("replies cut over TCP", of(|event| matches!(event, Event::Came(_, _, "cut over TCP", _)))),
            ("hits of the cache", read(&counters.fresh)),
            ("stale answers", read(&counters.stale)),
            ("questions for upstreams", read(&counters.forwarded)),
            ("overloads", read(&counters.overload)),
            ("prefetches", read(&counters.prefetched)),
            ("broken groups", read(&counters.broken)),
            ("hits of the fast lane", self.live.tallies.sum().known),
            ("timeouts", sum(|counts| counts.timeouts)),
            ("replies to nothing", sum(|counts| counts.mismatches)),
            ("moves to TCP", sum(|counts| counts.tcp_fallbacks)),
            ("servers at their limit", sum(|counts| counts.at_limit)),
            ("unreadable replies", sum(|counts| counts.garbled)),
            ("questions that are swallowed", swallowed),
        ]
    }

    /// The configurations and the trace.
    fn told(&self, book: &Book) -> String {
        let mut told = String::new();
        for (number, (at, plan)) in book.plans.iter().enumerate() {
            told +=
                &format!("configuration {number}, from {at} ms:\n{}\n", written::file(plan, &self.settings));
        }
        told + &format!("settings: {:#?}\n\n", self.settings) + &book.told()
    }
}

/// A server as a sabotage makes it.
fn sabotaged(server: Server, sabotage: Sabotage) -> Server {
    match sabotage {
        Sabotage::Deafness => Server { latency: 5, swallows: 1000, deaf: true, ..Server::default() },
        Sabotage::UnmarkedCuts => {
            Server { latency: 5, cuts: true, tcp: Tcp::Cuts, unmarked: true, ..Server::default() }
        }
        _ => server,
    }
}

/// The configuration that a plan means.
fn configuration(plan: &Plan, settings: &Settings, sabotage: Sabotage) -> Config {
    let (mut plan, mut settings) = (plan.clone(), settings.clone());
    match sabotage {
        Sabotage::MissingZones => plan.zones.retain(|zone| zone.proxied),
        Sabotage::LongStale if settings.max_stale > 0 => settings.max_stale = 10_000_000,
        Sabotage::NoLimits => (settings.in_flight, settings.per_server) = (4096, 1000),
        _ => {}
    }
    written::config(&plan, &settings)
}
