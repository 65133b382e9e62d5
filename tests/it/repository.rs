//! The repository tests itself: what its documents promise about its own form.
//!
//! That every configuration key is in `config/pvtzd.toml`, at its default, is tested beside the code, in
//! `src/config/tests.rs`.

use clap::Parser;
use pvtzd::cli::Cli;
use pvtzd::config;
use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder (or the file itself) whose name ends like this; folders that are no part of the project
/// are left out.
pub fn files(below: &str, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![root().join(below)]);
    while let Some(path) = open.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", "corpus", "artifacts"].contains(&name.as_str())
                && !name.starts_with('.')
            {
                open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if name.ends_with(ending) && path.exists() {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A file's name from the root of the repository, and its text.
pub fn read(path: &Path) -> (String, String) {
    let name = path.strip_prefix(root()).unwrap().display().to_string();
    (name, std::fs::read_to_string(path).unwrap())
}

/// Ends a test with everything that was found.
pub fn nothing(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn no_source_file_is_longer_than_500_lines() {
    let mut found = Vec::new();
    for path in ["src", "tests/it", "tests/sim", "benches", "fuzz"]
        .iter()
        .flat_map(|folder| files_if_there(folder, ".rs"))
    {
        let (name, text) = read(&path);
        if text.lines().count() > 500 {
            found.push(format!(
                "{name}: {} lines; look for the second question hiding inside",
                text.lines().count()
            ));
        }
    }
    nothing(&found);
}

fn files_if_there(folder: &str, ending: &str) -> Vec<PathBuf> {
    if root().join(folder).exists() { files(folder, ending) } else { Vec::new() }
}

/// A source text without its comments and without what only tests see.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_engine_is_pure() {
    const FORBIDDEN: [&str; 22] = [
        "async ",
        ".await",
        "tokio",
        "UdpSocket",
        "TcpStream",
        "TcpListener",
        "ToSocketAddrs",
        "Instant",
        "SystemTime",
        "Mutex",
        "RwLock",
        "Atomic",
        "Condvar",
        "tracing",
        "println!",
        "eprintln!",
        "dbg!",
        "std::fs",
        "std::env",
        "std::thread",
        "std::io",
        "std::process",
    ];
    const ALLOWED: [&str; 9] =
        ["std", "hickory_proto", "ipnet", "data_encoding", "idna", "siphasher", "super", "crate", "self"];
    let mut found = Vec::new();
    for path in files("src/engine", ".rs") {
        let (name, text) = read(&path);
        if name.ends_with("_tests.rs") {
            continue;
        }
        let code = code(&text);
        for word in FORBIDDEN {
            if code.contains(word) {
                found.push(format!("{name}: `{}` has no place in the engine", word.trim()));
            }
        }
        for line in code.lines() {
            let Some(used) = line.trim_start().trim_start_matches("pub ").strip_prefix("use ") else {
                continue;
            };
            if used == "quick_cache::DefaultHashBuilder;" {
                continue; // of the containers the hash alone: it is a function
            }
            let source = used.trim_start_matches('{').split("::").next().unwrap_or_default();
            if !ALLOWED.contains(&source.trim_end_matches(';')) {
                found.push(format!("{name}: uses {source}"));
            }
            if used.starts_with("crate::") && !used.starts_with("crate::engine") {
                found.push(format!("{name}: the engine knows no other module: {line}"));
            }
        }
    }
    nothing(&found);
}

/// Seams of the simulator, which would make every id and port predictable or lead queries elsewhere.
#[test]
fn the_program_never_uses_what_only_simulations_may() {
    let mut found = Vec::new();
    for path in files("src", ".rs") {
        let (name, text) = read(&path);
        let (own, code) = (name.rsplit('/').next().unwrap_or_default(), code(&text));
        if name.contains("/tests/") {
            continue; // servers of a test, where the test has the clock
        }
        for (word, home) in
            [("predictable(", "random.rs"), ("impl Simulated for", ""), ("Network::Simulated(Arc", "")]
        {
            if code.contains(word) && own != home {
                found.push(format!("{name}: `{word}` is for simulations alone"));
            }
        }
    }
    nothing(&found);
}

#[test]
fn every_sample_configuration_is_without_faults() {
    let samples = files("config", ".toml");
    let mut checked = 0;
    for path in samples {
        let (name, text) = read(&path);
        if name.ends_with("endpoints.toml") || name.ends_with("zones.toml") {
            continue; // data for the catalogue, no configuration; parsed by every run
        }
        let (_, warnings) =
            config::parse(&text, &path).unwrap_or_else(|faults| panic!("{name}: {faults:#?}"));
        assert!(warnings.is_empty(), "{name}: {warnings:#?}");
        checked += 1;
    }
    assert!(checked >= 3, "{checked}");
}

/// Lines of fenced `sh` and `console` blocks, with continuations joined and prompts taken off.
pub fn shell_lines(text: &str) -> Vec<String> {
    let (mut lines, mut inside, mut prompts) = (Vec::new(), false, false);
    let mut joined = String::new();
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            inside = !inside && ["sh", "bash", "shell", "console"].contains(&language.trim());
            prompts = language.trim() == "console";
            continue;
        }
        let command = match (inside, prompts) {
            (false, _) => continue,
            (true, false) => line.trim(),
            // in a console block only what follows a prompt is a command; the rest is output
            (true, true) => {
                match line.trim_start().strip_prefix("$ ").or(line.trim_start().strip_prefix("# ")) {
                    Some(command) => command,
                    None if !joined.is_empty() => line.trim(),
                    None => continue,
                }
            }
        };
        joined += command.trim_end_matches('\\');
        if !command.ends_with('\\') {
            lines.push(std::mem::take(&mut joined));
        }
    }
    lines
}

/// The arguments of a command line that runs pvtzd; nothing for others.
pub fn pvtzd_arguments(line: &str) -> Option<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default();
    let mut words: Vec<String> = line
        .split_whitespace()
        .take_while(|word| !["|", "&", "&&", ";", ">", "2>", "||"].contains(word))
        .map(|word| word.trim_matches(['\'', '"']).to_string())
        .collect();
    while words.first().is_some_and(|word| word == "sudo" || word.contains('=')) {
        words.remove(0);
    }
    let program = words.first()?.rsplit('/').next()?.to_string();
    if program == "pvtzd" {
        return Some(words);
    }
    (program == "cargo" && words.get(1)? == "run").then(|| {
        let rest =
            words.iter().position(|word| word == "--").map_or(Vec::new(), |at| words[at + 1..].to_vec());
        [vec!["pvtzd".to_string()], rest].concat()
    })
}

/// The documents of the project.
fn documents() -> Vec<PathBuf> {
    files(".", ".md")
}

#[test]
fn every_command_line_in_the_documents_is_accepted() {
    let mut found = Vec::new();
    for path in documents() {
        let (name, text) = read(&path);
        for line in shell_lines(&text) {
            let Some(arguments) = pvtzd_arguments(&line) else { continue };
            if let Err(error) = Cli::try_parse_from(&arguments)
                && error.use_stderr()
            {
                found.push(format!("{name}: {line}\n  {error}"));
            }
        }
    }
    nothing(&found);
}

#[test]
fn command_lines_are_found_in_documents() {
    let text = "```sh\nsudo pvtzd run \\\n  --metadata off # x\ncargo run --release -- check\ndig x\n```\n```console\n$ pvtzd check\npvtzd is fine\n```\npvtzd not this\n";
    let found: Vec<_> = shell_lines(text).iter().filter_map(|line| pvtzd_arguments(line)).collect();
    assert_eq!(
        found,
        [vec!["pvtzd", "run", "--metadata", "off"], vec!["pvtzd", "check"], vec!["pvtzd", "check"]]
    );
}

/// A document's fenced blocks, each with its language and its lines without comments: those may be translated.
fn blocks(text: &str) -> Vec<String> {
    let (mut blocks, mut open) = (Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            open = !open;
            if open {
                blocks.push(line.trim().to_string());
            }
        } else if open && let Some(block) = blocks.last_mut() {
            let line = if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or_default() };
            *block += "\n";
            *block += line.trim_end();
        }
    }
    blocks
}

/// What is missing or other in a translation.
fn differences(original: &str, translation: &str) -> Vec<String> {
    let (original, translation) = (blocks(original), blocks(translation));
    let mut found = Vec::new();
    if original.len() != translation.len() {
        found.push(format!("{} code blocks in the original, {} here", original.len(), translation.len()));
    }
    let pairs = original.iter().zip(&translation).enumerate();
    found.extend(pairs.filter(|(_, (one, other))| one != other).map(|(number, (one, other))| {
        format!("code block {} is not the original's:\n{other}\nbut there:\n{one}", number + 1)
    }));
    found
}

#[test]
fn chinese_documents_have_the_commands_of_the_english_ones() {
    let zh = files("docs/zh", ".md");
    assert!(zh.len() >= 4, "{}", zh.len());
    let in_docs = zh.iter().map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        (format!("docs/{name}"), format!("docs/zh/{name}"), format!("zh/{name}"), format!("../{name}"))
    });
    let readme = ["README.md", "README.zh-CN.md", "README.zh-CN.md", "README.md"].map(str::to_string);
    let mut found = Vec::new();
    for (english, chinese, there, back) in in_docs.chain([readme.into()]) {
        if !root().join(&english).exists() {
            found.push(format!("{chinese}: there is no {english}"));
            continue;
        }
        let (_, original) = read(&root().join(&english));
        let (_, translation) = read(&root().join(&chinese));
        found.extend(differences(&original, &translation).iter().map(|what| format!("{chinese}: {what}")));
        let sections = |text: &str| text.lines().filter(|line| line.starts_with("## ")).count();
        if sections(&original) != sections(&translation) {
            found.push(format!("{chinese}: not as many sections as {english}"));
        }
        if !original.contains(&format!("English | [中文]({there})")) {
            found.push(format!("{english}: no link to {chinese} at the top"));
        }
        if !translation.contains(&format!("[English]({back}) | 中文")) {
            found.push(format!("{chinese}: no link to {english} at the top"));
        }
    }
    nothing(&found);
}

#[test]
fn comments_alone_may_differ_in_a_translation() {
    let english = "Text\n```sh\n# why\npvtzd check   # see\n```\n```toml\na = 1 # one\n```\n";
    let chinese = "文字\n```sh\n# 原因\npvtzd check # 见\n```\n```toml\na = 1 # 一\n```\n";
    assert_eq!(differences(english, chinese), Vec::<String>::new());
    assert_eq!(differences(english, &chinese.replace("check", "doctor")).len(), 1);
    assert_eq!(differences(english, &chinese.replace("```toml", "```ini")).len(), 1);
    assert_eq!(differences(english, chinese.split("```toml").next().unwrap()).len(), 1);
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut found = Vec::new();
    for path in documents() {
        let (name, text) = read(&path);
        let mut fenced = false;
        for line in text.lines() {
            fenced ^= line.trim_start().starts_with("```");
            if fenced {
                continue;
            }
            for (at, _) in line.match_indices("](") {
                let target = line[at + 2..].split(')').next().unwrap_or_default();
                let file = target.split('#').next().unwrap_or_default();
                if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                if !path.parent().unwrap().join(file).exists() {
                    found.push(format!("{name}: {target} is not there"));
                }
            }
        }
    }
    nothing(&found);
}

#[test]
fn every_test_that_the_page_on_reliability_names_exists() {
    let (name, page) = read(&root().join("docs/reliability.md"));
    let code = page.split('`').skip(1).step_by(2);
    let named: Vec<(&str, &str)> = code.filter_map(|word| word.split_once("::")).collect();
    assert!(named.len() > 50, "{}", named.len());
    let is_there = |(path, test): &(&str, &str)| {
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        text.contains(&format!("def {test}(")) || text.contains(&format!("fn {test}("))
    };
    let absent = named.iter().filter(|named| !is_there(named));
    nothing(&absent.map(|(path, test)| format!("{name}: {path}::{test} is not there")).collect::<Vec<_>>());
}

#[test]
fn dependencies_are_few_and_each_says_what_it_is_for() {
    let (_, manifest) = read(&root().join("Cargo.toml"));
    let section = |title: &str| -> Vec<String> {
        let from = manifest.lines().skip_while(|line| *line != title).skip(1);
        let lines = from.take_while(|line| !line.starts_with('['));
        lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#')).map(str::to_string).collect()
    };
    let direct = section("[dependencies]");
    // Those of a feature that is off unless asked for are not in the default build.
    let always = direct.iter().filter(|line| !line.contains("optional = true")).count();
    assert!((1..=36).contains(&always), "{always} direct dependencies");
    for line in direct.iter().chain(&section("[dev-dependencies]")) {
        let reason = line.rsplit_once('#').map_or("", |(_, reason)| reason.trim());
        assert!(reason.len() > 3, "without a reason: {line}");
    }
}

#[test]
fn nothing_is_left_to_do_without_a_reason() {
    // put together, so that this file does not find itself
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let mut found = Vec::new();
    for ending in [".rs", ".toml", ".md", ".py", ".scn"] {
        for path in files(".", ending) {
            let (name, text) = read(&path);
            for (number, line) in text.lines().enumerate() {
                for mark in &marks {
                    // `MARK: reason` or `MARK(who): reason`
                    let Some((_, rest)) = line.split_once(mark.as_str()) else { continue };
                    let reason = rest.split_once(':').map_or("", |(_, reason)| reason.trim());
                    if reason.split_whitespace().count() < 3 {
                        found.push(format!("{name}:{}: {}", number + 1, line.trim()));
                    }
                }
            }
        }
    }
    nothing(&found);
}

#[test]
fn every_module_and_scenario_says_what_it_is_for() {
    for path in
        files("src", ".rs").into_iter().chain(files("tests/it", ".rs")).chain(files("tests/sim", ".rs"))
    {
        let (name, text) = read(&path);
        assert!(text.starts_with("//! "), "{name} begins with what it is for");
    }
}
