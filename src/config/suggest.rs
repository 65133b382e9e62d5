//! "Did you mean": the candidate that a word was most likely meant to be.

/// The nearest candidate, if one is near enough to be a slip of the finger rather than another word.
pub(super) fn suggest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > 64 {
        return None; // no slip, and the distance is quadratic
    }
    let folded = fold(word);
    let length = |word: &str| word.chars().count();
    let near = |candidate: &&'c str| {
        let other = fold(candidate);
        let allowed = (length(&folded).max(length(&other)) / 3).clamp(1, 3);
        let distance = strsim::osa_distance(&folded, &other);
        (distance <= allowed && distance < length(&other)).then_some(distance)
    };
    candidates
        .into_iter()
        .filter_map(|c| Some((near(&c)?, c)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// Case, hyphens and underscores are where people slip first.
fn fold(word: &str) -> String {
    word.chars().flat_map(char::to_lowercase).map(|c| if c == '-' { '_' } else { c }).collect()
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
            assert_eq!(suggest(word, keys), expected, "{word}");
        }
    }
}
