//! Any text as a configuration: reading it never panics, a refusal says why, and what is accepted can be served.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pvtzd::config::{self, InstanceInfo, Severity};
use std::path::Path;

fuzz_target!(|text: &str| {
    match config::parse(text, Path::new("fuzz.toml")) {
        Ok((config, warnings)) => {
            assert!(warnings.iter().all(|fault| fault.severity == Severity::Warning));
            let catalog = config.catalog(&InstanceInfo::default(), 1);
            assert!(catalog.zones().len() >= config.zones.len(), "no zone of the file is left out");
            let _ = config.groups();
        }
        Err(faults) => {
            assert!(faults.iter().any(|fault| fault.severity == Severity::Error), "no reason");
            for fault in faults {
                assert!(!fault.render(true).is_empty());
            }
        }
    }
});
