//! How things stand: who manages resolv.conf, where it leads, and what became of a take.

use super::conf::{Nameserver, Routing, leads, leads_among};
use super::content::Content;
use super::detected::{Detected, Manager, Program};
use super::enable::{EditedPlace, PlaceState, places};
use super::machine::Machine;
use super::resolved::{ASKED_TOO, DELEGATE, DROP_IN};
use super::store::{EnableRecord, RecordStore};
use super::trouble::ResolverError;
use super::{Names, RESOLV_CONF, detect, others, resolved};
use crate::host::resolv_conf;
use serde::Serialize;
use std::io;
use std::net::IpAddr;

/// How things stand.
#[derive(Debug, Serialize)]
pub struct ResolverStatus {
    /// The manager of resolv.conf.
    pub manager: Manager,
    /// The running services that affect it.
    pub running: Vec<Program>,
    /// The nameservers of resolv.conf.
    pub nameservers: Vec<Nameserver>,
    /// The servers that programs query.
    pub leads: Routing,
    /// The take in force, if there is one.
    pub taken: Option<EnabledStatus>,
    /// Notes for the user, one sentence each.
    pub notes: Vec<String>,
    /// The notes about settings of systemd-resolved or of an interface that conflict with pvtzd.
    #[serde(skip)]
    pub conflicts: Vec<String>,
}

/// What became of a take.
#[derive(Debug, Serialize)]
pub struct EnabledStatus {
    /// The time, in seconds since 1970.
    pub taken_at: u64,
    /// The address of pvtzd.
    pub address: IpAddr,
    /// The names directed to it.
    pub scope: Names,
    /// The former servers.
    pub upstream: Vec<Nameserver>,
    /// The state of each changed path.
    pub places: Vec<EditedPlace>,
    /// The take was completed.
    pub complete: bool,
    /// All changes are in place, and programs query only pvtzd.
    pub in_force: bool,
}

/// Looks how things stand. `address` is where pvtzd answers, if nothing was taken that says so; it has these zones.
///
/// # Errors
/// The machine or the record cannot be read.
pub fn status(
    machine: &Machine,
    store: &RecordStore,
    address: IpAddr,
    zones: &[String],
) -> Result<ResolverStatus, ResolverError> {
    let mut notes = Vec::new();
    let record = match store.read() {
        Err(ResolverError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            notes.push("only root can read the saved state: run this as root".to_string());
            None
        }
        read => read?,
    };
    let address = record.as_ref().map_or(address, |record| record.address);
    let finding = detect(machine, address)?;
    let leads = where_it_leads(&finding, address);
    let taken = record.map(|record| taken(machine, record, leads)).transpose()?;
    let text = finding.resolv_conf.as_deref().unwrap_or_default();
    if finding.dangles() {
        notes.push(format!("/etc/resolv.conf is a dangling link to {}", finding.resolv_conf_target));
    } else if finding.resolv_conf.is_none() {
        notes.push("there is no /etc/resolv.conf: programs query 127.0.0.1".to_string());
    }
    if let Some(links) = &finding.links {
        notes.extend(links.claiming_all().iter().map(|link| {
            format!("interface {link} claims all names for its own servers (`~.`): they are queried too")
        }));
    }
    let mut conflicts = Vec::new();
    if leads != Routing::Elsewhere && finding.manager() == Manager::Resolved {
        conflicts.extend(resolved::obstacles(&finding));
        let links = finding.links.iter();
        conflicts.extend(links.flat_map(|links| resolved::claimed(links, zones, leads == Routing::Mapped)));
    }
    notes.extend(conflicts.iter().cloned());
    let by_drop_in = finding.files.contains_key(DROP_IN);
    if leads == Routing::Mapped && by_drop_in {
        notes.push(ASKED_TOO.to_string());
    }
    if leads == Routing::Both {
        notes.push(format!(
            "other servers are configured beside pvtzd ({address}): some queries bypass it; make it the \
             only one with `pvtzd resolver take`"
        ));
    }
    if let Some(taken) = taken.as_ref().filter(|taken| !taken.in_force) {
        notes.push(what_became(&finding, taken));
    }
    Ok(ResolverStatus {
        manager: finding.manager(),
        running: finding.running.iter().copied().collect(),
        nameservers: resolv_conf::parse(text).servers.iter().map(Nameserver::from).collect(),
        leads,
        taken,
        notes,
        conflicts,
    })
}

/// What became of a take.
fn taken(machine: &Machine, record: EnableRecord, leads: Routing) -> Result<EnabledStatus, ResolverError> {
    let places = places(machine, &record)?;
    let whole = places.iter().all(|place| matches!(place.state, PlaceState::Ours | PlaceState::Embedded));
    Ok(EnabledStatus {
        taken_at: record.taken_at,
        address: record.address,
        scope: record.scope,
        upstream: record.upstream,
        complete: record.complete,
        in_force: whole && matches!(leads, Routing::Us | Routing::Mapped),
        places,
    })
}

/// Why a take is not in force, and what to do.
fn what_became(finding: &Detected, taken: &EnabledStatus) -> String {
    let of = |state: PlaceState| -> Vec<&str> {
        let places = taken.places.iter().filter(move |place| place.state == state);
        places.map(|place| place.path.as_str()).collect()
    };
    let (foreign, torn, former) = (of(PlaceState::Modified), of(PlaceState::Partial), of(PlaceState::Former));
    // pvtzd's resolv.conf has no comment of a manager: if there is one, the file was written since.
    let author = others::author(finding.resolv_conf.as_deref().unwrap_or_default());
    let written_again = |paths: &[&str]| paths.contains(&RESOLV_CONF);
    let again = written_again(&foreign) || (taken.complete && written_again(&former));
    if let (true, Some(author)) = (again, author) {
        let hint = match finding.manager() {
            Manager::Plain | Manager::CloudInit | Manager::Dhclient | Manager::NetworkManager => {
                "repeat `pvtzd resolver take`".to_string()
            }
            manager => others::refusal(manager, taken.address).hint,
        };
        format!("{} rewrote /etc/resolv.conf after the take: {hint}", author.title())
    } else if taken.complete && foreign.is_empty() && torn.is_empty() && !former.is_empty() {
        format!(
            "{} is again as it was before the take: it was put back since; repeat `pvtzd resolver take`, `pvtzd resolver give-back` undoes the rest",
            former.join(" and ")
        )
    } else if !foreign.is_empty() {
        let who = match finding.manager() {
            Manager::Plain => "another program".to_string(),
            manager => format!("another program, perhaps {},", manager.title()),
        };
        let is_gone = |path: &&str| finding.content(path) == Content::Absent;
        let done = if foreign.iter().all(is_gone) { "removed" } else { "changed" };
        format!(
            "{who} has {done} {} since; repeat `pvtzd resolver take`, `pvtzd resolver give-back` leaves \
             it as it is now, with --force puts back what was there before",
            foreign.join(" and ")
        )
    } else if !torn.is_empty() || !former.is_empty() {
        format!(
            "the take did not get to its end ({}): `pvtzd resolver take` begins again, `pvtzd resolver give-back` \
             undoes it",
            [torn, former].concat().join(" and ")
        )
    } else {
        "everything is in place, but programs do not reach pvtzd alone: see `pvtzd doctor`".to_string()
    }
}

/// The servers that programs query.
pub fn where_it_leads(finding: &Detected, address: IpAddr) -> Routing {
    let through_resolved =
        finding.running.contains(&Program::Resolved) && (finding.asks_stub() || finding.nss_resolve());
    if !through_resolved {
        return leads(finding.resolv_conf.as_deref().unwrap_or_default(), address);
    }
    let delegate = finding.text(DELEGATE).contains(&format!("DNS={address}\n"));
    let Some(links) = &finding.links else {
        // It cannot be queried: only its configuration is known.
        if delegate {
            return Routing::Mapped;
        }
        let drop_in = finding.text(DROP_IN);
        return match (drop_in.contains(&format!("DNS={address}\n")), drop_in.contains("Domains=~.\n")) {
            (false, _) => Routing::Elsewhere,
            (true, true) => Routing::Us,
            (true, false) if drop_in.contains("Domains=~. ") => Routing::Us,
            (true, false) => Routing::Mapped,
        };
    };
    // An older `resolvectl` does not show delegates; their files are read.
    let delegate = match links.delegates.values().find(|(servers, _)| servers.contains(&address)) {
        Some((_, domains)) => domains.iter().any(|domain| domain != "~."),
        None => delegate && links.delegates.is_empty(),
    };
    let of_links: Vec<IpAddr> = links.links.values().flat_map(|(servers, _)| servers.clone()).collect();
    let all = links.domains.iter().any(|domain| domain == "~.");
    let some = links.domains.iter().any(|domain| domain.starts_with('~'));
    match leads_among(&links.servers, address) {
        Routing::Us if !all && some && !of_links.is_empty() => Routing::Mapped,
        Routing::Us if (!all && !of_links.is_empty()) || (all && !links.claiming_all().is_empty()) => {
            Routing::Both
        }
        Routing::Elsewhere | Routing::Nowhere if delegate => Routing::Mapped,
        Routing::Nowhere if !of_links.is_empty() => leads_among(&of_links, address),
        other => other,
    }
}
