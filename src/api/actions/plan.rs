//! What an import comes to: a document and an account become a list of edits, or a list of everything that is wrong
//! with the document.
//!
//! Pure, and all or nothing. What a zone, a record or a rule may be is decided by the same functions as in the
//! actions that make them one by one.

use super::context::{ActionContext, LogLine};
use super::{line, plan_zone, rule, vpc};
use crate::account::Edit;
use crate::account::row::{Binding, LineRow, RuleRow};
use crate::account::value::DEFAULT_LINE;
use crate::api::ApiError;
use crate::api::document;
use crate::api::document::{CustomLine, Document, DocumentRule, DocumentVpc, Handle};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// What becomes of that which the document does not name.
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
const MAX_TOLD: usize = 1000;

impl Summary {
    /// Takes down a change.
    pub(super) fn note(&mut self, change: ChangeKind, kind: ItemKind, name: fmt::Arguments<'_>) {
        *self.counts.entry((change, kind)).or_default() += 1;
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

    /// Counts a record of a zone.
    pub(super) fn count_in_zone(&mut self, change: ChangeKind, zone: &str) {
        let counts = match self.zones.get_mut(zone) {
            Some(counts) => counts,
            None => self.zones.entry(zone.into()).or_default(),
        };
        counts[change as usize] += 1;
    }

    /// How many of a kind were added, changed or removed.
    pub fn count(&self, change: ChangeKind, kind: ItemKind) -> usize {
        self.counts.get(&(change, kind)).copied().unwrap_or_default()
    }
}

/// The edits that bring an account to a document.
///
/// # Errors
/// Everything that is wrong with the document.
pub fn plan(
    context: &ActionContext,
    document: &Document,
    mode: Mode,
) -> Result<(Vec<Edit>, Summary), Vec<PlanFault>> {
    let mut plan = ImportPlan {
        context,
        mode,
        lines: BTreeMap::new(),
        edits: Vec::new(),
        summary: Summary::default(),
        faults: Vec::new(),
        ids: 0,
        next_record: context.account.next_record(context.now()),
    };
    let dropped_lines = plan.lines(&document.custom_lines);
    plan_zone::zones(&mut plan, &document.zones);
    plan.rules(&document.rules);
    plan.edits.extend(dropped_lines);
    if !plan.faults.is_empty() {
        return Err(plan.faults);
    }
    if !plan.edits.is_empty() {
        let (content, name) = (plan.in_words(), "");
        let entry = LogLine { kind: "PV_ZONE", action: "import", entity: "", name, zone: "", content };
        plan.edits.extend(context.log(entry));
    }
    Ok((plan.edits, plan.summary))
}

/// A plan in the making.
pub(super) struct ImportPlan<'p> {
    /// What is there.
    pub(super) context: &'p ActionContext<'p>,
    /// What becomes of the rest.
    pub(super) mode: Mode,
    /// The ids of the lines that will be there, by name and by id.
    pub(super) lines: BTreeMap<String, String>,
    /// What is to be done.
    pub(super) edits: Vec<Edit>,
    /// The same in numbers and words.
    pub(super) summary: Summary,
    /// What is wrong.
    pub(super) faults: Vec<PlanFault>,
    ids: usize,
    next_record: u64,
}

impl ImportPlan<'_> {
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
    pub(super) fn sound<T>(&mut self, place: &str, result: Result<T, ApiError>) -> Option<T> {
        result.map_err(|error| self.faults.push(PlanFault { place: place.into(), error })).ok()
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

    /// Custom lines. Returned is what is to be dropped in the end, once no record goes by it.
    fn lines(&mut self, given: &[CustomLine]) -> Vec<Edit> {
        let present = self.context.account.lines();
        let (mut after, mut named): (Vec<LineRow>, HashSet<&str>) = (Vec::new(), HashSet::new());
        let mut places = Vec::new();
        for (at, line) in given.iter().enumerate() {
            let place = format!("custom line {} ({})", at + 1, line.name);
            let is_new = named.insert(&line.name);
            let former = present.values().find(|row| is_new && row.name == line.name);
            if line.name == DEFAULT_LINE {
                self.sound::<()>(
                    &place,
                    Err(ApiError::invalid("Name", "`default` is the line of all others")),
                );
            }
            let id = former.map_or_else(|| self.new_id(), |row| row.id.clone());
            let read = line::read(self.context, id, &line.params());
            let Some(read) = self.sound(&place, read) else { continue };
            let row = match former {
                None => read,
                Some(former) => LineRow { created: former.created, ..read },
            };
            match former {
                None => {
                    self.summary.note(ChangeKind::Added, ItemKind::CustomLines, format_args!("{}", row.name))
                }
                Some(former) if LineRow { updated: former.updated, ..row.clone() } != **former => {
                    self.summary.note(
                        ChangeKind::Changed,
                        ItemKind::CustomLines,
                        format_args!("{}", row.name),
                    );
                }
                Some(former) => {
                    after.push(LineRow::clone(former));
                    places.push(place);
                    continue;
                }
            }
            self.edits.push(Edit::Line(row.clone()));
            after.push(row);
            places.push(place);
        }
        let rest: Vec<_> = present.values().filter(|row| !named.contains(row.name.as_str())).collect();
        let mut dropped = Vec::new();
        for row in rest {
            if self.mode == Mode::Merge {
                after.push(LineRow::clone(row));
            } else {
                self.summary.note(ChangeKind::Removed, ItemKind::CustomLines, format_args!("{}", row.name));
                dropped.push(Edit::DropLine(row.id.clone()));
            }
        }
        for (place, row) in places.iter().zip(&after) {
            self.sound(place, line::check(after.iter(), row));
        }
        let words = after.into_iter().flat_map(|row| [(row.id.clone(), row.id.clone()), (row.name, row.id)]);
        self.lines = words.collect();
        dropped
    }

    /// Forwarding rules.
    fn rules(&mut self, given: &[DocumentRule]) {
        let mut present: Vec<_> = self.context.account.rules().values().collect();
        present.sort_by_key(|row| (row.created, &row.id));
        let known: Vec<Handle> = present.iter().map(|row| handle(row)).collect();
        let handles: Vec<Handle> = given.iter().map(Handle::of_rule).collect();
        let pairs = document::pair(&handles, &known);
        let (mut after, mut places): (Vec<RuleRow>, Vec<(String, bool)>) = (Vec::new(), Vec::new());
        for (at, (rule, former)) in given.iter().zip(&pairs).enumerate() {
            let former = former.map(|place| present[place]);
            let place = format!("rule {} ({})", at + 1, rule.zone_name);
            let former_bindings = former.map_or(&[][..], |row| &row.bindings);
            let bindings = self.bindings(&place, &rule.bind_vpcs, former_bindings);
            let id = former.map_or_else(|| self.new_id(), |row| row.id.clone());
            let read = rule::read(self.context, id, &rule.params());
            let Some(read) = self.sound(&place, read) else { continue };
            let row = match former {
                None => RuleRow { bindings, ..read },
                // The endpoint is no part of a document: it stays.
                Some(former) => {
                    RuleRow { bindings, endpoint: former.endpoint.clone(), created: former.created, ..read }
                }
            };
            let rebound = row.bindings != former_bindings;
            match former {
                None => self.summary.note(ChangeKind::Added, ItemKind::Rules, format_args!("{}", row.zone)),
                Some(former) if RuleRow { updated: former.updated, ..row.clone() } != **former => {
                    self.summary.note(ChangeKind::Changed, ItemKind::Rules, format_args!("{}", row.zone));
                }
                Some(former) => {
                    after.push(RuleRow::clone(former));
                    places.push((place, false));
                    continue;
                }
            }
            self.edits.push(Edit::Rule(row.clone()));
            after.push(row);
            places.push((place, rebound));
        }
        for (at, row) in present.iter().enumerate() {
            match self.mode {
                _ if pairs.contains(&Some(at)) => {}
                Mode::Merge => after.push(RuleRow::clone(row)),
                Mode::Replace => {
                    self.summary.note(ChangeKind::Removed, ItemKind::Rules, format_args!("{}", row.zone));
                    self.edits.push(Edit::DropRule(row.id.clone()));
                }
            }
        }
        for ((place, rebound), row) in places.iter().zip(&after) {
            if *rebound {
                self.sound(place, rule::check_names(self.context, after.iter(), row, &row.bindings));
            }
        }
    }

    /// The whole in one line, for the log.
    fn in_words(&self) -> String {
        let part = |(change, kind): (ChangeKind, ItemKind)| {
            format!("{kind:?} {change:?}: {}", self.summary.count(change, kind))
        };
        let parts: Vec<String> = self.summary.counts.keys().copied().map(part).collect();
        parts.join(", ")
    }
}

fn handle(row: &RuleRow) -> Handle {
    let vpcs = row.bindings.iter().map(|binding| binding.vpc.as_str());
    Handle { name: format!("{} {}", row.zone, row.name), ..Handle::new(&row.zone, vpcs) }
}

/// True where a VPC of a document says nothing else than a binding that is there.
fn is_same(vpc: &DocumentVpc, former: &[Binding]) -> bool {
    let agrees = |given: &Option<String>, has: &str| given.as_ref().is_none_or(|given| given == has);
    former.iter().any(|has| {
        has.vpc == vpc.vpc_id && agrees(&vpc.region_id, &has.region) && agrees(&vpc.vpc_type, &has.kind)
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
