//! Padding of complete messages (RFC 7830), which hides the length of messages on an encrypted connection.

use super::message::{MAX_MESSAGE_BYTES, OPTION_PADDING, opt_record};

/// Block length of padded answers (RFC 8467 section 4.1).
const BLOCK: usize = 468;

/// True when a query has the padding option: only then may its answer have one (RFC 7830 section 4).
pub fn is_asked_for(query: &[u8]) -> bool {
    opt_record(query).is_some_and(|opt| opt.options().any(|option| option.code == OPTION_PADDING))
}

/// Pads the message that begins at `from` and ends with `buffer`. One without an OPT record at its end stays as it is.
pub fn pad(buffer: &mut Vec<u8>, from: usize) {
    let Some((data, end)) = buffer.get(from..).and_then(opt_record).map(|opt| (opt.data_at(), opt.end()))
    else {
        return;
    };
    let length = buffer.len() - from;
    let target = (length + 4).next_multiple_of(BLOCK).min(MAX_MESSAGE_BYTES);
    if end != length || target < length + 4 {
        return;
    }
    let padding = target - length - 4;
    buffer.extend(OPTION_PADDING.to_be_bytes());
    buffer.extend((padding as u16).to_be_bytes()); // below 468
    buffer.resize(from + target, 0);
    let options = (target - data) as u16; // a message is no longer than 65535
    buffer[from + data - 2..from + data].copy_from_slice(&options.to_be_bytes());
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
