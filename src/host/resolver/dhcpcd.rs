//! dhcpcd: a hook, which counts for the dhcpcd that runs already, keeps its script from writing resolv.conf and writes
//! the servers of each lease where the running pvtzd finds them.

use super::{Draft, ResolverTarget};
use crate::host::follow::FollowedSource;

/// A script that its script reads first, at each event (dhcpcd-run-hooks(8)).
pub(super) const HOOK: &str = "/etc/dhcpcd.enter-hook";

/// The folder in which the hook keeps a file for each interface and protocol.
const SERVERS: &str = "/run/pvtzd-dhcpcd";

/// Plans the hook and our resolv.conf.
pub(super) fn plan(draft: &mut Draft<'_>, wish: &ResolverTarget) {
    // What another network has advertised must not outlast a new start of dhcpcd. Router advertisements name servers as the
    // first and second RDNSS option of each router.
    let servers = "$new_domain_name_servers $new_dhcp6_name_servers $nd1_rdnss1_servers $nd1_rdnss2_servers \
                   $nd2_rdnss1_servers $nd2_rdnss2_servers";
    let lines = format!(
        "skip_hooks=\"$skip_hooks resolv.conf\"\n\
         case \"$reason\" in\n    \
         PREINIT | DEPARTED) rm -f \"{SERVERS}/$interface\" \"{SERVERS}/$interface\".* ;;\nesac\n\
         if ${{if_up:-false}} || [ \"$reason\" = ROUTERADVERT ]; then\n    \
         (\n        umask 022\n        mkdir -p {SERVERS}\n        \
         for server in {servers}; do\n            echo \"nameserver $server\"\n        \
         done >\"{SERVERS}/.${{ifname:-$interface}}\"\n        \
         mv -f \"{SERVERS}/.${{ifname:-$interface}}\" \"{SERVERS}/${{ifname:-$interface}}\"\n    )\n\
         elif ${{if_down:-false}}; then\n    rm -f \"{SERVERS}/${{ifname:-$interface}}\"\nfi\n"
    );
    draft.append(HOOK, &lines);
    draft.follow.push(FollowedSource::ResolvConf(SERVERS.into()));
    draft.own_resolv_conf(wish);
}
