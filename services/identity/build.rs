//! `sqlx::migrate!` reads the migrations while compiling; without this, a new one would not be noticed.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/identity");
}
