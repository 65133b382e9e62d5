//! `[[hosts]]`: the names of a hosts file, with every fault by line.

use super::data_file::{self, LoadError, Loaded, TOLD};
use super::fault::{Fault, Severity};
use super::reader::{Span, Spanned};
use super::section::Section;
use super::sections;
use super::value::Value;
use crate::base::file;
use crate::base::file::WatchedFile;
use crate::engine::hosts::{Hosts, HostsOptions, Remarks};
use crate::engine::text::printable;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Octets of the largest hosts file that is read.
const LARGEST: u64 = 32 << 20;

/// Octets of all of them together.
const LARGEST_IN_ALL: u64 = 128 << 20;

/// Names that name no TTL have the product's default.
const DEFAULT_TTL: u32 = 60;

/// A hosts file as written.
pub(super) struct HostsEntry {
    /// The file.
    pub path: PathBuf,
    /// How it is read.
    pub options: HostsOptions,
    /// Its names.
    pub hosts: Hosts,
    /// Octets that were read.
    pub octets: u64,
    /// The file as it was when it was read.
    pub files: Arc<[WatchedFile]>,
    /// Where it is named.
    pub at: Span,
    /// Its VPCs; None means all clients.
    pub vpcs: Option<Vec<Spanned<String>>>,
}

/// Reads a `[[hosts]]`.
pub(super) fn hosts(section: &mut Section, without_localhost: bool) -> Option<HostsEntry> {
    let reader = section.reader();
    let path = section.require("file", "\"/etc/hosts\"", sections::not_empty);
    let ttl = section.take("ttl", Value::ttl).unwrap_or(DEFAULT_TTL);
    let vpcs = section.take("vpcs", sections::vpc_ids);
    let Spanned { value, at } = path?;
    let path = reader.folder().join(value);
    let options = HostsOptions { ttl, without_localhost };
    let loaded = load(&path, options);
    let octets = loaded.octets;
    let (hosts, files) = loaded.or_note(reader, &at);
    Some(HostsEntry { path, options, hosts: hosts?, octets, files, at, vpcs })
}

/// Notes hosts files that are beyond the bound for all of them.
pub(super) fn check_octets(entries: &[HostsEntry], reader: &super::reader::ConfigReader) {
    let mut octets = 0;
    for entry in entries {
        octets += entry.octets;
        if octets > LARGEST_IN_ALL {
            let message =
                format!("the hosts files up to this one have {octets} octets; the limit is {LARGEST_IN_ALL}");
            return reader.error(&entry.at, message, "leave some out".to_string());
        }
    }
}

/// Reads the names of a hosts file.
pub fn load(path: &Path, options: HostsOptions) -> Loaded<Hosts> {
    let files = Arc::from([WatchedFile::now(path)]);
    let shown = printable(&path.display().to_string()).into_owned();
    let octets = match file::read(path, LARGEST) {
        Ok(octets) => octets,
        Err(error) => {
            let content = Err(LoadError::Unreadable(format!("cannot read {shown}: {error}")));
            return Loaded { content, warnings: Vec::new(), files, octets: 0 };
        }
    };
    let text = String::from_utf8_lossy(&octets); // comments may be in any encoding
    Loaded { files, octets: octets.len() as u64, ..read(path, &text, options) }
}

/// Reads the names of a text; `path` is what it is called.
pub fn read(path: &Path, text: &str, options: HostsOptions) -> Loaded<Hosts> {
    let shown = printable(&path.display().to_string()).into_owned();
    let read = Hosts::read(&shown, text, options);
    let faults = |severity, remarks: &Remarks| -> Vec<Fault> {
        let line = |number: usize| text.split('\n').nth(number - 1).unwrap_or_default().trim_end();
        let told = remarks.told.iter().take(TOLD);
        told.map(|(number, why)| data_file::fault(severity, path.into(), *number, why.clone(), line(*number)))
            .collect()
    };
    let mut warnings = faults(Severity::Warning, &read.left_out);
    let beyond = |remarks: &Remarks| (remarks.told.len() + remarks.more).saturating_sub(TOLD);
    if let (Some(last), more @ 1..) = (warnings.last_mut(), beyond(&read.left_out)) {
        last.message += &format!(", and so are {more} more lines");
    }
    let content = match read.faults.told.is_empty() {
        true => Ok(read.hosts),
        false => {
            let told = faults(Severity::Error, &read.faults);
            Err(LoadError::Faults { told, more: beyond(&read.faults) })
        }
    };
    Loaded { content, warnings, files: Arc::default(), octets: text.len() as u64 }
}

#[cfg(test)]
#[path = "hosts_file_tests.rs"]
mod tests;
