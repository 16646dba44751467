//! The pages of `deploy/web` in a real browser, against both services: the specs of Playwright in `deploy/web/tests`.

mod commands;
mod control;
mod pages;
mod shares;
mod trust;

use std::{env, path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use haven_testkit::{Stack, port::Port, process, workspace};
use tokio::process::Command;

use self::{control::Control, pages::Pages};

/// The variable with further arguments of `playwright test`, such as the name of one spec.
const ARGUMENTS: &str = "PLAYWRIGHT_ARGUMENTS";

/// Alone, and not with the suite: a browser beside it would wait too long for its turn. `deploy/web/check` runs it.
#[tokio::test]
#[ignore = "deploy/web/check runs it, alone"]
async fn the_pages_work_in_a_browser() -> Result<()> {
    let web = workspace::root().join("deploy/web");
    ensure!(
        web.join("dist/index.html").exists(),
        "deploy/web is not built: run deploy/web/check"
    );
    let port = Port::reserve()?;
    let origin = format!("http://localhost:{}", port.number());
    let mut stack = Stack::builder().web_origins(&origin).start().await?;
    let _pages = Pages::start(&web.join("dist"), &port, &stack)?;
    let home = tempfile::tempdir()?;
    trust::authority(home.path(), &stack.certificates.authority())?;

    let control = Control::listen().await?;
    let mut playwright = playwright(&web)
        .env("HAVEN_HOME", home.path())
        .env("HAVEN_CONTROL", control.port()?.to_string())
        .env("HAVEN_PAGES", &origin)
        .env("HAVEN_IDENTITY", address(stack.identity.listeners.api))
        .env("HAVEN_DATA", address(stack.data.listeners.api))
        .env("NODE_EXTRA_CA_CERTS", stack.certificates.authority())
        .spawn()
        .context("starting node")?;
    let status = tokio::select! {
        status = playwright.wait() => status?,
        problem = control.serve(&mut stack) => return Err(problem),
    };
    ensure!(
        status.success(),
        "Playwright failed: {status}; what it printed is above"
    );
    Ok(())
}

/// Returns the address of a service for browsers. Its certificate has this name.
fn address(port: u16) -> String {
    format!("https://localhost:{port}")
}

/// Returns the command of Playwright. Its output is shown while it runs, past the capture of the test harness.
fn playwright(web: &Path) -> Command {
    let mut command = process::command("node", None, process::OnDeath::Kill);
    command
        .args(["node_modules/@playwright/test/cli.js", "test"])
        .args(env::var(ARGUMENTS).unwrap_or_default().split_whitespace())
        .current_dir(web)
        .stdin(Stdio::null());
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    command
}
