//! The network of the instance: its addresses, and a default route that swallows packets.
//!
//! On a real instance without a public address a connection to the outside gets no answer at all; so here packets
//! to elsewhere go into the loopback interface, which drops what is for none of its addresses. An "unreachable" at
//! once would be another failure than the one to be rehearsed.

use super::{ADDRESS, INSIDE, InstanceError, METADATA, RESOLVERS, run};
use std::fs;
use std::net::Ipv4Addr;

/// Who may ping without rights, as the kernel takes it: first all groups, then the one that a user namespace has.
const PING_GROUPS: [&str; 2] = ["0 2147483647", "0 0"];

/// Brings the network up; `public` is one more address, that of public API names.
pub(super) fn bring_up(public: Option<Ipv4Addr>) -> Result<(), InstanceError> {
    run("ip", "iproute2", &["-batch", "-"], &batch(public))?;
    // Where this cannot be written, ping needs rights as it always did.
    let _ = PING_GROUPS.iter().any(|groups| fs::write("/proc/sys/net/ipv4/ping_group_range", groups).is_ok());
    Ok(())
}

/// What `ip` is to do.
fn batch(public: Option<Ipv4Addr>) -> String {
    let mut lines = vec!["link set lo up".to_string()];
    let addresses = [ADDRESS, METADATA, INSIDE].into_iter().chain(RESOLVERS).chain(public);
    lines.extend(addresses.map(|address| format!("address add {address}/32 dev lo")));
    lines.push(format!("route add default dev lo src {ADDRESS}"));
    lines.join("\n") + "\n"
}
