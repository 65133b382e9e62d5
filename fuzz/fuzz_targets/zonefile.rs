//! Any text as a zone file: reading it never panics or runs away, each entry is of a sound owner and sound data, and what
//! a zone takes of them can be looked up in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pvtzd::engine::master::{self, MasterEntry, MasterState, Sink};
use pvtzd::engine::name::{NameKey, parse, wire_length};
use pvtzd::engine::record;
use pvtzd::engine::zone::{Lookup, PackedZone, Zone, ZoneMode, ZoneSpec};
use pvtzd::engine::zone_build::ZoneBuilder;

/// Takes what the reader gives.
struct Taker {
    builder: ZoneBuilder,
    /// Lines of the text.
    lines: usize,
    told: usize,
}

impl Sink for Taker {
    fn record(&mut self, entry: &MasterEntry<'_>) {
        assert_eq!(wire_length(entry.owner), Some(entry.owner.len()), "an owner that is no name");
        assert!(entry.line >= 1 && entry.line <= self.lines, "a line that is not there");
        assert!(entry.ttl <= i32::MAX as u32);
        assert!(
            record::from_wire(entry.rtype, entry.data).is_ok(),
            "data of {} that cannot be read",
            entry.rtype
        );
        self.builder.add_wire(entry.owner, entry.rtype, entry.ttl, entry.data, None);
    }

    fn fault(&mut self, line: usize, message: String) {
        assert!(line >= 1 && line <= self.lines && !message.is_empty());
        self.told += 1;
    }

    fn include(&mut self, _: &str, _: MasterState) -> Result<(), String> {
        Err("no files here".into())
    }
}

fuzz_target!(|text: &str| {
    let Ok(apex) = parse("corp.example") else { return };
    let lines = text.matches('\n').count() + 1;
    let mut taker = Taker { builder: ZoneBuilder::new(NameKey::of(&apex)), lines, told: 0 };
    master::read(text, MasterState::new(&apex), &mut taker);
    assert!(taker.told <= lines, "more faults than lines");
    let owners = taker.builder.finish_with(|_| {});
    let spec =
        ZoneSpec { packed: Some(PackedZone::new(owners, None)), ..ZoneSpec::new(apex, ZoneMode::Override) };
    let zone = Zone::build_leniently(spec, 1);
    for (owner, set) in zone.rrsets().take(64) {
        assert!(
            matches!(zone.lookup(&owner, set.rtype), Lookup::Rrset(found) if found.len() == set.len()),
            "{owner}"
        );
    }
});
