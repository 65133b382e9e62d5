//! cloud-init: writes resolv.conf at boot where it is told to, whoever else manages it; then it is told not to.

use super::Draft;
use super::content::Content;

/// Our file among its configuration. The last by name counts last.
const CONF: &str = "/etc/cloud/cloud.cfg.d/zz-pvtzd.cfg";

/// Plans the file, where cloud-init is and writes.
pub(super) fn plan(draft: &mut Draft<'_>) {
    let manages = draft.finding.manager() == super::Manager::CloudInit || draft.finding.cloud_init_writes();
    if manages && draft.finding.directories.contains("/etc/cloud") {
        draft.edit(
            CONF,
            Content::file(
                "# pvtzd answers for this machine; `pvtzd resolver give-back` removes this file.\n\
                 manage_resolv_conf: false\n",
            ),
        );
    }
}
