//! `[[zone]] file`: the records of a zone out of a zone file and what it includes, with every fault by file and line.

use super::data_file::{LoadError, Loaded, MAX_EXCERPT, TOLD, fault};
use super::fault::{Fault, Severity};
use crate::base::file::{self, WatchedFile};
use crate::engine::master::{self, MasterEntry, MasterState, Sink};
use crate::engine::name::NameKey;
use crate::engine::rrset::Rrset;
use crate::engine::sort;
use crate::engine::zone::{PackedZone, RecordFaultKind};
use crate::engine::zone_build::ZoneBuilder;
use hickory_proto::rr::{Name, RecordType};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that include each other, at most.
const DEPTH: usize = 16;

/// Octets of text that are kept until the zone is put together, for the lines of faults that show only then. Of a
/// longer text such a fault has its line's number alone.
const MAX_KEPT_BYTES: usize = 8 << 20;

/// What is wrong with another SOA record.
const SECOND_SOA: &str = "a second SOA record";

/// Octets of a zone file and all that it includes.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// Octets of a short line. A file gets room for one record per short line.
const SHORTEST_BYTES: usize = 12;

/// Records for which room is made before a file is read.
const MAX_RESERVED: usize = 1000;

/// Octets of the longest line, comments included.
const MAX_LINE_BYTES: usize = 16 << 20;

/// Reads the records of a zone.
pub fn load(path: &Arc<Path>, apex: &Name) -> Loaded<PackedZone> {
    let mut loading = Loading::new(apex);
    let read = loading.file(path, MasterState::new(apex));
    loading.loaded(read)
}

/// Reads the records of a zone from a text that came from elsewhere, and no file. `path` is what it is called.
pub fn read(path: &Path, text: String, apex: &Name) -> Loaded<PackedZone> {
    let mut loading = Loading { is_text: true, octets: text.len() as u64, ..Loading::new(apex) };
    let read = loading.content(path.into(), text, MasterState::new(apex));
    loading.loaded(Ok(read))
}

/// A fault: its file and line, what is wrong, and once its file was read the line itself.
type FileFault = (u16, u32, String, String);

/// A zone that is being read.
struct Loading {
    apex: NameKey,
    /// A text from elsewhere is read, which may include no files.
    is_text: bool,
    /// The folder of the zone file with links resolved, once it includes another; included files lie in it.
    folder: Option<PathBuf>,
    builder: ZoneBuilder,
    /// For each record given to the builder its file and line.
    places: Vec<(u16, u32)>,
    soa: Option<Rrset>,
    /// The same SOA record once more, behind other records: the end of a transfer, if it is the last record of all.
    end: Option<(u16, u32)>,
    /// The files read so far, and what is in them.
    files: Vec<(Arc<Path>, String)>,
    /// The same and those that could not be read, as they were before they were read.
    watched: Vec<WatchedFile>,
    /// Those that are being read, outermost first, by their places in `files`.
    open: Vec<usize>,
    octets: u64,
    /// Octets of text that are kept.
    kept: usize,
    faults: Vec<FileFault>,
    /// Faults that are counted only.
    more: usize,
}

impl Loading {
    /// Nothing is read yet.
    fn new(apex: &Name) -> Self {
        Self {
            apex: NameKey::of(apex),
            is_text: false,
            folder: None,
            builder: ZoneBuilder::new(NameKey::of(apex)),
            places: Vec::new(),
            soa: None,
            end: None,
            files: Vec::new(),
            watched: Vec::new(),
            open: Vec::new(),
            octets: 0,
            kept: 0,
            faults: Vec::new(),
            more: 0,
        }
    }

    /// What was read.
    fn loaded(mut self, read: Result<MasterState, String>) -> Loaded<PackedZone> {
        let (files, octets) = (std::mem::take(&mut self.watched).into(), self.octets);
        let (content, warnings) = match read {
            Ok(_) => self.finish(),
            Err(why) => (Err(LoadError::Unreadable(why)), Vec::new()),
        };
        Loaded { content, warnings, files, octets }
    }

    /// Reads a file.
    fn file(&mut self, path: &Arc<Path>, state: MasterState) -> Result<MasterState, String> {
        let shown = || crate::engine::text::printable(&path.display().to_string()).into_owned();
        let unreadable = |why: &dyn fmt::Display| format!("cannot read {}: {why}", shown());
        let place = match &self.folder {
            None => path.clone(), // with links resolved once it includes another
            Some(folder) => {
                let resolved = path.canonicalize();
                if resolved.is_err() {
                    self.watched.push(WatchedFile::now(path));
                }
                let resolved = resolved.map_err(|error| unreadable(&error))?;
                if !resolved.starts_with(folder) {
                    return Err(format!("{} is not in the directory of the zone file", shown()));
                }
                if self.open.iter().any(|&file| *self.files[file].0 == *resolved) {
                    return Err(format!("{} includes itself", shown()));
                }
                resolved.into()
            }
        };
        if self.open.len() == DEPTH || self.files.len() > usize::from(u16::MAX) {
            return Err(format!("{} is included over more than {DEPTH} files", shown()));
        }
        let text = self.text(path, &place).map_err(|why| unreadable(&why))?;
        Ok(self.content(place, text, state))
    }

    /// Reads what is in a file.
    fn content(&mut self, place: Arc<Path>, text: String, state: MasterState) -> MasterState {
        let records = (text.len() / SHORTEST_BYTES).min(MAX_RESERVED);
        self.places.reserve(records);
        self.builder.reserve(records);
        self.open.push(self.files.len());
        self.files.push((place, String::new()));
        let state = master::read(&text, state, self);
        if let Some(file) = self.open.pop() {
            quote(self.faults.iter_mut().filter(|fault| usize::from(fault.0) == file), &text);
            if self.kept + text.len() <= MAX_KEPT_BYTES {
                self.kept += text.len();
                self.files[file].1 = text; // for faults that show only when the zone is put together
            }
        }
        state
    }

    /// What is in a file at a place, which is that of a path with links resolved.
    fn text(&mut self, path: &Arc<Path>, place: &Path) -> Result<String, String> {
        let (state, read) = file::read_lines_watched(place, MAX_FILE_BYTES - self.octets, MAX_LINE_BYTES);
        self.watched.push(WatchedFile { path: path.clone(), state });
        let octets = read.map_err(|error| error.to_string())?;
        self.octets += octets.len() as u64;
        Ok(master::text_of(octets))
    }

    /// Position of the current record.
    fn place(&self, line: usize) -> (u16, u32) {
        let file = self.open.last().copied().unwrap_or(0);
        (u16::try_from(file).unwrap_or(u16::MAX), u32::try_from(line).unwrap_or(u32::MAX))
    }

    /// The zone, if nothing was wrong, and what is left out of it.
    fn finish(mut self) -> (Result<PackedZone, LoadError>, Vec<Fault>) {
        let builder = std::mem::replace(&mut self.builder, ZoneBuilder::new(self.apex.clone()));
        let (owners, faults) = builder.finish();
        let line_of = |places: &[(u16, u32)], record: usize| places.get(record).map_or(0, |place| place.1);
        let (mut twice, mut more) = (Vec::new(), 0);
        for fault in faults {
            let Some(&(file, line)) = self.places.get(fault.record) else { continue };
            let message = match fault.kind {
                RecordFaultKind::Duplicate(first) => {
                    let message =
                        format!("the same record is on line {} already", line_of(&self.places, first));
                    if twice.len() < TOLD {
                        twice.push((file, line, message, String::new()));
                    } else {
                        more += 1;
                    }
                    continue;
                }
                RecordFaultKind::CnameBesideOther(record) => format!(
                    "a CNAME excludes other records at its name, but there is one on line {}",
                    line_of(&self.places, record)
                ),
                RecordFaultKind::OutOfZone => {
                    let apex = crate::engine::text::show_wire(self.apex.wire());
                    format!("the name is not in zone `{apex}`; absolute names end in a dot")
                }
                kind => kind.to_string(),
            };
            self.note(file, line, message);
        }
        if more > 0
            && let Some(last) = twice.last_mut()
        {
            last.2 += &format!("; {more} more records are there twice");
        }
        let warnings = self.told(Severity::Warning, twice);
        match self.faults.is_empty() {
            true => (Ok(PackedZone::new(owners, self.soa)), warnings),
            false => {
                let faults = std::mem::take(&mut self.faults);
                let told = self.told(Severity::Error, faults);
                (Err(LoadError::Faults { told, more: self.more }), warnings)
            }
        }
    }

    fn note(&mut self, file: u16, line: u32, message: String) {
        if self.faults.len() < TOLD {
            self.faults.push((file, line, message, String::new()))
        } else {
            self.more += 1
        }
    }

    /// Faults in the order of files and lines, with those lines.
    fn told(&mut self, severity: Severity, mut faults: Vec<FileFault>) -> Vec<Fault> {
        sort::by_key(&mut faults, |fault| (fault.0, fault.1));
        if !faults.is_empty()
            && self.folder.is_none()
            && !self.is_text
            && let Some((path, _)) = self.files.first_mut()
            && let Ok(resolved) = path.canonicalize()
        {
            *path = resolved.into();
        }
        for faults in faults.chunk_by_mut(|one, two| one.0 == two.0) {
            if let Some((_, text)) = faults.first().and_then(|first| self.files.get(usize::from(first.0))) {
                quote(faults.iter_mut(), text);
            }
        }
        let told = faults.into_iter().filter_map(|(file, line, message, excerpt)| {
            let (path, _) = self.files.get(usize::from(file))?;
            Some(fault(severity, path.to_path_buf(), line as usize, message, &excerpt))
        });
        told.collect()
    }
}

/// Gives faults of a file that have no line yet the lines of its text.
fn quote<'f>(faults: impl Iterator<Item = &'f mut FileFault>, text: &str) {
    let faults = faults.filter(|fault| fault.3.is_empty());
    let mut wanted: BTreeMap<usize, Vec<&mut String>> = BTreeMap::new();
    faults.for_each(|(_, line, _, excerpt)| wanted.entry(*line as usize).or_default().push(excerpt));
    let mut lines = text.lines().enumerate();
    for (number, excerpts) in wanted {
        let line = lines.find(|(at, _)| at + 1 == number).map_or("", |(_, line)| line);
        excerpts.into_iter().for_each(|excerpt| *excerpt = line.chars().take(MAX_EXCERPT).collect());
    }
}

/// True for the same record.
fn is_same(one: &Rrset, two: &Rrset) -> bool {
    one.ttl == two.ttl && one.to_string() == two.to_string()
}

impl Sink for Loading {
    fn record(&mut self, entry: &MasterEntry<'_>) {
        let place = self.place(entry.line);
        if let Some(end) = self.end.take() {
            self.note(end.0, end.1, SECOND_SOA.into());
        }
        if entry.rtype == RecordType::SOA {
            let owner = NameKey::of_wire(entry.owner);
            if owner != self.apex {
                self.note(place.0, place.1, "an SOA record must be at the apex of its zone".into());
                return;
            }
            let soa = Rrset::of_wire(entry.ttl, entry.rtype, vec![entry.data]);
            match &self.soa {
                None => self.soa = Some(soa),
                Some(former) if is_same(former, &soa) && !self.places.is_empty() => {
                    self.end = Some(place);
                }
                Some(_) => self.note(place.0, place.1, SECOND_SOA.into()),
            }
            return;
        }
        self.places.push(place);
        self.builder.add_wire(entry.owner, entry.rtype, entry.ttl, entry.data, None);
    }

    fn fault(&mut self, line: usize, message: String) {
        let (file, line) = self.place(line);
        self.note(file, line, message);
    }

    fn include(&mut self, path: &str, state: MasterState) -> Result<MasterState, String> {
        if self.is_text {
            return Err("a text that is not read from this machine includes no files".into());
        }
        if self.folder.is_none()
            && let Some((first, _)) = self.files.first_mut()
        {
            *first = first.canonicalize().map_err(|error| error.to_string())?.into();
            self.folder = first.parent().map(Path::to_path_buf);
        }
        let from = self.open.last().and_then(|&file| self.files[file].0.parent().map(Path::to_path_buf));
        let beside = from.unwrap_or_default().join(path);
        // Other servers resolve it against one directory for all files.
        let below = self.folder.as_ref().map(|folder| folder.join(path)).filter(|below| below.exists());
        let path = if beside.exists() { beside } else { below.unwrap_or(beside) };
        self.file(&path.into(), state)
    }
}

#[cfg(test)]
#[path = "zone_file_tests.rs"]
mod tests;
