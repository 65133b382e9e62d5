//! `pvtzd man` and `pvtzd completions`: the manual page and the completions of shells, made from the definition of the
//! command line. The page has every command, and below them what the definition does not know, such as files and signals.

use super::{Cli, exit};
use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use std::io;

/// What pvtzd is, in a few sentences.
const DESCRIPTION: [&str; 3] = [
    "pvtzd is a small DNS server that runs beside a program or on a machine and does what Alibaba Cloud PrivateZone \
     does in a VPC: private zones, the recursion proxy, forwarding rules, and a cache in front of the resolvers that \
     are there. It is not a recursive resolver.",
    "Without a command it serves. With the packages it does so as a service, pvtzd.service, on 127.0.0.1:53.",
    "Data go to standard output, diagnostics and logs to standard error. --config and --json may be given with every \
     command; --json means nothing to run, lab exec, lab shell, completions and man.",
];

/// Sections after the commands: a title, and in each of its rows what it is about and what is to be said.
const SECTIONS: [(&str, &[(&str, &str)]); 5] = [
    (
        "FILES",
        &[
            ("/etc/pvtzd/pvtzd.toml", "The configuration. Nothing starts with a fault in it."),
            (
                "/var/lib/pvtzd",
                "The state of the service: the saved cache, and what was made through the API.",
            ),
            ("/var/lib/pvtzd-resolver", "What a resolver take found, kept for give-back. Made by root."),
            ("/run/pvtzd/pvtzd.sock", "The control socket of status, zones, flush and reload."),
            ("/usr/share/doc/pvtzd", "All documents; pvtzd.toml there has every key of the configuration."),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            ("0", "All is well."),
            (
                "1",
                "The command worked and found something: an expectation is not met, the answer is an error, the API \
                 refused, documents differ, a step of the doctor failed, a take was refused or is not in force, a \
                 reload found faults.",
            ),
            ("2", "Wrong usage."),
            ("3", "An address cannot be listened on."),
            ("4", "The server cannot be reached."),
            ("71", "Something on this machine failed that is none of the above."),
            ("78", "The configuration is wrong."),
            (
                "lab exec, lab shell",
                "The status of the command; 127 if there is no such command, 128 + n after signal n.",
            ),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("PVTZD_CONFIG", "The configuration, as --config."),
            ("PVTZD_ENDPOINT", "Where the API is, as --endpoint."),
            (
                "ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET",
                "The access key with which zone, record, rule, export, import and diff sign; without them that of \
                 the configuration.",
            ),
            (
                "PVTZD_LAB_DNS, PVTZD_LAB_API, PVTZD_LAB_HTTP, PVTZD_LAB_HTTPS",
                "Where a lab listens, as --dns and so on.",
            ),
            (
                "PVTZD_LAB_CLIENTS, PVTZD_LAB_ADVERTISE, PVTZD_LAB_CONSOLE_BEYOND_LOOPBACK",
                "Its clients elsewhere, as --clients and --advertise.",
            ),
            (
                "PVTZD_LAB_KEY_ID, PVTZD_LAB_SECRET",
                "The lab's access key, as --access-key-id and --access-key-secret.",
            ),
            (
                "ALIBABA_CLOUD_ECS_METADATA_DISABLED",
                "true: the metadata service is not queried, as with --metadata off.",
            ),
            ("RUST_LOG", "What is logged; goes before --log."),
            ("NO_COLOR", "No colours, even on a terminal."),
            ("SSL_CERT_FILE", "The CAs that count, instead of the system's."),
            (
                "STATE_DIRECTORY",
                "The directory for state, where neither --state-dir nor the configuration names one.",
            ),
            ("RUNTIME_DIRECTORY", "Where the control socket is made and looked for, instead of /run/pvtzd."),
            (
                "CREDENTIALS_DIRECTORY",
                "Where secret_credential of the configuration is looked for; set by systemd.",
            ),
            ("XDG_STATE_HOME", "Where the lab keeps its CA and its access key: pvtzd/lab below it."),
        ],
    ),
    (
        "SIGNALS",
        &[
            ("HUP", "Reload the configuration. If it has an error, the former one stays in force."),
            ("TERM, INT", "Stop the server after the queries in flight."),
        ],
    ),
    (
        "SEE ALSO",
        &[
            ("resolv.conf(5), systemd-resolved.service(8), dig(1)", ""),
            ("/usr/share/doc/pvtzd/install.md", "Installation and removal."),
            ("/usr/share/doc/pvtzd/fallback.md", "An instance whose VPC has no PrivateZone."),
            ("/usr/share/doc/pvtzd/configuration.md", "Every key of the configuration."),
            ("/usr/share/doc/pvtzd/troubleshooting.md", "Solving problems."),
        ],
    ),
];

/// Options of `completions`.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: KnownShell,
}

/// Shells that completions are made for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KnownShell {
    Bash,
    Zsh,
    Fish,
}

/// `pvtzd completions`: the script for a shell, on standard output.
pub(super) fn completions(args: &CompletionsArgs) -> u8 {
    let shell = match args.shell {
        KnownShell::Bash => Shell::Bash,
        KnownShell::Zsh => Shell::Zsh,
        KnownShell::Fish => Shell::Fish,
    };
    print!("{}", script(shell));
    exit::OK
}

/// `pvtzd man`: the page in roff, on standard output.
pub(super) fn man() -> u8 {
    match page(&Cli::command()) {
        Ok(page) => {
            print!("{page}");
            exit::OK
        }
        Err(error) => {
            eprintln!("error: cannot generate the manual page: {error}");
            exit::SYSTEM
        }
    }
}

/// The completions for a shell.
pub fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible(&Cli::command()), "pvtzd", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The whole page.
///
/// # Errors
/// None in practice: it is written into memory.
pub fn page(command: &Command) -> io::Result<String> {
    let version = command.get_version().unwrap_or_default();
    let root = alone(command, "pvtzd");
    let man = Man::new(root);
    let mut page = Roff::new().render().into_bytes();
    // Without a date: the version tells how old it is, and the same source makes the same page.
    page.extend(format!(".TH PVTZD 1 \"\" \"pvtzd {version}\" pvtzd\n").into_bytes());
    // Words such as addresses and paths are not to be torn apart, lines not to be stretched.
    page.extend(b".nh\n.ad l\n");
    man.render_name_section(&mut page)?;
    page.extend(b".SH SYNOPSIS\n\\fBpvtzd\\fR [\\fIoptions\\fR] [\\fIcommand\\fR]\n");
    let mut description = Roff::new();
    description.control("SH", ["DESCRIPTION"]);
    for (number, paragraph) in DESCRIPTION.into_iter().enumerate() {
        if number > 0 {
            description.control("PP", []);
        }
        description.text([roman(paragraph)]);
    }
    description.to_writer(&mut page)?;
    man.render_options_section(&mut page)?;
    page.extend(b".SH COMMANDS\n");
    for (name, command) in commands(command) {
        section(&name, command, &mut page)?;
    }
    tail().to_writer(&mut page)?;
    Ok(without_repeated_preamble(&String::from_utf8_lossy(&page)))
}

/// The definition without what is not meant for people: a copy of all that may be seen.
fn visible(command: &Command) -> Command {
    let mut copy = without_subcommands(command);
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        copy = copy.subcommand(visible(sub));
    }
    copy
}

/// Every command that people may use, in the order of the help, with its whole name.
pub fn commands(command: &Command) -> Vec<(String, &Command)> {
    let mut found = Vec::new();
    let mut open = vec![("pvtzd".to_string(), command)];
    while let Some((name, command)) = open.pop() {
        let subs: Vec<_> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
        open.extend(subs.into_iter().rev().map(|sub| (format!("{name} {}", sub.get_name()), sub)));
        found.push((name, command));
    }
    found.split_off(1)
}

/// One command: how it is called, what it does, its options.
fn section(name: &str, command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let has_subcommands = command.has_subcommands();
    let mut heading = Roff::new();
    heading.control("SS", [name]);
    heading.to_writer(page)?;
    let man = Man::new(alone(command, name));
    let mut usage = Vec::new();
    man.render_synopsis_section(&mut usage)?;
    let mut usage = without_heading(&usage);
    if command.get_positionals().any(clap::Arg::is_last_set) {
        // What follows is another's command line, and its options are not ours.
        usage = usage.replacen(" <\\fI", " \\-\\- <\\fI", 1);
    }
    page.extend(usage.as_bytes());
    if has_subcommands {
        page.extend(b"[\\fIcommand\\fR]\n");
    }
    let mut about = Roff::new();
    let words = command.get_long_about().or_else(|| command.get_about());
    about.control("PP", []).text([roman(words.map(ToString::to_string).unwrap_or_default())]);
    about.to_writer(page)?;
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    page.extend(without_heading(&options).as_bytes());
    Ok(())
}

/// A command as if there were none below it, and without the help that each of them has.
fn alone(command: &Command, name: &str) -> Command {
    let is_root = !name.contains(' ');
    let command = without_subcommands(command).bin_name(name.to_string());
    command.disable_help_flag(!is_root).disable_help_subcommand(true)
}

/// A copy with arguments, groups and words, and no subcommand.
fn without_subcommands(command: &Command) -> Command {
    let mut copy = Command::new(kept(command.get_name()))
        .args(command.get_arguments().cloned())
        .groups(command.get_groups().cloned());
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    if let Some(about) = command.get_long_about() {
        copy = copy.long_about(about.clone());
    }
    if let Some(version) = command.get_version() {
        copy = copy.version(kept(version));
    }
    copy
}

/// A definition borrows its words for as long as the program runs, and this one ends soon.
fn kept(words: &str) -> &'static str {
    words.to_string().leak()
}

/// What the definition does not know.
fn tail() -> Roff {
    let mut roff = Roff::new();
    for (title, rows) in SECTIONS {
        roff.control("SH", [title]);
        for (subject, words) in rows {
            let words: Vec<Inline> = if words.is_empty() { Vec::new() } else { vec![roman(*words)] };
            if words.is_empty() {
                roff.text([roman(*subject)]);
            } else {
                roff.control("TP", []).text([bold(*subject)]).text(words);
            }
        }
    }
    roff
}

/// A section of clap's without its `.SH` line: it stands below a heading of ours.
fn without_heading(section: &[u8]) -> String {
    let text = String::from_utf8_lossy(section);
    let lines = text.lines().filter(|line| !line.starts_with(".SH "));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Each part begins with the same definition of an apostrophe; the first is enough.
fn without_repeated_preamble(page: &str) -> String {
    let is_preamble = |line: &str| line.starts_with(".ie \\n(.g") || line.starts_with(".el .ds Aq");
    let mut text = String::new();
    for (number, line) in page.lines().enumerate() {
        if number < 2 || !is_preamble(line) {
            text += line.trim_end();
            text.push('\n');
        }
    }
    text
}
