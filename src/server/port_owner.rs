//! Who holds a port: told to a person whose start failed.

use std::fs;
use std::net::SocketAddr;

/// The program that is bound to an address's port, as `name (pid N)`, if the kernel lets us see it.
pub fn of(address: SocketAddr, protocol: &str) -> Option<String> {
    let inodes = inodes_of(address.port(), protocol);
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = files.flatten().any(|file| {
            let target = fs::read_link(file.path()).ok();
            target.and_then(|link| socket_inode(link.to_str()?)).is_some_and(|inode| inodes.contains(&inode))
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("`{}` (pid {pid})", name.trim()));
        }
    }
    None
}

/// The inode in `socket:[12345]`.
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Inodes of the sockets that are bound to a port.
fn inodes_of(port: u16, protocol: &str) -> Vec<u64> {
    let tables: &[&str] = match protocol {
        "UDP" => &["/proc/net/udp", "/proc/net/udp6"],
        _ => &["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let text: String = tables.iter().filter_map(|table| fs::read_to_string(table).ok()).collect();
    bound_inodes(&text, port, protocol == "TCP")
}

/// The inode column of the lines whose local port matches; of TCP only those that listen (state 0A).
fn bound_inodes(table: &str, port: u16, listening: bool) -> Vec<u64> {
    let mut inodes = Vec::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, ..] = fields.as_slice() else { continue };
        let Some((_, hex)) = local.rsplit_once(':') else { continue };
        if u16::from_str_radix(hex, 16) != Ok(port) || (listening && *state != "0A") {
            continue;
        }
        inodes.extend(fields.get(9).and_then(|inode| inode.parse::<u64>().ok()));
    }
    inodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             1: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
             2: 0100007F:0035 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n\
             3: 0100007F:0036 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1\n";
        assert_eq!(bound_inodes(table, 53, true), [4711]);
        assert_eq!(bound_inodes(table, 53, false), [4711, 4712]);
    }

    #[test]
    fn our_own_socket_is_found() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let holder = of(socket.local_addr().unwrap(), "UDP").unwrap();
        assert!(holder.contains(&format!("pid {}", std::process::id())), "{holder}");
    }
}
