//! `pvtzd top`: the top lists of the running server, live or once.

use super::socket::{SocketClient, read};
use super::{CommonArgs, exit, shown, table};
use crate::admin::socket::SocketCommand;
use crate::admin::top::{Ranking, TopAnswer, TopQuery};
use crate::base::print::{self, Output};
use crate::base::terminal::CLEAR;
use clap::{Args, ValueEnum};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// Options of `top`.
#[derive(Args, Debug)]
pub(super) struct TopArgs {
    /// Lists to show
    #[arg(value_enum, value_name = "LIST")]
    lists: Vec<By>,
    /// Rows of each list
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "10")]
    count: usize,
    /// Seconds between two pages
    #[arg(long, value_name = "SECONDS", default_value = "2")]
    every: f64,
    /// Print one page with the counts so far; those of one interval if counting was off
    #[arg(long)]
    once: bool,
    /// Reset the counts
    #[arg(long)]
    clear: bool,
    /// The control socket [default: as configured, else pvtzd.sock in $RUNTIME_DIRECTORY or /run/pvtzd]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Query names
    Names,
    /// Private zones and forwarding rules
    Zones,
    /// Record types
    Types,
    /// Clients
    Clients,
    /// Response codes
    Codes,
    /// Upstream servers
    Upstreams,
}

impl By {
    const ALL: [Self; 6] =
        [Self::Names, Self::Zones, Self::Clients, Self::Types, Self::Codes, Self::Upstreams];

    fn of(self, top: &TopAnswer) -> (&'static str, &Ranking) {
        match self {
            Self::Names => ("NAME", &top.names),
            Self::Zones => ("ZONE", &top.zones),
            Self::Types => ("TYPE", &top.types),
            Self::Clients => ("CLIENT", &top.clients),
            Self::Codes => ("CODE", &top.codes),
            Self::Upstreams => ("UPSTREAM", &top.upstreams),
        }
    }
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &TopArgs) -> Result<u8, u8> {
    let mut line = SocketClient::open(common, args.socket.as_deref())?;
    let interval = Duration::from_secs_f64(args.every.clamp(0.1, 30.0)); // the server counts for 60 s
    let is_live = !args.once && !common.json && std::io::stdout().is_terminal();
    let mut clear = args.clear;
    let mut before: Option<TopAnswer> = None;
    loop {
        let value = line.call(&SocketCommand::Top(TopQuery { count: args.count, clear }))?;
        clear = false;
        let top: TopAnswer = read(value.clone())?;
        // The first reading of lists that were off has nothing to show yet.
        let is_empty = top.seconds < 0.001;
        if !is_live && !is_empty {
            match common.json {
                true => shown::json(&value),
                false => print!("{}", page(&top, None, &args.lists)),
            }
            return Ok(exit::OK);
        }
        if is_live {
            print!("{CLEAR}{}", page(&top, before.as_ref(), &args.lists));
            before = Some(top);
        }
        if print::flush() != Output::Open {
            return Ok(exit::OK); // the reader has gone
        }
        thread::sleep(interval);
    }
}

/// The page; rates are since `before`, else since the lists began.
fn page(top: &TopAnswer, before: Option<&TopAnswer>, lists: &[By]) -> String {
    // Lists that began anew have nothing to do with the page before.
    let before = before.filter(|before| before.seconds < top.seconds && before.answers <= top.answers);
    let seconds = (top.seconds - before.map_or(0.0, |before| before.seconds)).max(0.001);
    let answers = top.answers - before.map_or(0, |before| before.answers);
    let mut out =
        format!("{} answers in {:.0} s, {:.1}/s now\n", top.answers, top.seconds, answers as f64 / seconds);
    let lists = if lists.is_empty() { &By::ALL } else { lists };
    for by in lists {
        let (title, ranking) = by.of(top);
        if ranking.rows.is_empty() {
            continue;
        }
        let former = before.map(|before| by.of(before).1);
        let rows: Vec<Vec<String>> = ranking
            .rows
            .iter()
            .map(|row| {
                let then = former.and_then(|former| former.rows.iter().find(|other| other.key == row.key));
                let rate = row.count.saturating_sub(then.map_or(0, |row| row.count)) as f64 / seconds;
                let rate = match (former, then) {
                    (Some(_), None) => "-".to_string(), // new in the list: how long it counted is not known
                    _ if *by == By::Upstreams && before.is_none() => "-".to_string(), // counted since start
                    _ => format!("{rate:.1}"),
                };
                let share = (*by != By::Upstreams && top.answers > 0).then(|| {
                    format!("{:.1}%", row.count.min(top.answers) as f64 * 100.0 / top.answers as f64)
                });
                vec![row.key.clone(), row.count.to_string(), rate, share.unwrap_or_else(|| "-".into())]
            })
            .collect();
        let _ = write!(out, "\n{}", table::text(&[title, "ANSWERS", "A SECOND", "SHARE"], &rows));
        if ranking.error > 0 {
            let _ = writeln!(out, "each at most {} too high", ranking.error);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::top::Ranked;

    fn top(seconds: f64, answers: u64, names: &[(&str, u64)]) -> TopAnswer {
        let row = |&(key, count): &(&str, u64)| Ranked { key: key.into(), count };
        let names = Ranking { error: 0, rows: names.iter().map(row).collect() };
        TopAnswer { seconds, answers, names, ..TopAnswer::default() }
    }

    #[test]
    fn rates_are_of_the_time_since_the_page_before() {
        let before = top(10.0, 100, &[("a.test", 80)]);
        let now = top(12.0, 300, &[("a.test", 180), ("b.test", 120)]);
        let shown = page(&now, Some(&before), &[By::Names]);
        let expected = "300 answers in 12 s, 100.0/s now\n\nNAME    ANSWERS  A SECOND  SHARE\n\
                        a.test  180      50.0      60.0%\nb.test  120      -         40.0%\n";
        assert_eq!(shown, expected);
        let anew = page(&top(1.0, 10, &[("a.test", 10)]), Some(&before), &[]);
        assert!(anew.starts_with("10 answers in 1 s, 10.0/s now"), "{anew}");
    }
}
