//! A plain resolv.conf, or none: ours takes its place.

use super::detected::{Program, RESOLVED_RUN};
use super::{Draft, ResolverTarget};

/// Plans our resolv.conf; a link is replaced, what it led to stays.
pub(super) fn plan(draft: &mut Draft<'_>, wish: &ResolverTarget) {
    if draft.finding.dangles() {
        let target = draft.finding.resolv_conf_target.clone();
        let hint =
            match target.starts_with(RESOLVED_RUN) && !draft.finding.running.contains(&Program::Resolved) {
                true => "; systemd-resolved, which creates it, does not run",
                false => "",
            };
        draft.note(format!("/etc/resolv.conf is a dangling link to {target}{hint}; a file replaces it"));
    }
    draft.own_resolv_conf(wish);
}
