//! Durable commits a second that the storage library alone makes of the rows of one change: a record, its zone, a line of
//! the log and two numbers. `cargo bench --bench commit -- FOLDER`; the file in the folder is removed again.

#![allow(clippy::disallowed_macros, reason = "a bench may print")]

use redb::{Database, TableDefinition};
use std::path::Path;
use std::time::{Duration, Instant};

type Table = TableDefinition<'static, &'static str, &'static [u8]>;

const RECORDS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("records");
const ZONES: Table = TableDefinition::new("zones");
const LOG: Table = TableDefinition::new("log");
const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");

fn main() {
    let folder = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_else(|| ".".into());
    let path = Path::new(&folder).join("commits.redb");
    let rate = rate(&path);
    let _ = std::fs::remove_file(&path);
    match rate {
        Ok(rate) => println!("{rate:.0}/s"),
        Err(error) => eprintln!("{}: {error}", path.display()),
    }
}

fn rate(path: &Path) -> Result<f64, redb::Error> {
    let database = Database::builder().set_cache_size(4 << 20).create(path)?;
    let row = [b'x'; 330];
    let commit = |number: u64| -> Result<(), redb::Error> {
        let writing = database.begin_write()?;
        writing.open_table(RECORDS)?.insert(number, &row[..60])?;
        writing.open_table(LOG)?.insert(format!("{number:020}").as_str(), &row[..])?;
        writing.open_table(ZONES)?.insert("0123456789abcdef0123456789abcdef", &row[..])?;
        let mut meta = writing.open_table(META)?;
        meta.insert("revision", number)?;
        meta.insert("sum", number)?;
        drop(meta);
        writing.commit()?;
        Ok(())
    };
    for number in 0..100 {
        commit(number)?;
    }
    let (begun, mut done) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(3) {
        commit(100 + done)?;
        done += 1;
    }
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}
