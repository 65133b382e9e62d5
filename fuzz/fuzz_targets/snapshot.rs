//! Any file as a snapshot of the cache: reading it never panics. The checksum is put right, or hardly any input
//! would come past it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pvtzd::engine::cache::{Timestamp, TtlPolicy};
use pvtzd::resolve::snapshot::decode;

const NOW: Timestamp = Timestamp(1 << 42);

fuzz_target!(|body: &[u8]| {
    let _ = decode(body, NOW, 1);
    let mut bytes = b"pvtzdsn\x01".to_vec();
    bytes.extend(0u64.to_be_bytes());
    bytes.extend((body.len() as u64).to_be_bytes());
    bytes.extend(body);
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    bytes.extend(sum.to_be_bytes());
    let Ok(entries) = decode(&bytes, NOW, 1) else { return };
    for (key, entry) in entries {
        let _ = (key.group(), key.rtype(), key.flags(), entry.freshness(NOW, &TtlPolicy::default()));
        let owner = key.name().to_name();
        let _ = (entry.answers(&owner, 1), entry.authority(&owner, 1));
    }
});
