//! Any octets as a message: the cursor stays within them, its readers agree with each other, and a message that the message
//! library reads is walked alike.
#![no_main]

use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use libfuzzer_sys::fuzz_target;
use pvtzd::engine::message::{
    HEADER, MAX_NAME_BYTES, MessageCursor, PointerBudget, SectionCounts, is_name_at, opt_record, wire_length,
};

/// The name at an octet, as all readers of names see it; where it ends.
fn name(message: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut cursor = MessageCursor::new(message, at);
    let mut wire = Vec::new();
    let expanded = cursor.expand_name(&mut wire, &mut PointerBudget::of(message));
    let mut skipped = MessageCursor::new(message, at);
    let passed = skipped.skip_name();
    let whole = MessageCursor::new(message, at).name();
    expanded?;
    assert_eq!(passed, Some(()), "what can be expanded can be passed over");
    assert_eq!(skipped.position(), cursor.position());
    assert!(cursor.position() <= message.len() && wire.len() <= MAX_NAME_BYTES);
    assert_eq!(wire_length(&wire), Some(wire.len()));
    assert!(is_name_at(message, at, &wire));
    assert!(whole.is_none_or(|whole| whole == wire));
    Some((wire, cursor.position()))
}

fuzz_target!(|bytes: &[u8]| {
    for at in 0..=bytes.len().min(200) {
        let Some((wire, _)) = name(bytes, at) else { continue };
        // the library refuses labels that overlap as well
        if let Ok(read) = Name::read(&mut BinDecoder::new(bytes).clone(at as u16)) {
            assert_eq!(Some(read), Name::from_bytes(&wire).ok());
        }
    }
    let Some(counts) = SectionCounts::of(bytes) else { return };
    let mut cursor = MessageCursor::new(bytes, HEADER);
    if cursor.skip_questions(counts.questions).is_none() {
        return;
    }
    let behind_questions = cursor;
    let mut records = Vec::new();
    for _ in 0..counts.records() {
        let Some(record) = cursor.record() else { break };
        assert!(record.start < record.ttl_at() && record.end() == cursor.position());
        assert!(record.end() <= bytes.len());
        assert_eq!(&bytes[record.data_at()..record.end()], record.data);
        let mut options = record.options();
        for option in options.by_ref() {
            assert_eq!(&record.data[option.at + 4..option.at + 4 + option.value.len()], option.value);
        }
        records.push(record);
    }
    let before = usize::from(counts.answers) + usize::from(counts.authorities);
    let opt = records.iter().skip(before).find(|record| record.is_opt()).map(|record| record.start);
    assert_eq!(opt_record(bytes).map(|record| record.start), opt);
    assert_eq!(behind_questions.opt().map(|record| record.start), opt);
    let Ok(message) = Message::from_vec(bytes) else { return };
    assert_eq!(records.len(), counts.records(), "a message that the library reads is walked whole");
    let read = message.answers.iter().chain(&message.authorities);
    for (read, record) in read.zip(&records) {
        assert_eq!((u16::from(read.record_type()), read.ttl), (record.rtype, record.ttl));
        let Some((owner, _)) = name(bytes, record.start) else { continue }; // more pointers than are followed
        assert_eq!(Some(read.name.clone()), Name::from_bytes(&owner).ok());
    }
    assert_eq!(message.edns.is_some(), opt.is_some());
});
