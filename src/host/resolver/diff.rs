//! What an edit changes, as lines with `-` and `+`. Text only.

use super::HostEdit;
use super::content::Content;
use std::fmt::Write;

/// The change of an edit.
pub fn of(edit: &HostEdit) -> String {
    let (from, to) = (title(&edit.path, &edit.before), title(&edit.path, &edit.after));
    let mut text = format!("--- {from}\n+++ {to}\n");
    let (old, new) = (edit.before.text().unwrap_or_default(), edit.after.text().unwrap_or_default());
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    for (mark, line) in lines(&old, &new) {
        let _ = writeln!(text, "{mark}{line}"); // writing to a String does not fail
    }
    text
}

/// What lies there, for the head of a diff.
fn title(path: &str, content: &Content) -> String {
    match content {
        Content::Absent => "/dev/null".into(),
        Content::Link { target } => format!("{path} -> {}", String::from_utf8_lossy(&target.0)),
        Content::File { .. } => path.into(),
    }
}

/// The lines of both, marked: a longest common subsequence stays. These files have a few dozen lines.
fn lines<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let mut common = vec![vec![0u32; new.len() + 1]; old.len() + 1];
    for (i, one) in old.iter().enumerate().rev() {
        for (j, two) in new.iter().enumerate().rev() {
            common[i][j] =
                if one == two { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut marked) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            marked.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            marked.push(('-', old[i]));
            i += 1;
        } else {
            marked.push(('+', new[j]));
            j += 1;
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_goes_and_comes() {
        let edit = HostEdit {
            path: "/etc/resolv.conf".into(),
            before: Content::file("search a\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions rotate\n"),
            after: Content::file("# ours\nsearch a\nnameserver 127.0.0.1\n"),
            block: None,
        };
        let expected = "--- /etc/resolv.conf\n+++ /etc/resolv.conf\n+# ours\n search a\n-nameserver 192.0.2.1\n\
                        -nameserver 192.0.2.2\n-options rotate\n+nameserver 127.0.0.1\n";
        assert_eq!(of(&edit), expected);
        let link = HostEdit { before: Content::link("../x"), after: Content::Absent, ..edit };
        assert_eq!(of(&link), "--- /etc/resolv.conf -> ../x\n+++ /dev/null\n");
    }
}
