//! NetworkManager: told to leave resolv.conf alone, which then is ours.

use super::content::Content;
use super::{Draft, ResolverTarget};
use crate::host::follow::FollowedSource;

/// Our file among its configuration. The last by name counts last.
pub(super) const CONF: &str = "/etc/NetworkManager/conf.d/zz-pvtzd.conf";

/// Where it writes the servers of its connections, whatever it is told about resolv.conf.
const SERVERS: &str = "/run/NetworkManager/no-stub-resolv.conf";

/// Plans the file, a reload, and a resolv.conf of our own.
pub(super) fn plan(draft: &mut Draft<'_>, wish: &ResolverTarget) {
    draft.edit(
        CONF,
        Content::file(
            "# pvtzd answers for this machine; `pvtzd resolver give-back` removes this file.\n[main]\ndns=none\n",
        ),
    );
    // Before resolv.conf changes: a NetworkManager without this setting might write it again.
    let runs = draft.finding.running.contains(&super::detected::Program::NetworkManager);
    draft.command(&["systemctl", "reload", "NetworkManager"], runs);
    draft.follow.push(FollowedSource::ResolvConf(SERVERS.into()));
    draft.own_resolv_conf(wish);
}
