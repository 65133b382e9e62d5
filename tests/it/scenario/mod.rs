//! Scenarios: text files of a configuration, what upstreams say, and questions with the answers they must get.
//! `tests/scenarios/README.md` describes their form. Each is played on the engine with a clock of its own, and,
//! as far as no time has to pass in it, over sockets with the real program.

mod engine;
mod file;
mod judge;
mod sockets;

use file::all;
use judge::report;

#[test]
fn scenarios_hold_on_the_engine() {
    let (mut failures, mut played) = (Vec::new(), 0);
    for scenario in all() {
        played += scenario.steps.len();
        failures.extend(engine::play(&scenario));
    }
    report(&failures, played);
}

#[test]
fn scenarios_hold_over_sockets() {
    let scenarios = all();
    let steps: usize = scenarios.iter().map(|scenario| scenario.steps.len()).sum();
    let played: usize = scenarios.iter().map(|scenario| sockets::playable(scenario).count()).sum();
    println!("{played} of {steps} steps are played over sockets; {} need a clock", steps - played);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(scenario) =
                    scenarios.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let found = sockets::play(scenario);
                    failures.lock().unwrap().extend(found);
                }
            });
        }
    });
    report(&failures.into_inner().unwrap(), played);
}
