#!/usr/bin/env bash
# `cargo build --bin X` compiles a crate again that `cargo build --workspace` has just compiled with the same features.
#
# Expected: in one workspace with one target directory, a crate with the same version, features and profile is compiled once, and
# a second command that needs only a part of the workspace has nothing to compile.
#
# What happens: cargo leaves out the debug information of a crate that only build scripts and procedural macros need, unless a
# program needs the same crate too. Which of the two holds depends on the set of programs that the command builds, so the crate,
# and everything above it, is compiled in both forms. Setting profile.dev.build-override.debug to the value of profile.dev.debug
# makes the forms equal.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p program/src tool/src
cat >Cargo.toml <<'TOML'
[workspace]
resolver = "3"
members = ["program", "tool"]
TOML
cat >program/Cargo.toml <<'TOML'
[package]
name = "program"
version = "0.0.0"
edition = "2024"

[dependencies]
itoa = "=1.0.15"
TOML
cat >tool/Cargo.toml <<'TOML'
[package]
name = "tool"
version = "0.0.0"
edition = "2024"

[build-dependencies]
itoa = "=1.0.15"
TOML
echo 'fn main() { println!("{}", itoa::Buffer::new().format(7)); }' | tee program/src/main.rs >tool/build.rs
echo 'fn main() {}' >tool/src/main.rs

cargo --version
cargo build --quiet --workspace
second=$(cargo build --bin tool 2>&1)
printf 'without build-override.debug:\n%s\n' "$second"
grep -q 'Compiling itoa v1.0.15' <<<"$second" || { echo "changed: nothing was compiled again" >&2; exit 1; }

printf '\n[profile.dev.build-override]\ndebug = true\n' >>Cargo.toml
cargo build --quiet --workspace
second=$(cargo build --bin tool 2>&1)
printf 'with build-override.debug:\n%s\n' "$second"
! grep -q 'Compiling itoa' <<<"$second" || { echo "changed: the setting makes no difference" >&2; exit 1; }
echo "as described"
