//! Whether a step of a scenario went as it should, and what to say when it did not.

use super::file::{Scenario, Step};

/// How a step went other than it should; nothing if it went well.
pub fn judge(
    scenario: &Scenario,
    step: &Step,
    found: &[String],
    asked: &[String],
    slack: u32,
) -> Option<String> {
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
pub fn report(failures: &[String], played: usize) {
    assert!(
        failures.is_empty(),
        "{} of {played} steps failed:\n\n{}\n",
        failures.len(),
        failures.join("\n\n")
    );
}
