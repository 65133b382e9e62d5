//! The simulator's tests: many runs from seeds, and that it can be relied on. CONTRIBUTING.md says how to play a run
//! again.
#![allow(clippy::disallowed_macros, reason = "a test may print")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod broken;
mod pairs;
mod scenarios;
mod simulator;

// What the other tests have for scenarios.
#[allow(dead_code, reason = "half of it is for sockets")]
#[path = "../it/client.rs"]
mod client;
#[path = "../it/scenario/file.rs"]
mod file;
#[path = "../it/scenario/judge.rs"]
mod judge;
#[allow(dead_code, reason = "half of it is for sockets")]
#[path = "../it/upstream.rs"]
mod upstream;

use simulator::dice::Dice;
use simulator::run::{Sabotage, play};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Runs under a plain `cargo test`, which does not optimise. CI asks for more of them with `SIM_RUNS`.
const RUNS: u64 = 300;

/// The longest time that sockets are waited for, where there are any.
const DEADLINE: Duration = Duration::from_secs(20);

/// A number out of the environment.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Plays runs on all processors; the first seed that breaks something, with what is to be told of it.
fn search(seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<Option<(u64, String)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while found.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let played = std::panic::catch_unwind(|| play(Dice::of_seed(seed), Sabotage::None));
                    let told = match played {
                        Ok(outcome) => match &outcome.broken {
                            None => continue,
                            Some(broken) => {
                                format!("{}\nbroken: {}: {}", outcome.told(), broken.invariant, broken.why)
                            }
                        },
                        Err(_) => "it panicked; see above".to_string(),
                    };
                    found.lock().unwrap().get_or_insert((seed, told));
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// `SIM_SEED` plays one run, or the first of `SIM_RUNS`.
#[test]
fn no_run_breaks_an_invariant() {
    let (first, runs) = match (number("SIM_SEED"), number("SIM_RUNS")) {
        (Some(seed), runs) => (seed, runs.unwrap_or(1)),
        (None, runs) => (0, runs.unwrap_or(RUNS)),
    };
    let begun = Instant::now();
    let found = search(first..first + runs);
    println!("seeds {first} to {} in {:.1} s", first + runs - 1, begun.elapsed().as_secs_f64());
    if let Some((seed, told)) = found {
        panic!("{told}\nplay it again: SIM_SEED={seed} cargo test --test sim\n");
    }
}

/// Nothing in a run comes from anywhere but its seed: else no failure could be played again.
#[test]
fn a_seed_is_one_run() {
    for seed in 0..20 {
        let (one, other) =
            (play(Dice::of_seed(seed), Sabotage::None), play(Dice::of_seed(seed), Sabotage::None));
        let length = one.trace.len().max(other.trace.len());
        for at in 0..length {
            let (one, other) = (one.trace.get(at), other.trace.get(at));
            assert_eq!(one, other, "seed {seed}, event {at} of {length}");
        }
    }
}

/// Invariants that hold where nobody goes say nothing.
#[test]
fn runs_go_everywhere() {
    let mut met: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..RUNS {
        for (what, times) in play(Dice::of_seed(seed), Sabotage::None).met {
            *met.entry(what).or_default() += times;
        }
    }
    println!("{met:#?}");
    let missing: Vec<_> = met.iter().filter(|(_, times)| **times == 0).collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
}

/// What a fuzzer does; where its bytes end, the quiet choices are made.
#[test]
fn bytes_choose_a_run_too() {
    for length in [0, 1, 40, 400, 4000] {
        let mut choices = Dice::of_seed(length);
        let bytes: Vec<u8> = (0..length).map(|_| choices.below(256) as u8).collect();
        let outcome = play(Dice::of_bytes(&bytes), Sabotage::None);
        assert_eq!(outcome.broken, None, "{}", outcome.told());
    }
}
