//! The repository tests its own structure: which folder of `src/` may import which, that no more files import
//! each other, and that a type has a name of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The folders (and single files) of `src/`, each with those it may import. What is not here is not allowed; a folder
/// stands below all folders that import it.
const IMPORTS: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("base", &["engine"]),
    ("stats", &["base", "engine"]),
    ("upstream", &["base", "engine", "stats"]),
    ("account", &["base", "engine", "upstream"]),
    ("store", &["account", "engine"]),
    ("config", &["base", "engine", "upstream"]),
    ("http", &["base", "config"]),
    ("resolve", &["base", "engine", "stats", "upstream"]),
    ("fleet", &["account", "base", "config", "engine", "upstream"]),
    ("publish", &["account", "base", "config", "engine", "resolve", "upstream"]),
    ("server", &["base", "config", "engine", "resolve", "stats", "upstream"]),
    (
        "api",
        &["account", "base", "config", "engine", "fleet", "http", "publish", "resolve", "stats", "store"],
    ),
    (
        "admin",
        &["account", "api", "base", "config", "engine", "fleet", "http", "resolve", "stats", "upstream"],
    ),
    // The doctor asks the running server for its status.
    ("host", &["admin", "base", "config", "engine", "http", "upstream"]),
    // The pages change by the API's actions and show what operations and the doctor read.
    ("console", &["admin", "api", "base", "config", "engine", "host", "http", "publish", "resolve", "stats"]),
    (
        "daemon",
        &[
            "account", "admin", "api", "base", "config", "console", "engine", "fleet", "host", "publish",
            "resolve", "server", "stats", "store", "upstream",
        ],
    ),
    // The lab stands around the sidecar: nothing but the command line knows it.
    (
        "lab",
        &[
            "account", "admin", "api", "base", "config", "console", "daemon", "engine", "host", "http",
            "resolve", "server", "stats", "store", "upstream",
        ],
    ),
    (
        "cli",
        &[
            "account", "admin", "api", "base", "config", "console", "daemon", "engine", "fleet", "host",
            "http", "lab", "publish", "resolve", "server", "stats", "store", "upstream",
        ],
    ),
];

/// Type names that are defined more than once, with how often, and the reason.
const DEFINED_TWICE: &[(&str, usize, &str)] = &[];

/// Files that still import each other: a row goes when its circle is broken, and none comes.
const CIRCLES: &[(&str, &str)] = &[];

/// A source file: its path below `src/`, and its code without comments and tests.
struct Source {
    path: String,
    module: Vec<String>,
    code: String,
}

/// All files of `src/` that are not tests.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut open) = (Vec::new(), vec![root.clone()]);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let is_test = name.ends_with("_tests.rs") || name.ends_with("tests.rs") || name.contains("tests/");
        if name.ends_with(".rs") && !is_test {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code = lines.collect::<Vec<_>>().join("\n");
            let mut module: Vec<String> =
                name.trim_end_matches(".rs").split('/').map(str::to_string).collect();
            if module.last().is_some_and(|last| last == "mod") {
                module.pop();
            }
            found.push(Source { path: name, module, code });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(found.len() > 200, "{}", found.len());
    found
}

/// The paths of a use tree, such as `a::{b, c::d}`, one by one.
fn leaves(tree: &str, before: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        return found.push(format!("{before}{tree}"));
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut start) = (0, 0);
    for (at, sign) in inner.char_indices().chain([(inner.len(), ',')]) {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    leaves(&inner[start..at], &format!("{before}{head}"), found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// All paths that a file names from the crate's root, `super` and `self` resolved.
fn paths(source: &Source) -> Vec<Vec<String>> {
    let mut written = Vec::new();
    let mut rest = source.code.as_str();
    let mut others = String::new();
    while let Some(at) = rest.find("use ") {
        let begins = rest[..at].rsplit('\n').next().unwrap_or_default();
        others += &rest[..at];
        rest = &rest[at + 4..];
        if begins.trim().is_empty() || begins.trim().starts_with("pub") {
            let (tree, behind) = rest.split_once(';').unwrap_or((rest, ""));
            leaves(tree, "", &mut written);
            rest = behind;
        }
    }
    others += rest;
    for head in ["crate::", "super::", "self::"] {
        for (at, _) in others.match_indices(head) {
            let is_head = !others[..at].ends_with(|sign: char| sign.is_alphanumeric() || "_:".contains(sign));
            if is_head {
                let end = others[at..].find(|sign: char| !sign.is_alphanumeric() && !"_:".contains(sign));
                written.push(others[at..at + end.unwrap_or(others.len() - at)].to_string());
            }
        }
    }
    let absolute = written.iter().filter_map(|path| {
        let mut parts = path.split(" as ").next().unwrap_or_default().split("::").peekable();
        let mut base = match *parts.peek()? {
            "crate" => Vec::new(),
            "super" | "self" => source.module.clone(),
            _ => return None,
        };
        while let Some(part) = parts.next_if(|part| ["crate", "super", "self"].contains(part)) {
            if part == "super" {
                base.pop();
            }
        }
        base.extend(parts.map(|part| part.trim().to_string()));
        Some(base)
    });
    absolute.collect()
}

#[test]
fn folders_import_only_what_lies_below_them() {
    let mut found = BTreeSet::new();
    for (at, (folder, below)) in IMPORTS.iter().enumerate() {
        for other in *below {
            if !IMPORTS[..at].iter().any(|(name, _)| name == other) {
                found.insert(format!("the table lets {folder} import {other}, which does not lie below it"));
            }
        }
    }
    for source in sources() {
        let folder = source.module[0].as_str();
        if ["lib", "main"].contains(&folder) {
            continue;
        }
        let Some((_, below)) = IMPORTS.iter().find(|(name, _)| *name == folder) else {
            found.insert(format!("src/{}: {folder} is not in the table", source.path));
            continue;
        };
        for path in paths(&source) {
            let Some(other) = path.first().filter(|other| IMPORTS.iter().any(|(name, _)| name == other))
            else {
                continue; // a macro
            };
            if other != folder && !below.contains(&other.as_str()) {
                found.insert(format!(
                    "src/{}: {folder} must not import {other}: {}",
                    source.path,
                    path.join("::")
                ));
            }
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn no_two_files_import_each_other() {
    let sources = sources();
    let files: BTreeMap<&[String], &str> =
        sources.iter().map(|source| (source.module.as_slice(), source.path.as_str())).collect();
    let mut imports: BTreeSet<(&str, &str)> = BTreeSet::new();
    for source in &sources {
        for path in paths(source) {
            let file = (1..=path.len()).rev().find_map(|length| files.get(&path[..length]));
            if let Some(file) = file.filter(|file| **file != source.path) {
                imports.insert((source.path.as_str(), file));
            }
        }
    }
    assert!(imports.len() > 500, "{}", imports.len());
    let both = imports.iter().filter(|(one, other)| one < other && imports.contains(&(*other, *one)));
    let both: Vec<(&str, &str)> = both.copied().collect();
    let fresh = both.iter().filter(|pair| !CIRCLES.contains(pair));
    let mut found: Vec<String> = fresh.map(|(one, other)| format!("src/{one} and src/{other}")).collect();
    let broken = CIRCLES.iter().filter(|pair| !both.contains(pair));
    found.extend(
        broken.map(|(one, other)| format!("src/{one} and src/{other} are one no more: take the row out")),
    );
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_type_has_a_name_of_its_own() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        // types at the top level of a module: those within blocks are associated types, or seen there only
        for line in source.code.lines().filter(|line| !line.starts_with(char::is_whitespace)) {
            let mut words =
                line.split_whitespace().skip_while(|word| word.starts_with("pub") || word.ends_with(')'));
            if let (Some("struct" | "enum" | "trait" | "type" | "union"), Some(name)) =
                (words.next(), words.next())
            {
                let end =
                    name.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(name.len());
                places.entry(name[..end].to_string()).or_default().push(source.path.clone());
            }
        }
    }
    assert!(places.len() > 300, "{}", places.len());
    let mut found = Vec::new();
    for (name, files) in places.iter().filter(|(_, files)| files.len() > 1) {
        if !DEFINED_TWICE
            .iter()
            .any(|(listed, count, reason)| listed == name && *count >= files.len() && !reason.is_empty())
        {
            found.push(format!("{name}: {}", files.join(", ")));
        }
    }
    for (name, count, _) in DEFINED_TWICE {
        if places.get(*name).is_none_or(|files| files.len() < *count) {
            found.push(format!("{name} is not defined {count} times any more: take it out of the list"));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn use_trees_are_taken_apart() {
    let code = "use crate::a::{b::{C, D}, e};\nuse super::f;\nfn g() { self::h::i() }\n".to_string();
    let source = Source { path: "x/y.rs".into(), module: vec!["x".into(), "y".into()], code };
    let found: BTreeSet<String> = paths(&source).iter().map(|path| path.join("::")).collect();
    let expected = ["a::b::C", "a::b::D", "a::e", "x::f", "x::y::h::i"].map(str::to_string);
    assert_eq!(found, BTreeSet::from(expected));
}
