//! The documents beside the program: outputs that they show, the modules that they name, the words that
//! they and the comments avoid.

use crate::repository::{files, nothing, pvtzd_arguments, read, root, shell_lines};
use crate::server::{Server, command};

/// The commands of a text's `console` blocks, each with the output below it.
fn shown(text: &str) -> Vec<(String, String)> {
    let (mut shown, mut inside): (Vec<(String, String)>, bool) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            shown.push((command.to_string(), String::new()));
        } else if let Some((_, output)) = shown.last_mut().filter(|_| inside) {
            *output += line;
            output.push('\n');
        }
    }
    shown
}

/// The output without what each run has of its own: the time that a query took.
fn without_time(output: &str) -> String {
    let line = |line: &str| match line.split_once(" in ").zip(line.split_once(" ms,")) {
        Some(((before, _), (_, after))) => format!("{before} in 0 ms,{after}\n"),
        None => format!("{line}\n"),
    };
    output.lines().map(line).collect()
}

#[test]
fn what_the_readme_shows_is_what_the_program_prints() {
    let lab = std::fs::read_to_string(root().join("config/lab.toml")).unwrap();
    let server = Server::start(&lab);
    let usual = "127.0.0.1:5335";
    assert!(lab.contains(usual), "a query without --server goes where the lab listens");
    let mut found = Vec::new();
    for readme in ["README.md", "README.zh-CN.md"] {
        let (_, text) = read(&root().join(readme));
        let shown = shown(&text);
        assert!(shown.len() >= 3, "{readme}: {}", shown.len());
        for (line, expected) in shown {
            let mut arguments =
                pvtzd_arguments(&line).unwrap_or_else(|| panic!("{readme}: not pvtzd: {line}"));
            let address = server.address.to_string();
            if arguments[1] == "query" {
                arguments.extend(["--server".to_string(), address.clone()]);
            }
            let done = command().current_dir(root()).args(&arguments[1..]).output().unwrap();
            let printed = [done.stdout, done.stderr].concat();
            let printed = String::from_utf8(printed).unwrap().replace(&address, usual);
            if without_time(&printed) != without_time(&expected) {
                found.push(format!("{readme}: {line}\n{printed}"));
            }
        }
        let others = ["```text", "```json", "```\n\n"].map(|fence| text.matches(fence).count());
        assert_eq!(others[..2], [0, 0], "{readme}: outputs are in console blocks, where they are checked");
    }
    nothing(&found);
}

#[test]
fn configurations_in_the_readme_are_without_faults() {
    let (_, text) = read(&root().join("README.md"));
    let directory = tempfile::tempdir().unwrap();
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 2, "{}", blocks.len());
    for block in blocks {
        let file = directory.path().join("pvtzd.toml");
        std::fs::write(&file, block).unwrap();
        let done = command().arg("check").arg("--config").arg(&file).output().unwrap();
        let printed = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success() && printed.contains(" 0 warnings"), "{block}\n{printed}");
    }
}

#[test]
fn the_table_of_commands_in_the_readme_has_each_subcommand() {
    let help = String::from_utf8(command().arg("--help").output().unwrap().stdout).unwrap();
    let list = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let subcommands: Vec<&str> = names.filter(|name| !["", "help"].contains(name)).collect();
    assert!(subcommands.contains(&"run") && subcommands.contains(&"man"), "{subcommands:?}");
    let mut missing = Vec::new();
    for readme in ["README.md", "README.zh-CN.md"] {
        let (_, text) = read(&root().join(readme));
        for name in &subcommands {
            let named = |row: &str| {
                let words = row.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
                row.starts_with("| `")
                    && words.collect::<Vec<_>>().windows(2).any(|pair| pair == ["pvtzd", name])
            };
            if !text.lines().any(named) && !text.lines().any(|row| row.contains(&format!("`{name} --"))) {
                missing.push(format!("{readme}: pvtzd {name}"));
            }
        }
    }
    nothing(&missing);
}

#[test]
fn the_readme_is_short_and_its_drawing_has_two_schemes() {
    for readme in ["README.md", "README.zh-CN.md"] {
        let (_, text) = read(&root().join(readme));
        assert!(text.lines().count() <= 200, "{readme}: {} lines", text.lines().count());
        let drawing =
            text.split("](").filter_map(|rest| rest.split(')').next()).find(|to| to.ends_with(".svg"));
        let (_, drawing) = read(&root().join(drawing.unwrap()));
        assert!(drawing.contains("prefers-color-scheme: dark") && drawing.contains("<title"), "{readme}");
    }
}

#[test]
fn outputs_are_taken_from_console_blocks() {
    let text = "$ no\n```console\n$ a b\none\ntwo\n$ c\n```\n```sh\nd\n```\nthree\n";
    let expected = [("a b", "one\ntwo\n"), ("c", "")].map(|(a, b)| (a.to_string(), b.to_string()));
    assert_eq!(shown(text), expected);
    assert_eq!(
        without_time("NOERROR over UDP in 0.2 ms, flags\nx\n"),
        "NOERROR over UDP in 0 ms, flags\nx\n"
    );
    assert_eq!(shell_lines(text), ["a b", "c", "d"]);
}

#[test]
fn the_drawing_of_the_architecture_names_modules_that_exist() {
    let (_, text) = read(&root().join("ARCHITECTURE.md"));
    let drawing = text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let named: Vec<&str> = drawing
        .split(|c: char| !(c.is_ascii_alphanumeric() || "/_.".contains(c)))
        .filter(|word| word.contains('/') || word.ends_with(".rs"))
        .collect();
    assert!(named.len() >= 8, "{named:?}");
    let absent: Vec<String> = named
        .iter()
        .filter(|word| !root().join("src").join(word.trim_end_matches('.')).exists())
        .map(|word| format!("ARCHITECTURE.md: its drawing names src/{word}, which does not exist"))
        .collect();
    nothing(&absent);
}

#[test]
fn the_charts_and_the_readme_have_the_figures_of_the_tables() {
    let text = |path: &str| read(&root().join(path)).1;
    let results: serde_json::Value = serde_json::from_str(&text("benches/results.json")).unwrap();
    let (tables, chart) = (text("docs/performance-appendix.md"), text("docs/drawings/performance.svg"));
    let mut found = Vec::new();
    for (workload, figures) in results["workloads"].as_object().unwrap() {
        let title = workload.rsplit_once('(').unwrap().1.chars().next().unwrap();
        let table = tables.split(&format!("\n### {title}: ")).nth(1).unwrap().split("\n### ").next().unwrap();
        for (server, figure) in figures.as_object().unwrap() {
            let figure = format!("{:.2}", figure.as_f64().unwrap());
            let rows = [
                format!("\n| {server} | {figure} "),
                format!("\n| {server} (not the full answer) | {figure} "),
            ];
            if !rows.iter().any(|row| table.contains(row)) {
                found.push(format!("docs/performance-appendix.md: {workload}: {server} is not {figure}"));
            }
        }
        let own = format!("{:.2}", figures["pvtzd"].as_f64().unwrap());
        if !chart.contains(&format!(">{own}<")) {
            found.push(format!("docs/drawings/performance.svg: no {own}: run benches/chart.py"));
        }
        let in_readme =
            ["private name (O)", "cached name (H)", "forwarded name (C)"].contains(&workload.as_str());
        if in_readme && !text("README.md").contains(&format!("| {own} |")) {
            found.push(format!("README.md: {workload} is not {own}"));
        }
    }
    nothing(&found);
}

/// Words that stand in the way of a reader, for a subject, a verb or a number that has a name.
const OLD_WORDS: [&str; 19] = [
    "nobody",
    "somebody",
    "can be had",
    "cannot be had",
    "so many",
    "it is looked",
    "beyond its life",
    "the long way",
    "fast lane",
    "finished answer",
    "dearer",
    "in vain",
    "what came of",
    "what becomes of",
    "leads back to us",
    "had enough",
    "comes after us",
    "takes the place of",
    "in the place of",
];

/// Lines that may have them: a file, a part of the line, and why.
const ALLOWED: [(&str, &str, &str); 3] = [
    ("src/engine/zone.rs", "b\"nobody\"", "the RNAME of a private zone's SOA, which clients see"),
    ("docs/semantics.md", "nobody.invalid", "that name"),
    ("src/host/resolver/conf.rs", "rename = \"nobody\"", "a value in JSON that scripts read"),
];

#[test]
fn old_words_are_gone() {
    let mut found = Vec::new();
    let mut used = [false; ALLOWED.len()];
    let pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
    let pages = pages.map(|page| root().join(page));
    let documents = files("docs", ".md").into_iter().chain(pages);
    for path in files("src", ".rs").into_iter().chain(documents) {
        let (name, text) = read(&path);
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_ascii_lowercase();
            let Some(word) = OLD_WORDS.iter().find(|word| lower.contains(**word)) else { continue };
            let allowed = ALLOWED.iter().position(|(file, part, _)| name == *file && line.contains(part));
            match allowed {
                Some(at) => used[at] = true,
                None => found.push(format!("{name}:{}: `{word}`: {}", number + 1, line.trim())),
            }
        }
    }
    let unused = ALLOWED.iter().zip(used).filter(|(_, used)| !used);
    found.extend(
        unused.map(|((file, part, _), _)| format!("{file}: no line with `{part}` needs a reason any more")),
    );
    nothing(&found);
}
