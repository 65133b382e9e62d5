//! "Did you mean": the candidate that a word was most likely meant to be.

/// The nearest candidate, if one is near enough to be a slip of the finger rather than another word.
pub(super) fn of<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > 64 {
        return None; // no slip, and the distance is quadratic
    }
    let folded = fold(word);
    let near = |candidate: &&'c str| {
        let other = fold(candidate);
        let allowed = (folded.len().max(other.len()) / 3).clamp(1, 3);
        let distance = distance(&folded, &other);
        (distance <= allowed && distance < other.len()).then_some(distance)
    };
    candidates
        .into_iter()
        .filter_map(|c| Some((near(&c)?, c)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// Case, hyphens and underscores are where people slip first.
fn fold(word: &str) -> Vec<char> {
    word.chars().flat_map(char::to_lowercase).map(|c| if c == '-' { '_' } else { c }).collect()
}

/// Edits from one word to the other; two neighbours that changed places count once.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let keys = ["listen", "allow", "state_dir", "udp_payload", "zone", "zones"];
        for (word, expected) in [
            ("lisen", Some("listen")),
            ("litsen", Some("listen")),
            ("Listen", Some("listen")),
            ("state-dir", Some("state_dir")),
            ("udp_payloads", Some("udp_payload")),
            ("zone", Some("zone")),
            ("zoness", Some("zones")),
            ("address", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(of(word, keys), expected, "{word}");
        }
    }
}
