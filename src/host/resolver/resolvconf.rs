//! resolvconf, in both kinds: a program that writes resolv.conf from the records of others. Debian's lists a loopback
//! address alone if the record of a local resolver, `lo.pvtzd`, names it; openresolv has settings for a local resolver.

use super::content::Content;
use super::{Draft, Refusal, ResolverTarget};
use crate::host::follow::FollowedSource;

/// Our record at Debian's resolvconf. By its name it comes before those of all interfaces (interface-order(5)).
const RECORD: &str = "lo.pvtzd";

/// Makes the record again after a boot, which clears all records.
pub(super) const UNIT_DROP_IN: &str = "/etc/systemd/system/pvtzd.service.d/zz-resolvconf.conf";

/// The settings of Debian's resolvconf.
pub(super) const SETTINGS: &str = "/etc/default/resolvconf";

/// The settings of openresolv.
pub(super) const OPENRESOLV: &str = "/etc/resolvconf.conf";

/// Plans the record.
///
/// # Errors
/// resolvconf would list other servers beside pvtzd.
pub(super) fn plan_debian(draft: &mut Draft<'_>, wish: &ResolverTarget) -> Result<(), Refusal> {
    let (address, program) = (wish.address, draft.finding.debian_resolvconf.clone());
    let program = program.unwrap_or_else(|| "/sbin/resolvconf".into());
    let why = "resolvconf writes /etc/resolv.conf here";
    if !address.is_loopback() {
        return Err(Refusal::new(
            format!(
                "{why}, and also lists the servers of the interfaces unless the first one is a loopback \
                 address; {address} is not"
            ),
            "let pvtzd listen on 127.0.0.1:53 as well, then `pvtzd resolver take --address 127.0.0.1`",
        ));
    }
    let settings = draft.finding.text(SETTINGS);
    if let Some(line) = settings.lines().find(|line| lists_others(line)) {
        return Err(Refusal::new(
            format!("{why}, and is configured to list other servers beside a local one: `{}`", line.trim()),
            format!("remove that line from {SETTINGS}, then `pvtzd resolver take` again"),
        ));
    }
    let add = format!("echo nameserver {address} | {program} -a {RECORD}");
    draft.command_and_back(&["sh", "-c", &add], &[&program, "-d", RECORD]);
    if draft.finding.directories.contains("/run/systemd/system") {
        // With `-`, so that pvtzd starts even if resolvconf fails.
        draft.edit(
            UNIT_DROP_IN,
            Content::file(format!(
                "# resolvconf loses its records at boot; `pvtzd resolver give-back` removes this file.\n[Service]\n\
                 ExecStartPost=-+/bin/sh -c '{add}'\n"
            )),
        );
        draft.command(&["systemctl", "daemon-reload"], false);
    } else {
        draft.note(format!("resolvconf loses its records at boot: run `{add}` after each start of pvtzd"));
    }
    draft.follow.push(FollowedSource::ResolvConf("/run/resolvconf/interface".into()));
    Ok(())
}

/// True for a setting that has servers listed behind a loopback address.
fn lists_others(line: &str) -> bool {
    let line = line.trim();
    let value = line.strip_prefix("TRUNCATE_NAMESERVER_LIST_AFTER_LOOPBACK_ADDRESS=");
    let value = value.or_else(|| line.strip_prefix("TRUNCATE_NAMESERVER_LIST_AFTER_127="));
    value.is_some_and(|value| {
        !["", "y", "yes"].contains(&value.trim_matches(['"', '\'']).to_ascii_lowercase().as_str())
    })
}

/// Plans the settings.
pub(super) fn plan_openresolv(draft: &mut Draft<'_>, wish: &ResolverTarget) {
    let address = wish.address;
    let program = draft.finding.openresolv.clone().unwrap_or_else(|| "resolvconf".into());
    // openresolv lists only an address that it considers local without the other servers.
    let local = match address.is_loopback() {
        true => String::new(),
        false => format!("local_nameservers=\"127.* 0.0.0.0 255.255.255.255 ::1 {address}\"\n"),
    };
    draft.append(
        OPENRESOLV,
        &format!("name_servers={address}\nname_servers_append=\n{local}resolv_conf_local_only=YES\n"),
    );
    draft.command(&[&program, "-u"], true);
    for folder in ["/run/resolvconf/interfaces", "/run/resolvconf/keys"] {
        draft.follow.push(FollowedSource::ResolvConf(folder.into()));
    }
}
