//! dhclient: a hook, which counts for the dhclient that runs already, keeps its script from writing resolv.conf, and its
//! leases tell the servers of the present network. Where its script reads no hooks, its configuration gets our address
//! in place of that in leases.

use super::content::{Content, FileOctets};
use super::{Draft, ResolverTarget};
use crate::host::follow::FollowedSource;

/// Where its configuration may be, the usual place first.
const CONFS: [&str; 2] = ["/etc/dhcp/dhclient.conf", "/etc/dhclient.conf"];

/// Where its script may be.
pub(super) const SCRIPTS: [&str; 2] = ["/usr/sbin/dhclient-script", "/sbin/dhclient-script"];

/// The folder of hooks that Debian's script reads first, at each lease.
const HOOKS: &str = "/etc/dhcp/dhclient-enter-hooks.d";

/// The hook that other scripts read first: Red Hat's, and ISC's own.
pub(super) const HOOK_FILES: [&str; 2] = ["/etc/dhcp/dhclient-enter-hooks", "/etc/dhclient-enter-hooks"];

/// Where it keeps its leases unless it is told: Debian's folder and Red Hat's.
pub(super) const LEASES: [&str; 2] = ["/var/lib/dhcp", "/var/lib/dhclient"];

/// The hook: the script calls this function to write resolv.conf.
const HOOK: &str = "make_resolv_conf() { :; }\n";

/// Plans the hook or the configuration, and our resolv.conf.
pub(super) fn plan(draft: &mut Draft<'_>, wish: &ResolverTarget) {
    let finding = draft.finding;
    let script = SCRIPTS.iter().map(|script| finding.text(script)).find(|text| !text.is_empty());
    let reads = |words: &str| script.as_ref().is_some_and(|text| text.contains(words));
    let has_hooks = match script {
        Some(_) => reads("dhclient-enter-hooks.d"),
        None => finding.directories.contains(HOOKS),
    };
    let hook_file = HOOK_FILES[usize::from(!reads("/etc/dhcp"))];
    if has_hooks {
        let text = format!(
            "# pvtzd answers for this machine; `pvtzd resolver give-back` removes this file.\n{HOOK}"
        );
        draft.edit(&format!("{HOOKS}/pvtzd"), Content::file(text));
        follow_leases(draft);
    } else if reads("dhclient-enter-hooks") && is_run(&finding.content(hook_file)) {
        hook_in(draft, hook_file);
        follow_leases(draft);
    } else {
        supersede(draft, wish);
    }
    draft.own_resolv_conf(wish);
}

/// True for a hook that a script runs: Red Hat's wants the execute bit. One that is not there is made with it.
fn is_run(content: &Content) -> bool {
    match content {
        Content::File { mode, .. } => mode & 0o100 != 0,
        Content::Absent => true,
        Content::Link { .. } => false,
    }
}

/// Plans our lines in the one hook.
fn hook_in(draft: &mut Draft<'_>, path: &str) {
    if draft.finding.content(path) == Content::Absent {
        let text = format!("{}{HOOK}{}", super::BEGIN, super::END);
        let octets = FileOctets(text.clone().into_bytes());
        draft.edit_block(path, Content::File { octets, mode: 0o755, uid: 0, gid: 0 }, Some(&text));
    } else {
        draft.append(path, HOOK);
    }
}

/// Names the files of leases: where each dhclient that runs was told to keep them, and the usual folders.
fn follow_leases(draft: &mut Draft<'_>) {
    let finding = draft.finding;
    let folders = LEASES.iter().filter(|folder| finding.directories.contains(**folder));
    let places = finding.lease_files.iter().map(String::as_str).chain(folders.copied());
    draft.follow.extend(places.map(|path| FollowedSource::Leases(path.into())));
}

/// Plans our address in its configuration. Its leases then name that address too: they cannot be followed.
fn supersede(draft: &mut Draft<'_>, wish: &ResolverTarget) {
    let known = CONFS.iter().find(|path| draft.finding.files.contains_key(**path));
    let conf = known.unwrap_or(&CONFS[0]);
    let option = if wish.address.is_ipv6() { "dhcp6.name-servers" } else { "domain-name-servers" };
    draft.append(conf, &format!("supersede {option} {};\n", wish.address));
    draft.note(
        "the running dhclient uses its old configuration and may write /etc/resolv.conf once more at its \
         next lease; `pvtzd resolver status` shows this, restarting the network fixes it",
    );
    draft.note(
        "dhclient's script runs no hooks: pvtzd cannot follow the servers of another network; list them in \
         [upstream] servers if this machine moves",
    );
}
