//! The plan of an import in the making: what is to be done, in edits, numbers and words, and what is wrong.

use super::context::ActionContext;
use super::vpc;
use crate::account::row::{Binding, Record, ZoneRow};
use crate::account::value::DEFAULT_LINE;
use crate::account::{Edit, ZoneEntry};
use crate::api::ApiError;
use crate::api::document::{self, DocumentVpc, DocumentZone};
use std::collections::BTreeMap;
use std::fmt;

/// How entries that are not in the document are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It stays; the document adds, and changes what it names.
    Merge,
    /// It goes: the account becomes what the document says.
    Replace,
}

/// Something wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFault {
    /// Where: `zone a.example, record 3 (www A)`.
    pub place: String,
    /// What the action that makes such things one by one would say.
    pub error: ApiError,
}

impl fmt::Display for PlanFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.error)
    }
}

/// What is wrong with a document: the first faults, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanFaults {
    /// The first of them.
    pub told: Vec<PlanFault>,
    /// The number of all.
    pub count: usize,
}

/// Faults that are told; of more, the number.
const MAX_FAULTS: usize = 200;

/// What is done to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It was there and is another now.
    Changed,
    /// It is gone.
    Removed,
}

/// The kinds of things in a document, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKind {
    /// Zones, records apart.
    Zones,
    /// Records.
    Records,
    /// Forwarding rules.
    Rules,
    /// Custom lines.
    CustomLines,
}

/// What an import does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How much of what.
    pub counts: BTreeMap<(ChangeKind, ItemKind), usize>,
    /// The first of the changes, in words: `+ record www.a.example A 192.0.2.1`.
    pub changes: Vec<String>,
    /// Changes beyond these.
    pub omitted: usize,
    /// Records added, changed and removed, by the zone's name.
    pub zones: BTreeMap<String, [usize; 3]>,
}

/// Changes that are told one by one.
pub(super) const MAX_TOLD: usize = 1000;

impl Summary {
    /// Takes down a change.
    pub(super) fn note(&mut self, change: ChangeKind, kind: ItemKind, name: fmt::Arguments<'_>) {
        *self.counts.entry((change, kind)).or_default() += 1;
        self.tell(change, kind, name);
    }

    /// Puts a change into words.
    fn tell(&mut self, change: ChangeKind, kind: ItemKind, name: fmt::Arguments<'_>) {
        if self.changes.len() == MAX_TOLD {
            self.omitted += 1;
            return;
        }
        let sign = match change {
            ChangeKind::Added => '+',
            ChangeKind::Changed => '~',
            ChangeKind::Removed => '-',
        };
        let kind = match kind {
            ItemKind::Zones => "zone",
            ItemKind::Records => "record",
            ItemKind::Rules => "rule",
            ItemKind::CustomLines => "custom line",
        };
        self.changes.push(format!("{sign} {kind} {name}"));
    }

    /// Puts a change of a record into words; [`Summary::count_records`] counts it.
    pub(super) fn tell_record(&mut self, change: ChangeKind, zone: &str, row: Record<'_>) {
        let dot = if row.rr == "@" { ("", "") } else { (row.rr, ".") };
        let name = format_args!("{}{}{zone} {} {}", dot.0, dot.1, row.rtype, row.value);
        self.tell(change, ItemKind::Records, name);
    }

    /// Counts changes of records, and counts them in their zone.
    pub(super) fn count_records(&mut self, change: ChangeKind, zone: &str, count: usize) {
        if count > 0 {
            *self.counts.entry((change, ItemKind::Records)).or_default() += count;
            self.zones.entry(zone.into()).or_default()[change as usize] += count;
        }
    }

    /// How many of a kind were added, changed or removed.
    pub fn count(&self, change: ChangeKind, kind: ItemKind) -> usize {
        self.counts.get(&(change, kind)).copied().unwrap_or_default()
    }
}

/// A zone of the document, and what it is to be.
pub(super) struct Planned<'p> {
    /// Where it is, for messages.
    pub place: String,
    /// What the document says.
    pub zone: &'p DocumentZone,
    /// What there is.
    pub former: Option<&'p ZoneEntry>,
    /// The row that it is to have.
    pub row: ZoneRow,
}

/// A plan in the making.
pub(super) struct ImportPlan<'p> {
    /// The account before the import.
    pub(super) context: &'p ActionContext<'p>,
    /// How other entries are treated.
    pub(super) mode: Mode,
    /// The ids of the lines that will be there, by name and by id.
    pub(super) lines: BTreeMap<String, String>,
    /// What is to be done.
    pub(super) edits: Vec<Edit>,
    /// The same in numbers and words.
    pub(super) summary: Summary,
    /// What is wrong.
    pub(super) faults: PlanFaults,
    ids: usize,
    next_record: u64,
}

impl<'p> ImportPlan<'p> {
    /// A plan of nothing yet.
    pub(super) fn new(context: &'p ActionContext<'p>, mode: Mode) -> Self {
        Self {
            context,
            mode,
            lines: BTreeMap::new(),
            edits: Vec::new(),
            summary: Summary::default(),
            faults: PlanFaults::default(),
            ids: 0,
            next_record: context.account.next_record(context.now()),
        }
    }

    /// An id that nothing has.
    pub(super) fn new_id(&mut self) -> String {
        self.ids += 1;
        self.context.new_id(self.ids)
    }

    /// A record's id that nothing has.
    pub(super) fn new_record(&mut self) -> u64 {
        self.next_record += 1;
        self.next_record - 1
    }

    /// Takes down what is wrong, if anything is.
    pub(super) fn sound<T>(&mut self, place: impl fmt::Display, result: Result<T, ApiError>) -> Option<T> {
        let note = |error| {
            self.faults.count += 1;
            if self.faults.told.len() < MAX_FAULTS {
                self.faults.told.push(PlanFault { place: place.to_string(), error });
            }
        };
        result.map_err(note).ok()
    }

    /// The id of a line that a document names.
    pub(super) fn line(&self, word: Option<&str>) -> Option<String> {
        match word.filter(|word| !word.is_empty()) {
            None | Some(DEFAULT_LINE) => Some(DEFAULT_LINE.into()),
            Some(word) => self.lines.get(word).cloned(),
        }
    }

    /// The bindings that a document asks for. Those that are there already are not asked about again: an export
    /// must be good for an import even where a VPC has gone from the configuration since.
    pub(super) fn bindings(
        &mut self,
        place: &str,
        given: &[DocumentVpc],
        former: &[Binding],
    ) -> Vec<Binding> {
        let has = |id: &str| former.iter().any(|binding| binding.vpc == id);
        let is_given = |id: &str| given.iter().any(|vpc| vpc.vpc_id == id);
        let nothing_new = given.iter().all(|vpc| has(&vpc.vpc_id) && is_same(vpc, former));
        let all_kept = former.iter().all(|binding| is_given(&binding.vpc));
        if nothing_new && (all_kept || self.mode == Mode::Merge) {
            return former.to_vec();
        }
        let found = vpc::bindings(self.context, &document::vpc_items(given));
        let found = self.sound(place, found).unwrap_or_default();
        match self.mode {
            Mode::Merge => vpc::joined(former, found),
            Mode::Replace => found,
        }
    }
}

/// True where a VPC of a document says nothing else than a binding that is there.
fn is_same(vpc: &DocumentVpc, former: &[Binding]) -> bool {
    let agrees = |given: &Option<String>, has: &str| given.as_ref().is_none_or(|given| given == has);
    former.iter().any(|has| {
        has.vpc == vpc.vpc_id && agrees(&vpc.region_id, &has.region) && agrees(&vpc.vpc_type, &has.kind)
    })
}
