//! `pvtzd fleet`: what operators do with a fleet, straight at its etcd. It needs no running server, but a configuration
//! with `[fleet]`.

use super::{CommonArgs, exit, shown, table};
use crate::config::{EtcdEndpoint, Fleet};
use crate::engine::text::printable;
use crate::fleet::head::{AcceptedRemoval, FleetHead, FleetSchema, NodeEntry};
use crate::fleet::messages::{EtcdRow, MemberStatus, RangeRequest, TxnCondition, TxnRequest, TxnStep};
use crate::fleet::node::node_name;
use crate::fleet::row::ROW_SCHEMA;
use crate::fleet::{EtcdClient, EtcdError, FleetKeys};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nodes that are read, and those of them that are printed as text.
const NODES: usize = 20_000;
const SHOWN: usize = 200;

/// Nodes in a page.
const PAGE: i64 = 40;

/// Octets of what a node tells of itself. Its list of addresses is all that varies.
const ENTRY: usize = 4 << 10;

/// Commands on a fleet.
#[derive(Debug, Subcommand)]
pub(super) enum FleetCommand {
    /// Show the members of etcd, the head, and the nodes with the revisions that they serve
    Status,
    /// Prepare etcd for a fleet: print the roles and users to create, and write the schema
    Init(FleetChange),
    /// Print the configuration of a node of the fleet
    Join,
    /// Accept a change that removes more than half of all rows, on all nodes
    Accept(FleetChange),
}

/// Options of commands that write.
#[derive(Args, Debug)]
pub(super) struct FleetChange {
    /// Print the changes without writing them
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, command: &FleetCommand) -> Result<u8, u8> {
    let config = common.load_or_tell()?;
    let Some(fleet) = config.fleet else {
        eprintln!("error: the configuration has no [fleet]");
        eprintln!("hint: add [fleet] with endpoints = [\"https://10.0.0.1:2379\"]; see docs/fleet.md");
        return Err(exit::CONFIG);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        eprintln!("error: cannot start: {error}");
        exit::SYSTEM
    })?;
    let subject =
        FleetSubject { client: EtcdClient::new(fleet.clone()), keys: FleetKeys::new(&fleet.prefix), fleet };
    let done = runtime.block_on(async {
        match command {
            FleetCommand::Status => subject.status(common.json).await,
            FleetCommand::Init(change) => subject.init(change.dry_run).await,
            FleetCommand::Join => subject.join().await,
            FleetCommand::Accept(change) => subject.accept(change.dry_run).await,
        }
    });
    done.map_err(|error| {
        eprintln!("error: etcd: {error}");
        if error.code == Some(7) {
            eprintln!("hint: this user may not do that; `pvtzd fleet init --dry-run` prints the roles");
        }
        exit::UNREACHABLE
    })
}

struct FleetSubject {
    client: EtcdClient,
    keys: FleetKeys,
    fleet: Fleet,
}

/// What `status --json` prints.
#[derive(Serialize)]
struct FleetReport {
    members: Vec<MemberReport>,
    head: Option<HeadReport>,
    schema: Option<FleetSchema>,
    nodes: Vec<NodeReport>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct MemberReport {
    endpoint: String,
    version: Option<String>,
    leader: bool,
    revision: Option<i64>,
    size: Option<i64>,
    fault: Option<String>,
}

#[derive(Serialize)]
struct HeadReport {
    revision: i64,
    seq: u64,
    rows: u64,
    digest: String,
    writer: String,
    at: u64,
    redo: bool,
}

#[derive(Serialize)]
struct NodeReport {
    node: String,
    #[serde(flatten)]
    entry: NodeEntry,
    /// It serves the newest head.
    current: bool,
}

impl FleetSubject {
    async fn head(&self) -> Result<(i64, Option<(i64, FleetHead)>), EtcdError> {
        let found = self.client.range(&RangeRequest::of_key(self.keys.head())).await?;
        let head =
            found.rows.first().and_then(|row| Some((row.modified, serde_json::from_slice(&row.value).ok()?)));
        Ok((found.header.revision, head))
    }

    async fn schema(&self) -> Result<Option<FleetSchema>, EtcdError> {
        let found = self.client.range(&RangeRequest::of_key(self.keys.schema())).await?;
        Ok(found.rows.first().and_then(|row| serde_json::from_slice(&row.value).ok()))
    }

    /// The nodes, page by page, and how many were left out. The entries are not trusted: a sidecar's role can write any.
    async fn nodes(&self, warnings: &mut Vec<String>) -> Result<(Vec<EtcdRow>, usize), EtcdError> {
        let mut request = RangeRequest { limit: PAGE, ..RangeRequest::of_prefix(self.keys.nodes()) };
        let (mut rows, mut seen) = (Vec::new(), 0);
        loop {
            let page = match self.client.range(&request).await {
                Ok(page) => page,
                Err(error) if error.code == Some(7) => {
                    warnings.push("this user may not read which nodes there are".into());
                    return Ok((rows, 0));
                }
                Err(error) => return Err(error),
            };
            seen += page.rows.len();
            let left = usize::try_from(page.count).unwrap_or(0).saturating_sub(page.rows.len());
            let Some(last) = page.rows.last().filter(|_| page.more) else {
                rows.extend(page.rows.into_iter().filter(is_short));
                return Ok((rows, 0));
            };
            request.key = [last.key.as_slice(), &[0]].concat();
            rows.extend(page.rows.into_iter().filter(is_short));
            if seen >= NODES {
                return Ok((rows, left));
            }
        }
    }

    async fn status(&self, json: bool) -> Result<u8, EtcdError> {
        let mut warnings = Vec::new();
        let mut members = Vec::new();
        for endpoint in self.client.endpoints() {
            members.push(member(endpoint, self.client.status_of(endpoint).await, &mut warnings));
        }
        let (_, head) = self.head().await?;
        let schema = self.schema().await?;
        let (found, left_off) = self.nodes(&mut warnings).await?;
        if left_off > 0 {
            warnings.push(format!("{left_off} more nodes are not read"));
        }
        let newest = head.as_ref().map_or(0, |(revision, _)| *revision);
        let node = |row: EtcdRow| {
            let name = String::from_utf8_lossy(row.key.get(self.keys.nodes().len()..)?).into_owned();
            let entry: NodeEntry = serde_json::from_slice(&row.value).ok()?;
            let current = entry.revision == newest;
            Some(NodeReport { node: name, entry, current })
        };
        let nodes: Vec<NodeReport> = found.into_iter().filter_map(node).collect();
        if schema.is_some_and(|schema| schema.min > ROW_SCHEMA) {
            warnings.push(format!("the rows have a newer schema than this version knows ({ROW_SCHEMA})"));
        }
        let old =
            nodes.iter().filter(|node| schema.is_some_and(|schema| node.entry.schema < schema.min)).count();
        if old > 0 {
            warnings
                .push(format!("{old} nodes do not know the schema of the rows: install a newer pvtzd there"));
        }
        let held = nodes.iter().filter(|node| node.entry.state == "held").count();
        if held > 0 {
            warnings.push(format!(
                "{held} nodes hold a removal of more than half of all rows: `pvtzd fleet accept`"
            ));
        }
        let head = head.map(|(revision, head)| HeadReport {
            revision,
            seq: head.seq,
            rows: head.rows,
            digest: head.digest,
            writer: head.writer,
            at: head.at,
            redo: head.redo.is_some(),
        });
        let report = FleetReport { members, head, schema, nodes, warnings };
        let is_well = report.members.iter().all(|member| member.fault.is_none()) && held == 0;
        if json {
            shown::json(&report);
        } else {
            print(&report);
        }
        Ok(if is_well { exit::OK } else { exit::FINDINGS })
    }

    async fn init(&self, dry_run: bool) -> Result<u8, EtcdError> {
        let prefix = self.keys.all();
        println!("# Roles and users for this fleet, to be made by root of etcd (ETCDCTL_API=3):");
        println!("etcdctl role add pvtzd-sidecar");
        println!("etcdctl role grant-permission pvtzd-sidecar --prefix=true read {}", self.keys.data());
        println!("etcdctl role grant-permission pvtzd-sidecar --prefix=true readwrite {}", self.keys.nodes());
        println!("etcdctl role add pvtzd-writer");
        println!("etcdctl role grant-permission pvtzd-writer --prefix=true readwrite {prefix}");
        println!(
            "# With passwords; with client certificates the user is the CN, and made with --no-password:"
        );
        println!("etcdctl user add pvtzd-sidecar && etcdctl user grant-role pvtzd-sidecar pvtzd-sidecar");
        println!("etcdctl user add pvtzd-writer && etcdctl user grant-role pvtzd-writer pvtzd-writer");
        println!("etcdctl auth enable");
        let schema = FleetSchema { min: ROW_SCHEMA, write: ROW_SCHEMA };
        if let Some(found) = self.schema().await? {
            println!("# The schema is there: readers must know {}, {} is written.", found.min, found.write);
            return Ok(exit::OK);
        }
        let value = serde_json::to_vec(&schema).unwrap_or_default();
        println!("# Schema: {} = {}", self.keys.schema(), String::from_utf8_lossy(&value));
        if dry_run {
            println!("# Not written (--dry-run).");
            return Ok(exit::OK);
        }
        let key = self.keys.schema().into_bytes();
        let conditions = vec![TxnCondition::ModifiedAt(key.clone(), 0)];
        let then = vec![TxnStep::Put(key, value, 0)];
        self.client.txn(&TxnRequest { conditions, then, otherwise: Vec::new() }).await?;
        println!("# Written.");
        Ok(exit::OK)
    }

    async fn join(&self) -> Result<u8, EtcdError> {
        let (_, head) = self.head().await?;
        let rows = head.map_or(0, |(_, head)| head.rows);
        println!("# etcd answers; the fleet has {rows} rows. The section of this node:");
        println!("[fleet]");
        let endpoints: Vec<String> =
            self.fleet.endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
        println!("endpoints = [{}]", endpoints.join(", "));
        println!("prefix = \"{}\"", self.fleet.prefix);
        println!("node = \"{}\"", node_name(&self.fleet));
        let path = |key: &str, path: &Option<std::path::PathBuf>| {
            if let Some(path) = path {
                println!("{key} = \"{}\"", path.display());
            }
        };
        if let Some(user) = &self.fleet.user {
            println!("user = \"{user}\"");
        }
        path("password_file", &self.fleet.password_file);
        path("certificate", &self.fleet.certificate);
        path("key", &self.fleet.key);
        path("ca", &self.fleet.ca);
        println!("# A user of its own for it, by root of etcd:");
        println!(
            "etcdctl user add pvtzd-{0} && etcdctl user grant-role pvtzd-{0} pvtzd-sidecar",
            node_name(&self.fleet)
        );
        Ok(exit::OK)
    }

    async fn accept(&self, dry_run: bool) -> Result<u8, EtcdError> {
        let (revision, _) = self.head().await?;
        println!("removals up to revision {revision} are accepted on all nodes");
        if dry_run {
            println!("not written (--dry-run)");
            return Ok(exit::OK);
        }
        let value = serde_json::to_vec(&AcceptedRemoval { revision }).unwrap_or_default();
        let then = vec![TxnStep::Put(self.keys.accept().into(), value, 0)];
        self.client.txn(&TxnRequest { then, ..TxnRequest::default() }).await?;
        Ok(exit::OK)
    }
}

/// What is longer no node has written.
fn is_short(row: &EtcdRow) -> bool {
    row.key.len() + row.value.len() <= ENTRY
}

fn member(
    endpoint: &EtcdEndpoint,
    status: Result<MemberStatus, EtcdError>,
    warnings: &mut Vec<String>,
) -> MemberReport {
    let endpoint = endpoint.to_string();
    match status {
        Ok(status) => {
            if let Some(warning) = version_warning(&status.version) {
                warnings.push(format!("{endpoint}: etcd {}: {warning}", status.version));
            }
            if status.leader == 0 {
                warnings.push(format!("{endpoint}: it knows no leader"));
            }
            warnings.extend(status.errors.iter().map(|error| format!("{endpoint}: {error}")));
            MemberReport {
                leader: status.leader != 0 && status.leader == status.header.member,
                endpoint,
                version: Some(status.version),
                revision: Some(status.header.revision),
                size: Some(status.size),
                fault: None,
            }
        }
        Err(error) => MemberReport {
            endpoint,
            version: None,
            leader: false,
            revision: None,
            size: None,
            fault: Some(error.message),
        },
    }
}

/// What is known against a version of etcd.
fn version_warning(version: &str) -> Option<&'static str> {
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>().ok());
    let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()??);
    match (major, minor, patch) {
        (3, 4, ..36) => Some(
            "its watches lose events after a compaction; pvtzd finds and mends that, later. Install 3.4.36 or newer",
        ),
        (3, 4, _) => Some(
            "its roles do not keep a user that may read one key from watching others (GHSA-xg4h-6gfc-h4m8)",
        ),
        (3, 5, ..33) | (3, 6, ..14) | (3, 7, ..1) => {
            Some("its roles can be passed by (GHSA-xg4h-6gfc-h4m8): install 3.5.33, 3.6.14, 3.7.1 or newer")
        }
        (3, 5.., _) | (4.., ..) => None,
        _ => Some("it is older than what pvtzd is tested with (3.4.23)"),
    }
}

fn print(report: &FleetReport) {
    let rows = report.members.iter().map(|member| {
        vec![
            member.endpoint.clone(),
            member.version.clone().unwrap_or_else(|| "-".into()),
            if member.leader { "leader".into() } else { String::new() },
            member.revision.map_or("-".into(), |revision| revision.to_string()),
            member.size.map_or("-".into(), |size| format!("{:.1} MiB", size as f64 / f64::from(1 << 20))),
            member.fault.clone().unwrap_or_default(),
        ]
    });
    let head = ["MEMBER", "VERSION", "", "REVISION", "SIZE", "FAULT"];
    print!("{}", table::text(&head, &rows.collect::<Vec<_>>()));
    match &report.head {
        Some(head) => println!(
            "\nhead: revision {}, change {}, {} rows, by {} {}{}",
            head.revision,
            head.seq,
            head.rows,
            printable(&head.writer),
            ago(head.at),
            if head.redo { "; a large change is under way" } else { "" }
        ),
        None => println!("\nhead: none yet; the first change makes it"),
    }
    if let Some(schema) = report.schema {
        println!("schema: readers must know {}, {} is written", schema.min, schema.write);
    }
    let behind = report.nodes.iter().filter(|node| !node.current).count();
    println!(
        "nodes: {}, {behind} of them told an older revision when they were last heard\n",
        report.nodes.len()
    );
    // First those that are not as they should be.
    let mut nodes: Vec<&NodeReport> = report.nodes.iter().collect();
    nodes.sort_by_key(|node| (node.entry.state == "following", node.current && node.entry.bad_rows == 0));
    let rows = nodes.iter().take(SHOWN).map(|node| {
        let entry = &node.entry;
        vec![
            node.node.clone(),
            entry.state.clone(),
            entry.revision.to_string(),
            if entry.writer { "yes".into() } else { "no".into() },
            entry.version.clone(),
            entry.bad_rows.to_string(),
            ago(entry.at),
            entry.listen.join(", "),
        ]
    });
    let head = ["NODE", "STATE", "REVISION", "API", "VERSION", "BAD ROWS", "TOLD", "LISTENS"];
    if !report.nodes.is_empty() {
        print!("{}", table::text(&head, &rows.collect::<Vec<_>>()));
    }
    if nodes.len() > SHOWN {
        println!("and {} more; --json prints all", nodes.len() - SHOWN);
    }
    for warning in &report.warnings {
        println!("warning: {}", printable(warning));
    }
}

/// How long ago a time was.
fn ago(at: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at);
    let seconds = SystemTime::now().duration_since(at).map_or(0, |since| since.as_secs());
    format!("{seconds} s ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_known_faults_are_told() {
        for bad in ["3.4.23", "3.4.45", "3.5.32", "3.6.0", "3.7.0", "3.3.27", "2.3.8"] {
            assert!(version_warning(bad).is_some(), "{bad}");
        }
        for good in ["3.5.33", "3.6.14", "3.7.1", "3.8.0", "4.0.0", "odd"] {
            assert_eq!(version_warning(good), None, "{good}");
        }
    }
}
