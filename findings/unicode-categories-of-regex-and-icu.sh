#!/usr/bin/env bash
# Two Unicode libraries of one program disagree about which characters are lower-case letters.
#
# Expected: the regex crate's \p{Ll} (general category Lowercase_Letter) and ICU4X's GeneralCategory::LowercaseLetter accept the
# same characters, so that a generator that is written as a regular expression makes only input that a policy based on ICU4X
# accepts.
#
# What happens: each crate ships the tables of its own Unicode version. regex-syntax 0.8.11 has Unicode 16, icu_properties 2.4.0
# has Unicode 17, and that version moved characters between categories: U+0295 is Ll in the one and Lo in the other. A property
# test that draws letters with \p{Ll} fails about once in some thousand runs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
regex = { version = "=1.13.1", default-features = false, features = ["std", "unicode-gencat"] }
regex-syntax = "=0.8.11"
icu_properties = { version = "=2.4.0", default-features = false, features = ["compiled_data"] }
TOML
cat >src/main.rs <<'RUST'
use icu_properties::{CodePointMapData, props::GeneralCategory};

fn main() {
    let lower_case = regex::Regex::new(r"^\p{Ll}$").expect("a valid expression");
    let categories = CodePointMapData::<GeneralCategory>::new();
    let disagreements = (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(|character| {
        let in_regex = lower_case.is_match(character.encode_utf8(&mut [0; 4]));
        in_regex != (categories.get(*character) == GeneralCategory::LowercaseLetter)
    });
    for character in disagreements {
        println!(
            "U+{:04X} regex:{} icu:{:?}",
            u32::from(character),
            lower_case.is_match(character.encode_utf8(&mut [0; 4])),
            categories.get(character),
        );
    }
}
RUST
cargo build --quiet
grep -A1 -E '^name = "(regex-syntax|icu_properties)"$' Cargo.lock | grep -v '^--'
output=$(cargo run --quiet)
printf '%s\n' "$output" | head -n 20
printf '%s\n' "$output" | grep -qx 'U+0295 regex:true icu:OtherLetter' ||
    { echo "changed: the two crates agree about U+0295" >&2; exit 1; }
echo "as described: the crates disagree about $(printf '%s\n' "$output" | wc -l) characters"
