//! Scenarios: text files of a configuration, what upstreams say, and questions with the answers they must get.
//! `tests/scenarios/README.md` describes their form. Each is played on the engine with a clock of its own, and,
//! as far as no time has to pass in it, over sockets with the real program.

mod engine;
mod file;
mod sockets;

use file::{Scenario, Step};
use std::path::Path;

/// All scenarios, by name.
fn all() -> Vec<std::sync::Arc<Scenario>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let only = std::env::var("SCENARIO").ok();
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "scn"))
        .filter(|path| only.as_ref().is_none_or(|only| path.to_string_lossy().contains(only)))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scenario");
    paths.iter().map(|path| Scenario::read(path).into()).collect()
}

/// How a step went other than it should; nothing if it went well.
fn judge(scenario: &Scenario, step: &Step, found: &[String], asked: &[String], slack: u32) -> Option<String> {
    let as_expected = found.len() == step.expected.len()
        && found.iter().zip(&step.expected).all(|(found, expected)| is_same(found, expected, slack));
    if as_expected && asked == step.asked {
        return None;
    }
    let block = |lines: &[String]| lines.iter().map(|line| format!("\n      {line}")).collect::<String>();
    Some(format!(
        "{}:{}: {}\n    expected{}{}\n    found{}{}",
        scenario.name,
        step.line,
        scenario.idea,
        block(&step.expected),
        block(&step.asked.iter().map(|line| format!("asked {line}")).collect::<Vec<_>>()),
        block(found),
        block(&asked.iter().map(|line| format!("asked {line}")).collect::<Vec<_>>()),
    ))
}

/// True when two lines say the same, but for a TTL that is up to `slack` seconds lower than expected.
fn is_same(found: &str, expected: &str, slack: u32) -> bool {
    if found == expected {
        return true;
    }
    let split = |line: &str| -> Option<(String, u32, String)> {
        let line = line.strip_prefix("authority ").unwrap_or(line);
        let mut words = line.splitn(3, ' ');
        Some((words.next()?.into(), words.next()?.parse().ok()?, words.next()?.into()))
    };
    match (split(found), split(expected)) {
        (Some(found), Some(expected)) => {
            found.0 == expected.0
                && found.2 == expected.2
                && found.1 <= expected.1
                && found.1 + slack >= expected.1
        }
        _ => false,
    }
}

/// Ends a test with everything that went wrong.
fn report(failures: &[String], played: usize) {
    assert!(
        failures.is_empty(),
        "{} of {played} steps failed:\n\n{}\n",
        failures.len(),
        failures.join("\n\n")
    );
}

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
