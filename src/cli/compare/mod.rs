//! `pvtzd compare`: sends the same queries to two servers and shows the differences of the answers.
//!
//! One is this pvtzd, the other a resolver of a VPC, of the lab, or any other. With `--scratch` the queries are for test
//! zones, and the report names the settings of the other server.

mod answer;
mod report;
mod scratch;
mod service;

use super::api::{ApiArgs, document_names};
use super::{CommonArgs, exit, query, shown, table};
use crate::admin::explain::question;
use crate::base::local_address::reached_at;
use crate::config::endpoints;
use crate::engine::request::Question;
use crate::engine::text::printable;
use crate::host::doctor::ask::plain_query;
use crate::upstream::ServerAddress;
use answer::ComparedAnswer;
use clap::Args;
use report::{CompareReport, Compared, Judged};
use scratch::ScratchVerdict;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Concurrent queries, for each of the two servers.
const AT_ONCE: usize = 8;

/// The most queries of one run.
const MAX_QUESTIONS: usize = 20_000;

/// Timeout until new test zones are served.
const PUBLISHED: Duration = Duration::from_secs(60);

/// Options of `compare`.
#[derive(Args, Debug)]
pub(super) struct CompareArgs {
    /// The server to compare with, such as a resolver of the VPC: 100.100.2.136
    #[arg(long, value_name = "ADDRESS[:PORT]", required_unless_present = "scratch")]
    with: Option<ServerAddress>,
    /// The local pvtzd [default: the first listen address of the configuration]
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    server: Option<ServerAddress>,
    /// Names to query, as NAME or NAME/TYPE; A and AAAA without a type
    #[arg(value_name = "NAME[/TYPE]", allow_hyphen_values = true)]
    names: Vec<String>,
    /// Query every record of a document, as `pvtzd export` writes it, and names beside them
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// Query the API names of a region
    #[arg(long, value_name = "REGION")]
    recipe: Option<String>,
    /// Query test zones below this name, which show the settings of the other server; without --with, print their records
    #[arg(long, value_name = "ZONE", conflicts_with_all = ["names", "document", "recipe", "server"])]
    scratch: Option<String>,
    /// Create the test zones through the API first, and delete them afterwards
    #[arg(long, requires_all = ["scratch", "with", "vpc"])]
    apply: bool,
    /// Bind the test zones to this VPC, whose resolver is the server of --with; may be repeated
    #[arg(long, value_name = "VPC[@REGION]", requires = "apply")]
    vpc: Vec<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &CompareArgs) -> u8 {
    let carried_out = match (&args.scratch, &args.with) {
        (Some(scratch), with) => scratch_zones(common, args, scratch, with.as_ref()),
        (None, Some(with)) => answers(common, args, with),
        (None, None) => Err(exit::USAGE), // clap requires one of them
    };
    carried_out.unwrap_or_else(|code| code)
}

/// A usage error, told.
fn wrong(message: &str, hint: &str) -> u8 {
    eprintln!("error: {}", printable(message));
    eprintln!("hint: {hint}");
    exit::USAGE
}

/// Compares the answers of two servers.
fn answers(common: &CommonArgs, args: &CompareArgs, with: &ServerAddress) -> Result<u8, u8> {
    let questions = questions(args)?;
    let ours = match &args.server {
        Some(server) => plain(server)?,
        None => {
            let config = common.load_or_tell()?;
            let listen = config.server.listen.first();
            listen.map_or((Ipv4Addr::LOCALHOST, 53).into(), |listen| reached_at(*listen))
        }
    };
    let theirs = plain(with)?;
    let (here, there) = (ask_all(ours, &questions), ask_all(theirs, &questions));
    let rows: Vec<Compared> = questions
        .iter()
        .zip(here.into_iter().zip(there))
        .map(|(question, (here, there))| Compared::new(question, here, there))
        .collect();
    let report = CompareReport::of_answers(ours, theirs, rows);
    report.print(common.json);
    Ok(report.code())
}

/// Asks about the scratch zones, or prints their records.
fn scratch_zones(
    common: &CommonArgs,
    args: &CompareArgs,
    scratch: &str,
    with: Option<&ServerAddress>,
) -> Result<u8, u8> {
    let scratch = scratch.strip_suffix('.').unwrap_or(scratch).to_ascii_lowercase();
    let points =
        scratch::points(&scratch).map_err(|why| wrong(&why, "write --scratch compare.example.com"))?;
    let Some(with) = with else {
        print_records(common, &scratch);
        return Ok(exit::OK);
    };
    let theirs = plain(with)?;
    let made = match args.apply {
        true => Some(
            service::ScratchRows::new(common, &args.api, &scratch, &args.vpc)
                .map_err(|failure| failure.tell())?,
        ),
        false => None,
    };
    let first = Question::new(points[0].question.name.clone(), hickory_proto::rr::RecordType::A);
    await_published(theirs, &first, made.is_some());
    let questions: Vec<Question> = points.iter().map(|point| point.question.clone()).collect();
    let seen = ask_all(theirs, &questions);
    drop(made);
    let rows = points.iter().zip(seen).map(|(point, seen)| {
        let verdict =
            seen.as_ref().map(|answer| point.judge(answer, &scratch)).unwrap_or(ScratchVerdict::Other);
        Judged::new(point, seen, &verdict)
    });
    let report = CompareReport::of_points(theirs, &scratch, rows.collect());
    report.print(common.json);
    Ok(report.code())
}

/// Waits until the scratch zones are served, as long as they were made just now; a denial of before may be cached.
fn await_published(server: SocketAddr, question: &Question, is_new: bool) {
    let begun = Instant::now();
    let is_there = || matches!(ask(server, question), Ok(answer) if !answer.chain.is_empty());
    while is_new && !is_there() {
        if begun.elapsed() > PUBLISHED {
            eprintln!("warning: {server} does not serve the test zones after {} s", PUBLISHED.as_secs());
            eprintln!("hint: is {server} a resolver of the VPC of --vpc?");
            break;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn print_records(common: &CommonArgs, scratch: &str) {
    let records = scratch::records(scratch);
    if common.json {
        return shown::json(&records);
    }
    for (zone, proxy) in scratch::zones(scratch) {
        println!("zone {zone}: recursion proxy {}", if proxy { "on" } else { "off" });
    }
    println!();
    let rows = records.into_iter().map(|record| {
        vec![record.zone, record.rr.into(), record.rtype.into(), record.value, record.ttl.to_string()]
    });
    table::print(&["ZONE", "RR", "TYPE", "VALUE", "TTL"], &rows.collect::<Vec<_>>());
    eprintln!(
        "hint: create these, or let --apply create them; then run `pvtzd compare --scratch {scratch} \
         --with ADDRESS`"
    );
}

/// The questions that the arguments name, each once.
fn questions(args: &CompareArgs) -> Result<Vec<Question>, u8> {
    let mut names: Vec<(String, String)> = Vec::new();
    for name in &args.names {
        match name.rsplit_once('/').filter(|(_, rtype)| crate::engine::record::parse_type(rtype).is_some()) {
            Some((name, rtype)) => names.push((name.to_string(), rtype.to_string())),
            None => names.extend(["A", "AAAA"].map(|rtype| (name.clone(), rtype.to_string()))),
        }
    }
    if let Some(file) = &args.document {
        names.extend(document_names(file).map_err(|failure| failure.tell())?);
    }
    if let Some(region) = &args.recipe {
        if !endpoints::regions().contains(region) {
            let hint = format!("there are {}", endpoints::regions().join(", "));
            return Err(wrong(&format!("`{region}` is not a region of the catalogue"), &hint));
        }
        names.extend(recipe(region));
    }
    if names.is_empty() {
        let hint = "write NAME or NAME/TYPE, --document FILE, --recipe REGION or --scratch ZONE";
        return Err(wrong("no names to query", hint));
    }
    let mut questions: Vec<Question> = Vec::new();
    let mut known = std::collections::HashSet::new();
    for (name, rtype) in names {
        let question = question(&name, &rtype).map_err(|error| wrong(&error, "write NAME or NAME/TYPE"))?;
        if known.insert((question.name.to_lowercase(), question.rtype)) {
            questions.push(question);
        }
    }
    match questions.len() {
        ..=MAX_QUESTIONS => Ok(questions),
        many => {
            Err(wrong(&format!("{many} queries exceed the limit of {MAX_QUESTIONS}"), "compare zone by zone"))
        }
    }
}

/// The API names of a region: those that clients ask for, their target, and names beside them.
fn recipe(region: &str) -> Vec<(String, String)> {
    let names = [
        format!("ecs.{region}.aliyuncs.com"),
        format!("ecs-{region}.aliyuncs.com"),
        "ecs.aliyuncs.com".to_string(),
        format!("ecs-vpc.{region}.aliyuncs.com"),
        format!("popunify-vpc.{region}.aliyuncs.com"),
        format!("sub.ecs.{region}.aliyuncs.com"),
        format!("sts.{region}.aliyuncs.com"),
    ];
    let types = ["A", "AAAA", "CNAME", "TXT"];
    names.iter().flat_map(|name| types.map(|rtype| (name.clone(), rtype.to_string()))).collect()
}

/// Where a server takes plain DNS.
fn plain(server: &ServerAddress) -> Result<SocketAddr, u8> {
    if server.is_plain() {
        return Ok(server.target().unwrap_or(server.addr));
    }
    let hint = format!("name the server by its address, such as {}:53", server.addr.ip());
    Err(wrong(&format!("`compare` supports plain DNS only: {server} is encrypted"), &hint))
}

fn ask(server: SocketAddr, question: &Question) -> Result<ComparedAnswer, String> {
    let message = plain_query(question);
    query::ask(server, &message, false)
        .map(|(sections, _)| ComparedAnswer::of(&sections))
        .map_err(|error| error.to_string())
}

/// Asks a server all questions, some at a time; the answers in the order of the questions.
fn ask_all(server: SocketAddr, questions: &[Question]) -> Vec<Result<ComparedAnswer, String>> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(vec![Err(String::new()); questions.len()]);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(questions.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(question) = questions.get(at) else { break };
                    let answer = ask(server, question);
                    answers.lock().unwrap_or_else(PoisonError::into_inner)[at] = answer;
                }
            });
        }
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct CompareCommand {
        #[command(flatten)]
        args: CompareArgs,
    }

    fn asked(words: &str) -> Result<Vec<String>, u8> {
        let args =
            CompareCommand::try_parse_from(format!("compare --with 192.0.2.1 {words}").split_whitespace());
        let questions = questions(&args.unwrap().args)?;
        Ok(questions.iter().map(|q| format!("{} {}", crate::engine::text::show(&q.name), q.rtype)).collect())
    }

    #[test]
    fn a_name_may_name_its_type_and_is_asked_once() {
        assert_eq!(asked("a.test b.test/TXT A.test/A").unwrap(), ["a.test A", "a.test AAAA", "b.test TXT"]);
        assert_eq!(asked("0/25.2.0.192.in-addr.arpa/PTR").unwrap(), ["0/25.2.0.192.in-addr.arpa PTR"]);
        assert_eq!(asked("").unwrap_err(), exit::USAGE);
        assert_eq!(asked("--recipe nowhere").unwrap_err(), exit::USAGE);
        assert!(asked("--recipe cn-hangzhou").unwrap().contains(&"ecs.cn-hangzhou.aliyuncs.com A".into()));
    }
}
