//! The manual page and the completions: that they have every command and option, and none that is hidden.

use crate::server::command;
use clap::{Command, CommandFactory};
use pvtzd::cli::{Cli, manual as page};

/// What a command writes to standard output.
fn written(words: &[&str]) -> String {
    let ended = command().args(words).output().unwrap();
    let complaints = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && complaints.is_empty(), "{words:?}: {complaints}");
    String::from_utf8(ended.stdout).unwrap()
}

/// The page without roff's escapes.
fn manual() -> String {
    written(&["man"])
        .replace("\\-", "-")
        .replace("\\fB", "")
        .replace("\\fI", "")
        .replace("\\fR", "")
        .replace("\\*(Aq", "'")
}

/// All options that people may use, of all commands: `(command, --option)`.
fn options() -> Vec<(String, String)> {
    let root = Cli::command();
    let mut all: Vec<(String, &Command)> = vec![("pvtzd".to_string(), &root)];
    all.extend(page::commands(&root));
    let options = all.iter().flat_map(|(name, command)| {
        let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
        shown.filter_map(|argument| Some((name.clone(), format!("--{}", argument.get_long()?))))
    });
    options.collect()
}

#[test]
fn the_manual_has_every_command_with_every_option() {
    let (text, root) = (manual(), Cli::command());
    let commands = page::commands(&root);
    assert!(commands.len() > 30, "{}", commands.len());
    for (name, command) in &commands {
        let heading = format!("\n.SS \"{name}\"\n");
        let (_, section) = text.split_once(&heading).unwrap_or_else(|| panic!("no section on `{name}`"));
        let section = section.split("\n.SS ").next().unwrap().split("\n.SH ").next().unwrap();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty() && section.contains(&about), "{name}: {about}");
        for (of, option) in options().iter().filter(|(of, _)| of == name) {
            assert!(
                section.contains(&format!("\n.TP\n{option}")) || section.contains(&format!(", {option}")),
                "{of} {option}"
            );
        }
    }
    for hidden in ["inside", "--vpc-resolver", "--api-port", "--root"] {
        assert!(
            !text.contains(&format!(" {hidden}\"")) && !text.contains(&format!("\n{hidden} ")),
            "{hidden}"
        );
    }
}

#[test]
fn the_manual_has_what_the_definition_does_not_know() {
    let text = manual();
    for section in ["FILES", "\"EXIT STATUS\"", "ENVIRONMENT", "SIGNALS", "\"SEE ALSO\""] {
        assert!(text.contains(&format!("\n.SH {section}\n")), "{section}");
    }
    let root = Cli::command();
    for command in page::commands(&root).iter().map(|(_, command)| *command).chain([&root]) {
        for variable in command.get_arguments().filter_map(|argument| argument.get_env()) {
            let (_, environment) = text.split_once("\n.SH ENVIRONMENT\n").unwrap();
            assert!(environment.contains(&*variable.to_string_lossy()), "{}", variable.display());
        }
    }
    for line in text.lines() {
        assert_eq!(line, line.trim_end(), "no space at the end of a line");
    }
}

#[test]
fn the_completions_have_every_option_and_no_hidden_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = written(&["completions", shell]);
        for (command, option) in options() {
            let written = match shell {
                "fish" => format!("-l {}", option.trim_start_matches('-')),
                _ => option,
            };
            assert!(script.contains(&written), "{shell}: {command} {written}");
        }
        assert!(script.contains("give-back") && !script.contains("inside"), "{shell}");
    }
    let other = command().args(["completions", "tcsh"]).output().unwrap();
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("bash, zsh, fish"));
}
