//! dhclient: its configuration gets our address in place of what leases say, and resolv.conf is written at once.

use super::{Draft, Wish};

/// Where its configuration may be, the usual place first.
const CONFS: [&str; 2] = ["/etc/dhcp/dhclient.conf", "/etc/dhclient.conf"];

/// Scripts that its script reads first, at each lease, where a folder is kept for them.
const HOOKS: &str = "/etc/dhcp/dhclient-enter-hooks.d";

/// Plans the configuration, a hook that counts for the dhclient that runs already, and our resolv.conf.
pub(super) fn plan(draft: &mut Draft<'_>, wish: &Wish) {
    let known = CONFS.iter().find(|path| draft.finding.files.contains_key(**path));
    let conf = known.unwrap_or(&CONFS[0]);
    let option = if wish.address.is_ipv6() { "dhcp6.name-servers" } else { "domain-name-servers" };
    let former = draft.finding.content(conf);
    let mut octets = former.octets().map(<[u8]>::to_vec).unwrap_or_default();
    let begin = if octets.is_empty() || octets.ends_with(b"\n") { "" } else { "\n" };
    let block = format!(
        "{begin}# begin pvtzd: `pvtzd resolver give-back` removes these lines\nsupersede {option} {};\n# end pvtzd\n",
        wish.address
    );
    octets.extend(block.as_bytes());
    let after = former.with_octets(octets);
    draft.edit_block(conf, after, Some(&block));
    if draft.finding.directories.contains(HOOKS) {
        let text = "# pvtzd answers for this machine; `pvtzd resolver give-back` removes this file.\n\
                    make_resolv_conf() { :; }\n";
        draft.edit(&format!("{HOOKS}/pvtzd"), super::content::Content::file(text));
    } else {
        draft.note(
            "the dhclient that runs has read its configuration already and may write /etc/resolv.conf once more at \
             its next lease; `pvtzd resolver status` shows it, restarting the network settles it",
        );
    }
    draft.own_resolv_conf(wish);
}
