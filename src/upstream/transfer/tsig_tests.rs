//! Signatures: that what is signed is believed, and nothing else.

use super::*;
use crate::engine::name::parse;

const NOW: u64 = 1_790_000_000;

fn key(name: &str, secret: &[u8]) -> TsigKey {
    TsigKey::new(NameKey::of(&parse(name).unwrap()), TsigAlgorithm::Sha256, secret)
}

/// A message with this id and one question.
fn message(id: u8) -> Vec<u8> {
    [&[0, id, 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x04corp\x04test\0\0\xfc\0\x01"].concat()
}

fn parts(message: &[u8]) -> MessageParts<'_> {
    MessageParts::of(message).unwrap()
}

/// The answers to a signed request, each signed or not.
fn answers(key: &TsigKey, chain: &TsigChain<'_>, signed: &[bool], time: u64) -> Vec<Vec<u8>> {
    let mut digest = chain.digest.clone();
    let mut is_first = true;
    let answer = |(number, signed): (usize, &bool)| {
        let mut answer = message(number as u8);
        digest.update(&answer);
        if *signed {
            let timers = [&time.to_be_bytes()[2..], &FUDGE.to_be_bytes()].concat();
            digest.update(&if is_first { key.variables(time, FUDGE, 0, &[]) } else { timers });
            let mac = digest.clone().sign();
            key.append(&mut answer, time, FUDGE, mac.as_ref(), 0, &[]);
            digest = key.after(mac.as_ref());
            is_first = false;
        }
        answer
    };
    signed.iter().enumerate().map(answer).collect()
}

fn take(chain: &mut TsigChain<'_>, messages: &[Vec<u8>], now: u64) -> Result<(), TsigFault> {
    messages.iter().try_for_each(|message| chain.check(message, &parts(message), now))?;
    chain.end()
}

#[test]
fn every_algorithm_signs_and_checks() {
    for algorithm in [TsigAlgorithm::Sha256, TsigAlgorithm::Sha384, TsigAlgorithm::Sha512] {
        let key = TsigKey::new(NameKey::of(&parse("k.test").unwrap()), algorithm, b"secret");
        let mut request = message(1);
        let mut chain = key.sign(&mut request, NOW);
        let parts = parts(&request);
        let signed = Signed::of(&request, &parts).unwrap().unwrap();
        assert_eq!(key.check_request(&signed, NOW + 300), Ok(TsigTime::Right(NOW + 300)));
        let late = TsigTime::Wrong { theirs: NOW, ours: NOW + 301 };
        assert_eq!(key.check_request(&signed, NOW + 301), Ok(late));
        let mut answer = message(1);
        key.sign_answer(&mut answer, signed.mac, TsigTime::Right(NOW));
        assert_eq!(take(&mut chain, &[answer], NOW), Ok(()));
    }
}

#[test]
fn messages_between_two_signatures_count_for_the_next() {
    let key = key("k.test", b"secret");
    let mut request = message(0);
    let signed = [true, false, false, true, true];
    let chain = |request: &mut Vec<u8>| key.sign(request, NOW);
    let messages = answers(&key, &chain(&mut request.clone()), &signed, NOW);
    assert_eq!(take(&mut chain(&mut request), &messages, NOW), Ok(()));
    for place in 0..messages.len() {
        let mut changed = messages.clone();
        changed[place][13] ^= 1; // a letter of the question
        assert_eq!(take(&mut chain(&mut message(0)), &changed, NOW), Err(TsigFault::Mac), "{place}");
        let mut gone = messages.clone();
        gone.remove(place);
        assert!(take(&mut chain(&mut message(0)), &gone, NOW).is_err() || place == 4, "{place}");
    }
    assert_eq!(
        take(&mut chain(&mut message(0)), &messages[..3], NOW),
        Err(TsigFault::Missing),
        "the last is unsigned"
    );
    assert_eq!(take(&mut chain(&mut message(0)), &messages, NOW + 301), Err(TsigFault::Time(301)));
}

#[test]
fn too_many_unsigned_messages_are_not_believed() {
    let key = key("k.test", b"secret");
    for (unsigned, expected) in [(99, Ok(())), (100, Err(TsigFault::Missing))] {
        let signed: Vec<bool> = [vec![true], vec![false; unsigned], vec![true]].concat();
        let mut chain = key.sign(&mut message(0), NOW);
        let messages = answers(&key, &chain, &signed, NOW);
        assert_eq!(take(&mut chain, &messages, NOW), expected, "{unsigned}");
    }
}

#[test]
fn another_key_or_none_is_no_signature() {
    let (ours, same_name, other) =
        (key("k.test", b"secret"), key("k.test", b"other"), key("o.test", b"secret"));
    let mut request = message(0);
    let mut chain = ours.sign(&mut request, NOW);
    let answer = |key: &TsigKey| answers(key, &key.sign(&mut message(0), NOW), &[true], NOW);
    assert_eq!(take(&mut chain, &answer(&same_name), NOW), Err(TsigFault::Mac));
    assert_eq!(take(&mut chain, &answer(&other), NOW), Err(TsigFault::OtherKey));
    assert_eq!(take(&mut chain, &[message(0)], NOW), Err(TsigFault::Missing));
    assert_eq!(format!("{ours:?}"), "TsigKey(k.test hmac-sha256)");
}

#[test]
fn the_other_sides_refusal_is_told() {
    let key = key("k.test", b"secret");
    let mut request = message(0);
    let mut chain = key.sign(&mut request, NOW);
    let parts_of = parts(&request);
    let signed = Signed::of(&request, &parts_of).unwrap().unwrap();
    for (fault, error) in [(TsigFault::OtherKey, BADKEY), (TsigFault::Mac, BADSIG)] {
        let mut refusal = message(0);
        append_refusal(&mut refusal, &signed, fault);
        assert_eq!(chain.check(&refusal, &parts(&refusal), NOW), Err(TsigFault::Refused(error)));
    }
    let mut late = message(0);
    key.sign_answer(&mut late, signed.mac, TsigTime::Wrong { theirs: NOW, ours: NOW + 1000 });
    assert_eq!(chain.check(&late, &parts(&late), NOW), Err(TsigFault::Refused(BADTIME)));
}

#[test]
fn a_shortened_or_crooked_record_is_not_taken() {
    let key = key("k.test", b"secret");
    let mut request = message(0);
    key.sign(&mut request, NOW);
    for length in 29..request.len() {
        let cut = &request[..length];
        assert!(MessageParts::of(cut).is_none_or(|parts| Signed::of(cut, &parts).is_err()), "{length}");
    }
    let mut short = message(0);
    key.append(&mut short, NOW, FUDGE, &[7; 16], 0, &[]);
    let parts = parts(&short);
    let signed = Signed::of(&short, &parts).unwrap().unwrap();
    assert_eq!(key.check_request(&signed, NOW), Err(TsigFault::Mac), "a MAC is never taken shortened");
}
