//! Carrying a plan out, and taking it back. What was there is on disk before the first step; each step can be
//! undone from there, also by another process after a crash.

use super::content::Content;
use super::detected::{Detected, Manager};
use super::machine::Machine;
use super::store::{EnableRecord, RecordStore};
use super::trouble::ResolverError;
use super::{
    HostEdit, HostPlan, HostStep, Nameserver, RESOLV_CONF, ResolverTarget, Routing, detect, plan, resolved,
    where_it_leads,
};
use serde::Serialize;

/// What a take did.
#[derive(Debug)]
pub enum Enabled {
    /// The change is in force already.
    Already(EnableRecord),
    /// The change was made.
    Now(HostPlan),
}

/// What a give-back did.
#[derive(Debug, Default, Serialize)]
pub struct Restored {
    /// Each path with its result.
    pub places: Vec<EditedPlace>,
    /// Failures, one sentence each.
    pub notes: Vec<String>,
    /// Notes for the user, one sentence each.
    pub hints: Vec<String>,
}

/// A path that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EditedPlace {
    /// The path.
    pub path: String,
    /// Its state or result.
    pub state: PlaceState,
}

/// What is at a path, held against what we put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlaceState {
    /// The content that pvtzd wrote.
    Ours,
    /// A part of the content that pvtzd wrote: a crash.
    Partial,
    /// pvtzd's lines, in a file with other changes.
    Embedded,
    /// The former content.
    Former,
    /// Other content: the file was changed since.
    Modified,
}

/// What to do, without doing it. What was taken already is taken as given back.
///
/// # Errors
/// The machine cannot be looked at, or the wish is refused.
pub fn dry_run(
    machine: &Machine,
    store: &RecordStore,
    wish: &ResolverTarget,
) -> Result<(HostPlan, bool), ResolverError> {
    let taken = store.read()?.is_some_and(|record| is_in_force(machine, &record, wish));
    let finding = detect(machine, wish.address)?;
    Ok((plan(&finding, wish).map_err(ResolverError::Refused)?, taken))
}

/// Leads the machine's resolver to pvtzd. `check` says afterwards whether it works; if it does not, all is undone.
///
/// # Errors
/// It cannot be done, or does not work; everything is as it was.
pub fn enable(
    machine: &Machine,
    store: &RecordStore,
    wish: &ResolverTarget,
    taken_at: u64,
    check: impl FnOnce(&Detected) -> Result<(), String>,
) -> Result<Enabled, ResolverError> {
    let lock = store.lock()?;
    if let Some(record) = store.read()? {
        if is_in_force(machine, &record, wish) {
            return Ok(Enabled::Already(record));
        }
        // Other options, an interrupted take, or a later change: begin again. Files that were changed since are saved
        // as the new former state.
        undo(machine, &record, false)?;
        store.forget()?;
    }
    let result = begin(machine, store, wish, taken_at, check);
    if result.is_err() && matches!(store.read(), Ok(None)) {
        store.leave(lock);
    }
    result
}

/// The take itself, under the lock, with nothing taken yet.
fn begin(
    machine: &Machine,
    store: &RecordStore,
    wish: &ResolverTarget,
    taken_at: u64,
    check: impl FnOnce(&Detected) -> Result<(), String>,
) -> Result<Enabled, ResolverError> {
    let finding = detect(machine, wish.address)?;
    let plan = plan(&finding, wish).map_err(ResolverError::Refused)?;
    let mut record = EnableRecord {
        version: 1,
        taken_at,
        manager: plan.manager,
        address: wish.address,
        scope: wish.scope.clone(),
        upstream: finding.upstream.clone(),
        follow: plan.follow.clone(),
        steps: plan.steps.clone(),
        complete: false,
    };
    if let Err(trouble) = store.write(&record) {
        store.forget()?;
        return Err(trouble);
    }
    let done = plan.steps.iter().try_for_each(|step| carry_out(machine, step));
    let checked = done.and_then(|()| {
        let finding = detect(machine, wish.address)?;
        check(&finding).map_err(|problem| {
            let causes = match plan.manager {
                Manager::Resolved => resolved::obstacles(&finding),
                _ => Vec::new(),
            };
            ResolverError::Check([vec![problem], causes].concat().join("; "))
        })
    });
    if let Err(trouble) = checked {
        // If this fails too, the record stays, and `give-back` can be repeated.
        undo(machine, &record, false)?;
        store.forget()?;
        return Err(trouble);
    }
    record.complete = true;
    let _ = store.write(&record); // without it, `status` cannot distinguish a crash from a later change
    Ok(Enabled::Now(plan))
}

/// Gives back what is still ours; with `force` also files that were changed since. Nothing if nothing was taken.
///
/// # Errors
/// It cannot be done, or not wholly; it can be tried again.
pub fn restore(
    machine: &Machine,
    store: &RecordStore,
    force: bool,
) -> Result<Option<Restored>, ResolverError> {
    let lock = store.lock()?;
    let Some(mut record) = store.read()? else {
        store.leave(lock);
        return Ok(None);
    };
    let mut returned = undo(machine, &record, force)?;
    returned.hints.extend(is_elsewhere(machine, &record, &returned));
    // The files of pvtzd's hooks are not needed any more.
    let kept = record.follow.iter().filter_map(|source| source.path().to_str());
    kept.filter(|path| path.starts_with(super::KEPT)).for_each(|path| machine.discard(path));
    let foreign = |path: &str| {
        returned
            .places
            .iter()
            .any(|place| place.path == path && place.state == PlaceState::Modified && !force)
    };
    record.steps.retain(|step| matches!(step, HostStep::Edit(edit) if foreign(&edit.path)));
    if record.steps.is_empty() {
        store.forget()?;
        store.leave(lock);
    } else {
        store.write(&record)?; // for a later give-back with --force
    }
    Ok(Some(returned))
}

/// Tells where the machine is in another network than at the take, and a DHCP client is not told to write resolv.conf
/// at once, as NetworkManager and resolvconf are.
fn is_elsewhere(machine: &Machine, record: &EnableRecord, returned: &Restored) -> Option<String> {
    let is_client = matches!(record.manager, Manager::Dhclient | Manager::Dhcpcd | Manager::Udhcpc);
    let is_back = |place: &EditedPlace| {
        place.path == RESOLV_CONF && !matches!(place.state, PlaceState::Former | PlaceState::Modified)
    };
    if !is_client || !returned.places.iter().any(is_back) {
        return None;
    }
    let sources = record.follow.iter().map(|source| source.below(machine.root()).servers());
    let present = sources.map(|servers| servers.iter().map(Nameserver::from).collect::<Vec<_>>());
    let present = present.into_iter().find(|servers| !servers.is_empty())?;
    let is_known = present.iter().any(|server| record.upstream.contains(server));
    (!is_known).then(|| {
        let list =
            |servers: &[Nameserver]| servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!(
            "{RESOLV_CONF} lists the servers of the network at the time of the take ({}) until {} renews \
             its lease; those of the current network are {}",
            list(&record.upstream),
            record.manager.title(),
            list(&present)
        )
    })
}

/// What is at each path that was changed.
///
/// # Errors
/// A path cannot be read.
pub fn places(machine: &Machine, record: &EnableRecord) -> Result<Vec<EditedPlace>, ResolverError> {
    let place = |edit: &HostEdit| {
        let state = state(edit, &machine.content(&edit.path)?);
        Ok(EditedPlace { path: edit.path.clone(), state })
    };
    edits(record).map(place).collect()
}

/// What a give-back would put at each path, with what is there now; nothing where it would leave it.
///
/// # Errors
/// A path cannot be read.
pub fn dry_run_restore(
    machine: &Machine,
    record: &EnableRecord,
    force: bool,
) -> Result<Vec<(EditedPlace, Option<HostEdit>)>, ResolverError> {
    let change = |edit: &HostEdit| {
        let now = machine.content(&edit.path)?;
        let state = state(edit, &now);
        let after = returned(edit, &now, state, force);
        let change = after.map(|after| HostEdit { path: edit.path.clone(), before: now, after, block: None });
        Ok((EditedPlace { path: edit.path.clone(), state }, change))
    };
    edits(record).collect::<Vec<_>>().into_iter().rev().map(change).collect()
}

/// True when all that the wish means is there and does what it should: a crash may have come between a file and the
/// program that was to read it.
fn is_in_force(machine: &Machine, record: &EnableRecord, wish: &ResolverTarget) -> bool {
    let same = record.address == wish.address && record.scope == wish.scope;
    let ours = |places: Vec<EditedPlace>| places.iter().all(|place| place.state == PlaceState::Ours);
    let leads =
        |finding: Detected| matches!(where_it_leads(&finding, wish.address), Routing::Us | Routing::Mapped);
    same && places(machine, record).is_ok_and(ours) && detect(machine, wish.address).is_ok_and(leads)
}

/// The edits of a record.
fn edits(record: &EnableRecord) -> impl Iterator<Item = &HostEdit> {
    record.steps.iter().filter_map(|step| match step {
        HostStep::Edit(edit) => Some(edit),
        _ => None,
    })
}

/// One step.
fn carry_out(machine: &Machine, step: &HostStep) -> Result<(), ResolverError> {
    match step {
        HostStep::MakeDirectory { path } => machine.make_directory(path),
        HostStep::Edit(edit) => machine.put(&edit.path, &edit.after),
        HostStep::Command { words, required, .. } => match (tell(machine, words), required) {
            (Err(problem), true) => Err(ResolverError::Command { words: words.join(" "), problem }),
            _ => Ok(()),
        },
    }
}

/// Undoes what was done, as far as it is still ours: files from the last to the first, then programs are told.
fn undo(machine: &Machine, record: &EnableRecord, force: bool) -> Result<Restored, ResolverError> {
    let mut done = Restored::default();
    for (place, change) in dry_run_restore(machine, record, force)? {
        if let Some(change) = change {
            machine.put(&change.path, &change.after)?;
        }
        done.places.push(place);
    }
    for step in record.steps.iter().rev() {
        if let HostStep::MakeDirectory { path } = step {
            machine.remove_directory(path);
        }
    }
    for step in &record.steps {
        let HostStep::Command { words, back, required } = step else { continue };
        let words = back.as_ref().unwrap_or(words);
        if let Err(problem) = tell(machine, words)
            && *required
        {
            done.notes.push(format!("`{}` failed ({problem}): run it by hand", words.join(" ")));
        }
    }
    Ok(done)
}

/// Runs a command; what went wrong, in words.
fn tell(machine: &Machine, words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match machine.run(&words) {
        Ok(ran) if ran.success => Ok(()),
        Ok(ran) => Err(ran.stderr.lines().next().unwrap_or("it printed no reason").to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// What is at the path of an edit.
fn state(edit: &HostEdit, now: &Content) -> PlaceState {
    if now.is_same(&edit.after) {
        PlaceState::Ours
    } else if now.is_same(&edit.before) {
        PlaceState::Former
    } else if now.is_torn(&edit.before, &edit.after) {
        PlaceState::Partial
    } else if without_block(edit, now).is_some() {
        PlaceState::Embedded
    } else {
        PlaceState::Modified
    }
}

/// What is to lie at the path of an edit when it is given back; nothing to leave it.
fn returned(edit: &HostEdit, now: &Content, state: PlaceState, force: bool) -> Option<Content> {
    match state {
        PlaceState::Ours | PlaceState::Partial => Some(edit.before.clone()),
        PlaceState::Former => None,
        PlaceState::Embedded => without_block(edit, now),
        PlaceState::Modified => force.then(|| edit.before.clone()),
    }
}

/// The file without our lines, if they are in it once.
fn without_block(edit: &HostEdit, now: &Content) -> Option<Content> {
    let (block, octets) = (&edit.block.as_ref()?.0, now.octets()?);
    if block.is_empty() {
        return None;
    }
    let mut places = octets.windows(block.len()).enumerate().filter(|(_, window)| window == block);
    let (Some((at, _)), None) = (places.next(), places.next()) else { return None };
    let rest = [&octets[..at], &octets[at + block.len()..]].concat();
    Some(if rest.is_empty() && edit.before == Content::Absent {
        Content::Absent
    } else {
        now.with_octets(rest)
    })
}
