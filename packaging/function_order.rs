//! Has the linker place the functions that run at the start side by side: an idle server then holds the pages of these
//! and not nearly all pages of the file (docs/decisions/024-function-order.md). `packaging/function-order` writes
//! the list of names. Without it, or with a linker that takes no such script, the program is the same but for its
//! order.

use std::io::{self, Write};
use std::path::Path;
use std::{env, fs};

/// Names of functions as the linker knows them, one a line; `*` stands for what changes with each compiler.
const LIST: &str = "packaging/function-order.txt";

/// Linkers that take no script with `INSERT`.
const WITHOUT_SCRIPTS: &[&str] = &["mold", "gold", "wild"];

fn main() -> io::Result<()> {
    let mut cargo = io::stdout();
    writeln!(cargo, "cargo::rerun-if-changed=packaging/function_order.rs")?;
    writeln!(cargo, "cargo::rerun-if-changed={LIST}")?;
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    let linker = variable("RUSTC_LINKER");
    let is_known = !WITHOUT_SCRIPTS.iter().any(|name| flags.contains(name) || linker.contains(name));
    // A bare linker has other arguments than the compiler's driver.
    let is_driver = !linker.ends_with("ld") && !flags.contains("linker-flavor");
    if variable("CARGO_CFG_TARGET_OS") == "linux" && variable("PROFILE") == "release" && is_known && is_driver
    {
        let script = Path::new(&variable("OUT_DIR")).join("function-order.ld");
        fs::write(&script, linker_script(&fs::read_to_string(LIST)?))?;
        writeln!(cargo, "cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display())?;
    }
    Ok(())
}

/// A section of these functions before that of all others. Each function is compiled into a section of its own; what
/// the compiler takes for unlikely has another prefix.
fn linker_script(names: &str) -> String {
    let mut script = "SECTIONS {\n.text.start : {\n".to_string();
    for name in names.lines().filter(|line| !line.starts_with('#')) {
        script += &format!("*(.text.{name} .text.unlikely.{name})\n");
    }
    script + "}\n}\nINSERT BEFORE .text;\n"
}
