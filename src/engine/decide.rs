//! The policy: selects the source of the answer for a name, in PrivateZone's order.
//!
//! 1. A hosts file with exactly this name. It does not affect names below and above, except that those above exist.
//! 2. The private zone with the longest suffix, among those visible to the client. It answers names with records. It
//!    denies other names, or forwards them if its recursion proxy is on. A parent private zone is not consulted.
//! 3. The forwarding rule with the longest suffix, or a special-use name (RFC 6761, 6303), the longer of the two.
//! 4. The default upstreams.
//!
//! The target of a CNAME from any stage goes through the whole order again, in `chain`.

use super::catalog::{MatchedRule, View};
use super::hosts::HostsLookup;
use super::local::{LocalAnswer, LocalOutcome};
use super::name::NameKey;
use super::zone::{Lookup, MissingType, Rrset, Zone, ZoneAvailability, ZoneMode};
use hickory_proto::rr::RecordType;
use std::sync::Arc;

/// The source of the answer for a name, or the answer.
#[derive(Clone, Debug)]
pub enum Decision<'v> {
    /// A hosts file has the name, with or without this type.
    Hosts(Option<Rrset>),
    /// A private zone has the records.
    Found(&'v Arc<Zone>, Rrset),
    /// A private zone has a CNAME.
    Alias(&'v Arc<Zone>, Rrset),
    /// The zone is a secondary one without a copy that may be served; upstreams must not answer for its names.
    Unavailable(&'v Arc<Zone>),
    /// A private zone denies: the type, or (`true`) the name.
    Denied(&'v Arc<Zone>, bool),
    /// A special-use name.
    Local(LocalAnswer),
    /// RFC 8482: ANY is answered with HINFO, and never forwarded.
    MinimalAny(Option<&'v Arc<Zone>>),
    /// Forwarded to an upstream group.
    Forward {
        /// The rule that selected the group.
        rule: MatchedRule,
        /// The private zone that forwarded the name.
        through: Option<&'v Arc<Zone>>,
        /// The name exists locally, so that NXDOMAIN of the upstream becomes NODATA.
        exists: bool,
    },
}

/// Selects the source for `name`.
pub fn decide<'v>(view: &'v View, name: &NameKey, rtype: RecordType) -> Decision<'v> {
    let above = match view.hosts_of(name, rtype) {
        HostsLookup::Rrset(set) => return Decision::Hosts(Some(set)),
        HostsLookup::NoType if rtype == RecordType::ANY => return Decision::MinimalAny(None),
        HostsLookup::NoType => return Decision::Hosts(None),
        HostsLookup::Above => true,
        HostsLookup::Missing => view.is_above_a_zone(name),
    };
    let Some(zone) = view.zone_of(name) else {
        return outside(view, name, rtype, None, above);
    };
    if zone.availability != ZoneAvailability::Ready {
        return Decision::Unavailable(zone);
    }
    let proxied = zone.mode == ZoneMode::RecursionProxy;
    match zone.lookup(name, rtype) {
        Lookup::Rrset(set) => Decision::Found(zone, set),
        Lookup::Cname(set) if rtype == RecordType::ANY => Decision::Found(zone, set),
        Lookup::Cname(set) => Decision::Alias(zone, set),
        Lookup::NoType if rtype == RecordType::ANY => Decision::MinimalAny(Some(zone)),
        Lookup::NoType if proxied && zone.on_missing_type == MissingType::Forward => {
            outside(view, name, rtype, Some(zone), true)
        }
        Lookup::NoType => Decision::Denied(zone, false),
        Lookup::Empty if proxied => outside(view, name, rtype, Some(zone), true),
        Lookup::Missing if proxied => outside(view, name, rtype, Some(zone), above),
        Lookup::Empty => Decision::Denied(zone, false),
        // a private zone below makes the name an empty non-terminal
        Lookup::Missing => Decision::Denied(zone, !above),
    }
}

/// All stages after the private zones.
fn outside<'v>(
    view: &'v View,
    name: &NameKey,
    rtype: RecordType,
    through: Option<&'v Arc<Zone>>,
    exists: bool,
) -> Decision<'v> {
    let rule = view.rule_of(name);
    if let Some(mut local) = view.local_names().answer(name, rtype) {
        // by length of the suffix; a rule for exactly the name of a special zone has precedence
        let ruled = rule.suffix.as_ref().is_some_and(|suffix| suffix.wire().len() >= local.zone.wire().len());
        if !ruled {
            if exists && matches!(local.outcome, LocalOutcome::NxDomain) {
                local.outcome = LocalOutcome::NoData;
            }
            return Decision::Local(local);
        }
    }
    if rtype == RecordType::ANY {
        return Decision::MinimalAny(None);
    }
    Decision::Forward { rule, through, exists }
}
