//! systemd-resolved: a drop-in makes pvtzd its own server, for all names or for some zones; its stub stays.

use super::content::Content;
use super::detected::{Detected, RESOLVED_RUN};
use super::resolvectl::Links;
use super::{Draft, Names, RESOLV_CONF, Refusal, ResolverTarget};
use crate::engine::sort;

/// Our drop-in. The last by name counts last.
pub(super) const DROP_IN: &str = "/etc/systemd/resolved.conf.d/zz-pvtzd.conf";

/// Our delegate, where systemd-resolved has them.
pub(super) const DELEGATE: &str = "/etc/systemd/dns-delegate.d/pvtzd.dns-delegate";

/// The first version of systemd with delegates.
const WITH_DELEGATES: u32 = 258;

/// What `--only-mapped` comes to without a delegate: a global server has a part in every name that no routing domain
/// matches.
pub(super) const ASKED_TOO: &str = "mapped names go only to pvtzd, all others to the other servers and, \
                                    while it runs, also to pvtzd: only systemd 258 and later can avoid this";

/// The stub's resolv.conf, as the link of the usual installation has it.
const STUB_LINK: &str = "../run/systemd/resolve/stub-resolv.conf";

/// Plans a drop-in, the stub for programs that went past it, and a reload.
pub(super) fn plan(draft: &mut Draft<'_>, wish: &ResolverTarget) -> Result<(), Refusal> {
    if setting(draft.finding, "DNSStubListener")
        .is_some_and(|value| ["no", "false", "0", "off"].contains(&value.as_str()))
        && !draft.finding.nss_resolve()
    {
        return Err(Refusal::new(
            "systemd-resolved runs, but its stub is disabled (DNSStubListener=no): programs bypass it",
            "enable the stub, or stop systemd-resolved and replace its link with a plain /etc/resolv.conf; \
             then try again",
        ));
    }
    let domains = match &wish.scope {
        Names::All => "~.".to_string(),
        Names::Only(zones) => zones.iter().map(|zone| format!("~{zone}")).collect::<Vec<_>>().join(" "),
    };
    // The lists of several files are joined; an empty value clears the list. Search domains stay, but the former
    // servers must go: they would be queried beside pvtzd.
    let search = search_domains(draft);
    let text = format!(
        "# pvtzd answers for this machine; `pvtzd resolver give-back` removes this file.\n[Resolve]\nDNS=\n\
         DNS={}\nDomains=\nDomains={domains}{search}\n",
        wish.address
    );
    let delegates = draft.finding.systemd.is_some_and(|version| version >= WITH_DELEGATES);
    let only = wish.scope != Names::All;
    if only && delegates {
        let text = format!(
            "# pvtzd answers for some zones; `pvtzd resolver give-back` removes this file.\n[Delegate]\nDNS={}\n\
             Domains={domains}\n",
            wish.address
        );
        draft.edit(DELEGATE, Content::file(text));
    } else {
        draft.edit(DROP_IN, Content::file(text));
    }
    if only && !delegates {
        draft.note(ASKED_TOO);
    }
    if !draft.finding.asks_stub() {
        // Programs read all servers: pvtzd and those of the interfaces.
        let was = draft.finding.resolv_conf_target.clone();
        draft.edit(RESOLV_CONF, Content::link(STUB_LINK));
        if !was.starts_with(RESOLVED_RUN) {
            draft.note(
                "/etc/resolv.conf becomes a link to systemd-resolved's stub, so that programs query only \
                 the stub",
            );
        }
    }
    // A reload may not read delegates again.
    let verb = if only && delegates { "restart" } else { "reload-or-restart" };
    draft.command(&["systemctl", verb, "systemd-resolved"], true);
    draft.command(&["resolvectl", "flush-caches"], false);
    draft.notes.extend(obstacles(draft.finding));
    let Some(links) = &draft.finding.links else { return Ok(()) };
    draft.notes.extend(claimed(links, &wish.zones, only));
    for link in links.claiming_all() {
        draft.notes.push(format!(
            "interface {link} claims all names for its own servers (`~.`): they are queried too, and the \
             first answer counts; remove `~.` from it"
        ));
    }
    if only && !delegates && links.links.values().all(|(servers, _)| servers.is_empty()) {
        draft.note("no interface has servers of its own: systemd-resolved will send all names to pvtzd");
    }
    Ok(())
}

/// Settings of systemd-resolved that keep answers of pvtzd's from programs, each a sentence.
pub(super) fn obstacles(finding: &Detected) -> Vec<String> {
    const YES: [&str; 4] = ["yes", "true", "1", "on"];
    let is = |key, values: &[&str]| setting(finding, key).filter(|value| values.contains(&value.as_str()));
    let mut found = Vec::new();
    if let Some(value) = is("DNSOverTLS", &YES) {
        found.push(format!(
            "resolved.conf has DNSOverTLS={value}: systemd-resolved queries pvtzd only over TLS, on port \
             853; set `DNSOverTLS=no` or `opportunistic`"
        ));
    }
    if let Some(value) = is("DNSSEC", &[&YES[..], &["allow-downgrade"]].concat()) {
        found.push(format!(
            "resolved.conf has DNSSEC={value}: systemd-resolved rejects private zones, which are not signed, below a \
             signed domain; set `DNSSEC=no`"
        ));
    }
    found
}

/// Domains of interfaces that lead names of these zones to other servers, each a sentence. The longest domain that
/// matches a name counts: with `only`, the zones themselves are domains of ours.
pub(super) fn claimed(links: &Links, zones: &[String], only: bool) -> Vec<String> {
    let tidy = |name: &str| name.trim_start_matches('~').trim_matches('.').to_ascii_lowercase();
    let below = |name: &str, parent: &str| name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    let mut found = Vec::new();
    for (link, (servers, domains)) in &links.links {
        for domain in domains.iter().filter(|domain| !servers.is_empty() && !tidy(domain).is_empty()) {
            let ours = zones.iter().find(|zone| {
                let (zone, domain) = (tidy(zone), tidy(domain));
                zone == domain || below(&domain, &zone) || (!only && below(&zone, &domain))
            });
            if let Some(zone) = ours {
                found.push(format!(
                    "interface {link} has the domain {domain}: systemd-resolved queries its servers for \
                     names of the zone {zone}; remove the domain from it (`resolvectl domain {link}`)"
                ));
            }
        }
    }
    found
}

/// The search domains of systemd-resolved's own configuration, each after a space.
fn search_domains(draft: &Draft<'_>) -> String {
    let mut domains: Vec<String> = Vec::new();
    for (key, value) in settings(draft.finding) {
        match key.as_str() {
            "Domains" if value.is_empty() => domains.clear(),
            "Domains" => {
                domains.extend(value.split_whitespace().filter(|d| !d.starts_with('~')).map(str::to_string));
            }
            _ => {}
        }
    }
    domains.iter().map(|domain| format!(" {domain}")).collect()
}

/// The last value of a key.
fn setting(finding: &Detected, key: &str) -> Option<String> {
    settings(finding)
        .into_iter()
        .rev()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.to_ascii_lowercase())
}

/// Keys and values of systemd-resolved's configuration, ours left out: the file, then drop-ins by their names,
/// whatever folder they are in.
fn settings(finding: &Detected) -> Vec<(String, String)> {
    let mut texts = vec![(String::new(), finding.text("/etc/systemd/resolved.conf"))];
    for folder in ["/usr/lib", "/run", "/etc"] {
        let folder = format!("{folder}/systemd/resolved.conf.d/");
        let below = finding.files_below(&folder).filter(|(path, _)| *path != DROP_IN);
        texts.extend(
            below.map(|(path, text)| (path.rsplit('/').next().unwrap_or_default().to_string(), text)),
        );
    }
    sort::by(&mut texts, |one, two| one.0.cmp(&two.0));
    let lines = texts.iter().flat_map(|(_, text)| text.lines());
    let pairs = lines
        .filter(|line| !line.trim_start().starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_string(), value.trim().to_string())).collect()
}
