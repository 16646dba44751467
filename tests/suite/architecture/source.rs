//! The Rust sources of the workspace, as the checks read them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Returns every Rust file under `folder`, at any depth, sorted.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Returns the code of the file at `path`: comments and the contents of string and character literals are left out, line
/// breaks stay.
pub(super) fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    strip(&text)
}

fn strip(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let in_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest).filter(|_| !in_word) {
            length
        } else if first == '"' || is_character(rest) {
            quoted(rest)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..length].matches('\n'));
        rest = &rest[length..];
    }
    code
}

/// Returns true when `text` begins with a character literal, and not with a lifetime.
fn is_character(text: &str) -> bool {
    text.starts_with("'\\") || (text.starts_with('\'') && text.chars().nth(2) == Some('\''))
}

/// Returns the length of the literal at the start of `text`. The first character is its quote.
fn quoted(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (position, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if byte == quote => return position + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns the length of the raw string literal at the start of `text`. `None` when there is none.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let content = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - content.len();
    Some(start + content.find(&end)? + end.len())
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = r##"use a::b; // not::code
/* not::code */ let c = "not \" code"; let d = r#"not " code"#; let e = '"'; let f: &'static str = g;"##;
    let expected = "use a::b; \n let c = ; let d = ; let e = ; let f: &'static str = g;";
    assert_eq!(strip(text), expected);
}
