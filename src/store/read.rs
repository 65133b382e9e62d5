//! Reads the rows of a table on all cores: a start waits for it.

use siphasher::sip::SipHasher13;
use std::collections::VecDeque;
use std::hash::Hasher;
use std::thread;

/// Octets of rows that one thread decodes at a time while the next are read.
const SHARE: usize = 1 << 20;

/// The reason why rows cannot be read.
pub(super) enum RowError {
    /// The file.
    Storage(redb::Error),
    /// A row is not valid.
    Row(String),
}

impl<E: Into<redb::Error>> From<E> for RowError {
    fn from(error: E) -> Self {
        Self::Storage(error.into())
    }
}

/// The rows of a table as `read` makes them out of key and row, with a buffer to use as it likes; their marks are added
/// to `sum`. `next` pushes the next row; false where there is none.
pub(super) fn each_row<R: Send>(
    table: &str,
    mut next: impl FnMut(&mut RowShare) -> Result<bool, redb::Error>,
    sum: &mut u64,
    read: impl Fn(&[u8], &[u8], &mut Vec<u8>) -> Result<Option<R>, String> + Sync,
) -> Result<Vec<R>, RowError> {
    let parse = |share: RowShare| {
        let (mut sum, mut buffer, mut rows) = (0u64, Vec::new(), Vec::with_capacity(share.ends.len()));
        for (key, row) in share.rows() {
            sum = sum.wrapping_add(mark(table, key, row));
            rows.extend(read(key, row, &mut buffer)?);
        }
        Ok::<_, String>((rows, sum))
    };
    let parse = &parse;
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let mut rows = Vec::new();
    let mut take = |thread: thread::ScopedJoinHandle<'_, Result<(Vec<R>, u64), String>>| {
        let panicked = |_| Err("the storage library panicked while reading them".to_string());
        let (some, marks) = thread.join().unwrap_or_else(panicked).map_err(RowError::Row)?;
        rows.extend(some);
        *sum = sum.wrapping_add(marks);
        Ok::<_, RowError>(())
    };
    thread::scope(|scope| {
        let (mut running, mut share) = (VecDeque::new(), RowShare::default());
        while next(&mut share)? {
            if share.rows.len() >= SHARE {
                let share = std::mem::take(&mut share);
                running.push_back(scope.spawn(move || parse(share)));
                // reading is faster than decoding, and the whole file need not be in memory
                if running.len() > threads
                    && let Some(first) = running.pop_front()
                {
                    take(first)?;
                }
            }
        }
        if !share.ends.is_empty() {
            running.push_back(scope.spawn(move || parse(share)));
        }
        running.into_iter().try_for_each(&mut take)
    })?;
    Ok(rows)
}

/// Encoded rows on their way to a decoding thread.
#[derive(Default)]
pub(super) struct RowShare {
    keys: Vec<u8>,
    rows: Vec<u8>,
    /// Where each key and each row ends.
    ends: Vec<(usize, usize)>,
}

impl RowShare {
    /// Adds a row.
    pub fn push(&mut self, key: &[u8], row: &[u8]) {
        self.keys.extend_from_slice(key);
        self.rows.extend_from_slice(row);
        self.ends.push((self.keys.len(), self.rows.len()));
    }

    fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut begin = (0, 0);
        self.ends.iter().map(move |&(key, row)| {
            let found = (&self.keys[begin.0..key], &self.rows[begin.1..row]);
            begin = (key, row);
            found
        })
    }
}

/// The mark of a row. A changed or lost row changes the sum of the marks. The check is needed because the library
/// verifies pages only after a crash.
pub(super) fn mark(table: &str, key: &[u8], row: &[u8]) -> u64 {
    let mut hash = SipHasher13::new();
    for part in [table.as_bytes(), b"\0", key, b"\0", row] {
        hash.write(part);
    }
    hash.finish()
}
