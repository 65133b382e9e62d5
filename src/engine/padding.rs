//! Padding of finished messages (RFC 7830), so that their lengths say little to who looks at an encrypted
//! connection. What is in a message is no concern of this file.

/// What the lengths of padded answers are multiples of (RFC 8467 section 4.1).
const BLOCK: usize = 468;
/// Octets of a header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
/// Record type OPT (RFC 6891).
const OPT: u16 = 41;
/// EDNS option code of padding.
const PADDING: u16 = 12;
/// The longest message.
const MAX_MESSAGE_BYTES: usize = 65_535;

/// True when a query has the padding option: only then may its answer have one (RFC 7830 section 4).
pub fn is_asked_for(query: &[u8]) -> bool {
    option(query).unwrap_or(false)
}

/// Pads the message that begins at `from` and ends with `buffer`. One without an OPT record at its end stays as it is.
pub fn pad(buffer: &mut Vec<u8>, from: usize) {
    let Some((data, end)) = buffer.get(from..).and_then(opt) else { return };
    let length = buffer.len() - from;
    let target = (length + 4).next_multiple_of(BLOCK).min(MAX_MESSAGE_BYTES);
    if end != length || target < length + 4 {
        return;
    }
    let padding = target - length - 4;
    buffer.extend(PADDING.to_be_bytes());
    buffer.extend((padding as u16).to_be_bytes()); // below 468
    buffer.resize(from + target, 0);
    let options = (target - data) as u16; // a message is no longer than 65535
    buffer[from + data - 2..from + data].copy_from_slice(&options.to_be_bytes());
}

/// Whether a message's OPT record has the padding option; nothing when it has no OPT record.
fn option(message: &[u8]) -> Option<bool> {
    let (mut at, end) = opt(message)?;
    while at + 4 <= end {
        if u16_at(message, at)? == PADDING {
            return Some(true);
        }
        at += 4 + usize::from(u16_at(message, at + 2)?);
    }
    Some(false)
}

/// Where the options of a message's OPT record begin and end.
fn opt(message: &[u8]) -> Option<(usize, usize)> {
    let additionals = usize::from(u16_at(message, 10)?);
    if additionals == 0 {
        return None;
    }
    let mut at = HEADER;
    for _ in 0..u16_at(message, 4)? {
        at = after_name(message, at)? + 4;
    }
    let others = usize::from(u16_at(message, 6)?) + usize::from(u16_at(message, 8)?);
    for index in 0..others + additionals {
        let fixed = after_name(message, at)?;
        let data = fixed + 10;
        at = data + usize::from(u16_at(message, fixed + 8)?);
        if at > message.len() {
            return None;
        }
        if index >= others && u16_at(message, fixed)? == OPT {
            return Some((data, at));
        }
    }
    None
}

/// Where the name that begins at `at` ends.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xC0 == 0xC0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

/// The number in the two octets at `at`.
fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..at + 2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Edns, Message, Query};
    use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
    use hickory_proto::rr::{Name, RData, Record, RecordType, rdata::A};
    use proptest::prelude::*;

    fn message(answers: usize, edns: Option<Edns>) -> Vec<u8> {
        let name = Name::from_ascii("www.example.").unwrap();
        let mut message = Message::query();
        message.add_query(Query::query(name.clone(), RecordType::A));
        for n in 0..answers {
            let data = RData::A(A::new(192, 0, 2, n as u8));
            message.answers.push(Record::from_rdata(name.clone(), 60, data));
        }
        if let Some(edns) = edns {
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }

    fn edns(option: Option<EdnsOption>) -> Option<Edns> {
        let mut edns = Edns::new();
        option.into_iter().for_each(|option| edns.options_mut().insert(option));
        Some(edns)
    }

    #[test]
    fn padding_is_given_to_who_has_it() {
        assert!(!is_asked_for(&message(0, None)));
        assert!(!is_asked_for(&message(0, edns(None))));
        assert!(!is_asked_for(&message(0, edns(Some(EdnsOption::Unknown(10, vec![1; 8]))))));
        assert!(is_asked_for(&message(0, edns(Some(EdnsOption::Unknown(12, vec![0; 8]))))));
        assert!(is_asked_for(&message(0, edns(Some(EdnsOption::Unknown(12, vec![]))))));
    }

    #[test]
    fn a_padded_message_says_the_same_in_whole_blocks() {
        for answers in 0..100 {
            let error = EdnsOption::Unknown(15, vec![0, 3]);
            let plain = message(answers, edns((answers % 2 == 0).then_some(error)));
            let mut padded = b"before".to_vec();
            padded.extend(&plain);
            pad(&mut padded, 6);
            assert_eq!((padded.len() - 6) % BLOCK, 0);
            let (before, after) =
                (Message::from_vec(&plain).unwrap(), Message::from_vec(&padded[6..]).unwrap());
            assert_eq!(before.answers, after.answers);
            let (before, after) = (before.edns.unwrap(), after.edns.unwrap());
            assert_eq!(before.option(EdnsCode::Unknown(15)), after.option(EdnsCode::Unknown(15)));
            assert!(after.option(EdnsCode::Padding).is_some());
        }
    }

    #[test]
    fn a_message_without_opt_stays_as_it_is() {
        let plain = message(3, None);
        let mut padded = plain.clone();
        pad(&mut padded, 0);
        assert_eq!(plain, padded);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            is_asked_for(&bytes);
            pad(&mut bytes.clone(), 0);
        }
    }
}
