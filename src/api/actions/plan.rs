//! What an import comes to: a document and an account become a list of edits, or a list of everything that is wrong
//! with the document.
//!
//! Pure, and all or nothing. What a zone, a record or a rule may be is decided by the same functions as in the
//! actions that make them one by one.

use super::bound_names::BoundNames;
use super::context::{ActionContext, LogLine};
use super::import_plan::{ChangeKind, ImportPlan, ItemKind, Mode, PlanFaults, Summary};
use super::{line, plan_zone, rule};
use crate::account::Edit;
use crate::account::row::{LineRow, RuleRow};
use crate::account::value::DEFAULT_LINE;
use crate::api::ApiError;
use crate::api::document;
use crate::api::document::{CustomLine, Document, DocumentRule, Handle};
use crate::engine::sort;
use std::collections::HashSet;

/// The edits that bring an account to a document.
///
/// # Errors
/// Everything that is wrong with the document.
pub fn plan(
    context: &ActionContext,
    document: &Document,
    mode: Mode,
) -> Result<(Vec<Edit>, Summary), PlanFaults> {
    let mut plan = ImportPlan::new(context, mode);
    let dropped_lines = plan.lines(&document.custom_lines);
    plan_zone::zones(&mut plan, &document.zones);
    plan.rules(&document.rules);
    plan.edits.extend(dropped_lines);
    if plan.faults.count > 0 {
        return Err(plan.faults);
    }
    if !plan.edits.is_empty() {
        let (content, name) = (plan.in_words(), "");
        let entry = LogLine { kind: "PV_ZONE", action: "import", entity: "", name, zone: "", content };
        plan.edits.extend(context.log(entry));
    }
    Ok((plan.edits, plan.summary))
}

impl ImportPlan<'_> {
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
        self.lines = sort::map(words);
        dropped
    }

    /// Forwarding rules.
    fn rules(&mut self, given: &[DocumentRule]) {
        let mut present: Vec<_> = self.context.account.rules().values().collect();
        sort::by_key(&mut present, |row| (row.created, &row.id));
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
                // The endpoint and the priorities are no part of a document: they stay.
                Some(former) => RuleRow {
                    bindings,
                    endpoint: former.endpoint.clone(),
                    priorities: former.priorities.clone(),
                    created: former.created,
                    ..read
                },
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
        let bound = BoundNames::of(after.iter().map(|row| (row, rule::suffix(row), &row.bindings[..])));
        for ((place, rebound), row) in places.iter().zip(&after) {
            if *rebound {
                let others = bound.beside(&rule::suffix(row), &row.bindings);
                self.sound(place, rule::check_names(self.context, others, row, &row.bindings));
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

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
