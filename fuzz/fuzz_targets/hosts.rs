//! Hosts files: whatever the text, reading ends, and each name that it gave is found again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pvtzd::engine::hosts::{Hosts, HostsLookup, HostsOptions};

fuzz_target!(|text: &str| {
    for without_localhost in [false, true] {
        let read = Hosts::read("hosts", text, HostsOptions { ttl: 60, without_localhost });
        for (name, set) in read.hosts.rrsets() {
            let found = read.hosts.lookup(&name, set.rtype);
            assert!(matches!(found, HostsLookup::Rrset(found) if found.len() == set.len()), "{name}");
        }
    }
});
