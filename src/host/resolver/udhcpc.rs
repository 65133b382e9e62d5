//! udhcpc of BusyBox: its script writes the servers of each lease to another file, where the running pvtzd finds them.

use super::detected::Detected;
use super::{Draft, RESOLV_CONF, Refusal, ResolverTarget};
use crate::host::follow::FollowedSource;

/// The scripts that it runs unless it is told another one: Debian's, and that of other distributions.
pub(super) const SCRIPTS: [&str; 2] = ["/etc/udhcpc/default.script", "/usr/share/udhcpc/default.script"];

/// The settings that the script of Alpine reads.
pub(super) const CONF: &str = "/etc/udhcpc/udhcpc.conf";

/// The file that the script writes instead of resolv.conf.
const SERVERS: &str = "/run/pvtzd-udhcpc.conf";

/// The script that udhcpc runs.
pub(super) fn script(finding: &Detected) -> String {
    let is_there = |path: &&&str| finding.files.contains_key(**path);
    let default = SCRIPTS.iter().find(is_there).unwrap_or(&SCRIPTS[1]);
    finding.udhcpc_script.clone().unwrap_or(default.to_string())
}

/// Plans a setting for the script, and our resolv.conf.
///
/// # Errors
/// The script has no such setting.
pub(super) fn plan(draft: &mut Draft<'_>, wish: &ResolverTarget) -> Result<(), Refusal> {
    let script = script(draft.finding);
    let text = draft.finding.text(&script);
    let setting = format!("RESOLV_CONF=\"{SERVERS}\"\n");
    let assigned = text.split_inclusive('\n').scan(0, |end, line| {
        *end += line.len();
        Some((*end, line))
    });
    let assigned =
        assigned.filter(|(_, line)| line.starts_with("RESOLV_CONF=") && line.ends_with('\n')).last();
    match assigned {
        _ if text.contains(CONF) => draft.append(CONF, &setting),
        // An upgrade of a package replaces its files below /usr.
        Some((end, _)) if script.starts_with("/etc/") => draft.insert(&script, end, &setting),
        _ => {
            return Err(Refusal::new(
                format!(
                    "udhcpc writes {RESOLV_CONF} at each lease, by its script {script}, which has no setting \
                     matches \
                     matches for it"
                ),
                format!(
                    "let the script write to {SERVERS} instead of {RESOLV_CONF}, list this machine's \
                     current servers in [upstream] servers, then `pvtzd resolver take` again; udhcpc runs another script with `-s`"
                ),
            ));
        }
    }
    draft.follow.push(FollowedSource::ResolvConf(SERVERS.into()));
    draft.own_resolv_conf(wish);
    Ok(())
}
