//! Messages of the daemon: at start, to the service manager, and about changes that take effect at the next start.

use super::Daemon;
use crate::admin::server::AdminServer;
use crate::config::{self, Config, Servers};
use crate::engine::name::show;
use crate::store;
use std::io::IsTerminal;

impl Daemon {
    /// Prints the start-up messages: a few lines on a terminal, log lines under a service manager.
    pub(super) fn log_startup(&self) {
        if self.settings.quiet {
            return;
        }
        let published = self.live.published();
        let listening: Vec<String> = self.listening.iter().map(ToString::to_string).collect();
        let mut zones: Vec<String> =
            published.catalog.zones().iter().map(|(zone, _)| show(&zone.name)).collect();
        zones.dedup();
        let forwards = self.forwards();
        if !std::io::stderr().is_terminal() {
            for (protocol, address) in &self.listening_encrypted {
                tracing::info!(listen = %address, "{protocol} is served");
            }
            tracing::info!(listen = listening.join(", "), zones = zones.len(), forwards, "ready");
            for address in self.station.iter().flat_map(|station| &station.addresses) {
                tracing::info!(listen = %address, "metrics and health are served");
            }
            if let Some(office) = &self.office {
                let (zones, durable) = (office.account().zone_count(), office.durable);
                tracing::info!(listen = ?office.addresses, zones, durable, "the PrivateZone API is ready");
                if !durable {
                    tracing::warn!(
                        "changes through the API are kept in memory only: there is no state directory"
                    );
                }
            }
            return;
        }
        let shown = zones.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more = if zones.len() > 3 { format!(" and {} more", zones.len() - 3) } else { String::new() };
        eprintln!("pvtzd {} listens on {} (UDP and TCP)", env!("CARGO_PKG_VERSION"), listening.join(", "));
        for (protocol, address) in &self.listening_encrypted {
            eprintln!("  and on {address} ({protocol})");
        }
        eprintln!("  answers   {}{more}", if zones.is_empty() { "no private zones" } else { &shown });
        eprintln!("  forwards  {forwards}");
        if let Some(office) = &self.office {
            let addresses: Vec<String> = office.addresses.iter().map(|at| format!("http://{at}")).collect();
            let kept = if office.durable { "saved on disk" } else { "in memory only: no state directory" };
            eprintln!(
                "  PrivateZone API at {}, key {}; {} zones, {kept}",
                addresses.join(", "),
                office.key,
                office.account().zone_count()
            );
        }
        for address in self.station.iter().flat_map(|station| &station.addresses) {
            eprintln!("  metrics   http://{address}/metrics");
        }
        if let Some(socket) = self.station.as_ref().and_then(AdminServer::socket) {
            eprintln!("  control   pvtzd status --socket {}", socket.display());
        }
        if let (Some(address), Some(name)) = (self.listening.first(), zones.first()) {
            eprintln!("  try       dig @{} -p {} {name}", address.ip(), address.port());
        }
    }

    /// The status line for `systemctl status`.
    pub(super) fn status(&self) -> String {
        let listening: Vec<String> = self.listening.iter().map(ToString::to_string).collect();
        let zones = self.live.published().catalog.zones().len();
        format!("on {}: {zones} zones; {}", listening.join(", "), self.forwards())
    }

    /// Warns that zones made through the API are not served without an API.
    pub(super) fn warn_of_unserved_zones(&self) {
        let Some(directory) = self.settings.state_dir.as_ref().filter(|_| self.office.is_none()) else {
            return;
        };
        let file = directory.join(store::FILE);
        if file.exists() {
            tracing::warn!(file = %file.display(), "there is no [control]: zones made through the API are \
                                                    not served");
        }
    }

    /// A short description of the upstreams.
    pub(super) fn forwards(&self) -> String {
        let servers: Vec<String> = match &self.config.upstream.servers {
            Servers::System => self.around.system.iter().map(ToString::to_string).collect(),
            Servers::Listed(servers) => servers.iter().map(ToString::to_string).collect(),
        };
        let rules = match self.config.forwards.len() {
            0 => String::new(),
            count => format!("; {count} forwarding rules"),
        };
        match servers.is_empty() {
            true => format!("nothing: no upstream servers{rules}"),
            false => format!("other names to {}{rules}", servers.join(", ")),
        }
    }

    /// Settings that take effect only at the start.
    pub(super) fn warn_what_needs_a_restart(&self, config: &Config) {
        let (new, old) = (&config.server, &self.config.server);
        let listens = |control: &Option<config::Api>| control.as_ref().map(|control| control.listen.clone());
        let names =
            |control: &Option<config::Api>| control.as_ref().map(|control| control.server_names.clone());
        let reading = |control: &Option<config::Api>| control.as_ref().map(|control| control.reading);
        let console = |control: &Option<config::Api>| control.as_ref().map(|control| control.console);
        let changed = [
            ("server.listen", new.listen != old.listen),
            ("server.listen_tls", new.listen_tls != old.listen_tls),
            ("server.listen_https", new.listen_https != old.listen_https),
            ("server.listen_quic", new.listen_quic != old.listen_quic),
            ("server.listen_http3", new.listen_http3 != old.listen_http3),
            ("server.max_in_flight", new.max_in_flight != old.max_in_flight),
            ("server.max_tcp_connections", new.max_tcp_connections != old.max_tcp_connections),
            ("server.max_tcp_per_client", new.max_tcp_per_client != old.max_tcp_per_client),
            ("server.tcp_pipeline", new.tcp_pipeline != old.tcp_pipeline),
            ("server.tcp_idle", new.tcp_idle != old.tcp_idle),
            ("server.cookies", new.cookies != old.cookies),
            ("server.max_rate_per_network", new.max_rate_per_network != old.max_rate_per_network),
            ("server.state_dir", new.state_dir != old.state_dir),
            ("cache", config.cache != self.config.cache),
            ("ops", config.ops != self.config.ops),
            ("fleet", config.fleet != self.config.fleet),
            ("log", config.log != self.config.log),
            ("control.listen", listens(&config.control) != listens(&self.config.control)),
            ("control.console", console(&config.control) != console(&self.config.control)),
            ("control.server_names", names(&config.control) != names(&self.config.control)),
            (
                "control.wildcards or control.on_missing_type",
                reading(&config.control) != reading(&self.config.control),
            ),
        ];
        for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(key, "this change takes effect at the next start");
        }
    }
}
