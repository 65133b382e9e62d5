//! The programs that listen on an address, from the kernel's tables. The address must match exactly, because
//! 127.0.0.53:53 and 127.0.0.1:53 may belong to two programs.

use crate::engine::sort;
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A listening program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOwner {
    /// The address.
    pub address: SocketAddr,
    /// UDP or TCP.
    pub protocol: &'static str,
    /// The programs with the socket that this process may see: name and process id.
    pub holders: Vec<(String, u32)>,
}

impl PortOwner {
    /// True if the socket receives datagrams or connections to `address`.
    pub fn covers(&self, address: SocketAddr) -> bool {
        let wildcard = self.address.ip().is_unspecified()
            && (self.address.is_ipv4() == address.is_ipv4() || self.address.is_ipv6());
        self.address.port() == address.port() && (self.address.ip() == address.ip() || wildcard)
    }

    /// The programs as text.
    pub fn held_by(&self) -> String {
        match self.holders.is_empty() {
            true => "an unknown program (run as root to see it)".into(),
            false => {
                let shown = self.holders.iter().map(|(name, pid)| format!("{name} (pid {pid})"));
                shown.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

/// The program that is bound to an address's port, as `name (pid N)`, if the kernel shows it. For the message of a
/// failed start.
pub fn owner(address: SocketAddr, protocol: &str) -> Option<String> {
    let listeners = on_port(address.port());
    let mut holders = listeners.iter().filter(|one| one.protocol == protocol).flat_map(|one| &one.holders);
    holders.next().map(|(name, pid)| format!("`{name}` (pid {pid})"))
}

/// All programs that listen on a port.
pub fn on_port(port: u16) -> Vec<PortOwner> {
    const TABLES: [(&str, &str); 4] = [
        ("UDP", "/proc/net/udp"),
        ("UDP", "/proc/net/udp6"),
        ("TCP", "/proc/net/tcp"),
        ("TCP", "/proc/net/tcp6"),
    ];
    let mut sockets: Vec<(&'static str, SocketAddr, u64)> = Vec::new();
    for (protocol, table) in TABLES {
        let text = fs::read_to_string(table).unwrap_or_default();
        sockets.extend(
            rows(&text, protocol == "TCP")
                .into_iter()
                .filter(|(address, _)| address.port() == port)
                .map(|(address, inode)| (protocol, address, inode)),
        );
    }
    let holders = if sockets.is_empty() { HashMap::new() } else { holders() };
    let mut found: Vec<PortOwner> = Vec::new();
    for (protocol, address, inode) in sockets {
        let own = holders.get(&inode).cloned().unwrap_or_default();
        // One address may have several sockets (SO_REUSEPORT): one for each thread.
        match found.iter_mut().find(|one| one.address == address && one.protocol == protocol) {
            Some(one) => one.holders.extend(own),
            None => found.push(PortOwner { address, protocol, holders: own }),
        }
    }
    for one in &mut found {
        sort::ascending(&mut one.holders);
        one.holders.dedup();
    }
    found
}

/// Local address and inode of each row; for TCP only listening sockets (state 0A).
fn rows(table: &str, listening: bool) -> Vec<(SocketAddr, u64)> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if listening && fields.get(3) != Some(&"0A") {
            return None;
        }
        Some((address(fields.get(1)?)?, fields.get(9)?.parse().ok()?))
    };
    table.lines().filter_map(row).collect()
}

/// Parses `0100007F:0035`: words of 32 bits in the byte order of this machine.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words: Option<Vec<u32>> =
        (0..ip.len() / 8).map(|word| u32::from_str_radix(ip.get(word * 8..word * 8 + 8)?, 16).ok()).collect();
    let octets: Vec<u8> = words?.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let ip = match octets.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// The visible owners of each socket, by inode.
fn holders() -> HashMap<u64, Vec<(String, u32)>> {
    let mut found: HashMap<u64, Vec<(String, u32)>> = HashMap::new();
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let (Some(pid), Ok(files)) = (pid, fs::read_dir(process.path().join("fd"))) else { continue };
        let links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        let inodes: Vec<u64> = links
            .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
            .collect();
        if !inodes.is_empty() {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            for inode in inodes {
                found.entry(inode).or_default().push((name.trim().to_string(), pid));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             1: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
             2: 0100007F:0035 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n\
             3: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1\n";
        let listening: Vec<String> =
            rows(table, true).iter().map(|(address, inode)| format!("{address} {inode}")).collect();
        assert_eq!(listening, ["127.0.0.53:53 4711", "[::1]:53 4713"]);
        assert_eq!(rows(table, false).len(), 3);
    }

    #[test]
    fn of_tcp_only_those_that_listen_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             1: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
             2: 0100007F:0035 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n\
             3: 0100007F:0036 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1\n";
        let on_53 = |listening| -> Vec<u64> {
            let rows = rows(table, listening).into_iter().filter(|(address, _)| address.port() == 53);
            rows.map(|(_, inode)| inode).collect()
        };
        assert_eq!(on_53(true), [4711]);
        assert_eq!(on_53(false), [4711, 4712]);
    }

    #[test]
    fn the_owner_of_our_own_socket_is_found() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let holder = owner(socket.local_addr().unwrap(), "UDP").unwrap();
        assert!(holder.contains(&format!("pid {}", std::process::id())), "{holder}");
    }

    #[test]
    fn our_own_socket_is_found_and_covers_what_it_should() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let found = on_port(address.port());
        let own = found.iter().find(|one| one.address == address).unwrap();
        assert!(own.holders.iter().any(|(_, pid)| *pid == std::process::id()), "{own:?}");
        assert!(own.covers(address) && !own.covers(SocketAddr::new([127, 0, 0, 2].into(), address.port())));
        let any = PortOwner { address: SocketAddr::new([0, 0, 0, 0].into(), 53), ..own.clone() };
        assert!(any.covers("127.0.0.9:53".parse().unwrap()) && !any.covers("[::1]:53".parse().unwrap()));
    }
}
