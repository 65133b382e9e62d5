//! Writes what packages carry beside the program: `cargo run --example manual -- DIR` makes the manual page and the
//! completions for bash, zsh and fish in DIR, all of them from the command line's own definition.
//!
//! It is no part of the program, so that nobody who runs pvtzd carries what makes its manual.
#![allow(clippy::disallowed_macros, reason = "it is no part of the program")]

mod page;

use clap::CommandFactory;
use clap_complete::Shell;
use pvtzd::cli::Cli;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("error: where to? `cargo run --example manual -- DIR`");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write into {}: {error}", Path::new(&folder).display());
            ExitCode::from(71)
        }
    }
}

/// Makes the folder and all that belongs there: `pvtzd.1`, `pvtzd.bash`, `_pvtzd`, `pvtzd.fish`.
fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("pvtzd.1"), page::page(&Cli::command())?)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut page::visible(&Cli::command()), "pvtzd", folder)?;
    }
    Ok(())
}
