//! How a node stands, as operators and the rest of the program see it.

use super::snapshot::FleetPosition;
use std::time::Duration;

/// How the node stands to etcd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FleetPhase {
    /// It has not looked yet.
    #[default]
    Starting,
    /// It reads what it lacks.
    Synchronising,
    /// It is told of each change.
    Following,
    /// etcd cannot be reached.
    Away,
    /// A removal waits to be accepted.
    Held,
    /// The rows have a schema that this version does not know.
    Schema,
}

impl FleetPhase {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Synchronising, Self::Following, Self::Away, Self::Held, Self::Schema];

    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Synchronising => "synchronising",
            Self::Following => "following",
            Self::Away => "away",
            Self::Held => "held",
            Self::Schema => "schema",
        }
    }
}

/// A removal that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRemoval {
    /// The revision to be accepted.
    pub revision: i64,
    /// Rows that would go.
    pub removes: usize,
    /// Rows there are.
    pub of: usize,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetCounts {
    /// Changes that came into force.
    pub applied: u64,
    /// Comparisons of all rows.
    pub compared: u64,
    /// Connections that failed or ended.
    pub failures: u64,
    /// Changes that this node has made.
    pub commits: u64,
    /// Decisions that were taken again since another node was first.
    pub lost_races: u64,
}

/// How a node stands.
#[derive(Clone, Debug)]
pub struct FleetView {
    /// How it stands to etcd.
    pub phase: FleetPhase,
    /// Where it stands.
    pub position: FleetPosition,
    /// Rows.
    pub rows: usize,
    /// For how long it is not certain that nothing is newer.
    pub behind: Duration,
    /// There are rows in force.
    pub known: bool,
    /// A removal that waits.
    pub held: Option<HeldRemoval>,
    /// The last failure; nothing while all is well.
    pub fault: Option<String>,
    /// The digest is that of the head.
    pub is_whole: bool,
    /// How many rows make no sense, and the first of them.
    pub bad: (usize, Vec<(String, String)>),
    /// Why the snapshot cannot be written.
    pub snapshot_fault: Option<String>,
    /// What was counted.
    pub counts: FleetCounts,
}
