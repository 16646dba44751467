//! The links between the pages: each leads to a file or a heading that exists.

use std::{
    fs,
    path::{Path, PathBuf},
};

use haven_testkit::workspace;

/// The Markdown pages of the repository.
fn pages() -> Vec<PathBuf> {
    let root = workspace::root();
    let mut pages = vec![root.join("README.md")];
    for folder in ["deploy", "migrations", "proto", "services", "tests"] {
        let files = workspace::files(&root.join(folder)).unwrap().into_iter();
        let own = files.filter(|path| !path.components().any(|part| part.as_os_str() == "node_modules"));
        pages.extend(own.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages
}

/// The targets of the inline links in `page`, outside of code blocks.
fn targets(page: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            targets.extend(part.split(')').next().map(str::to_owned));
        }
    }
    targets
}

/// The anchors of the headings in `page`, made as GitHub makes them.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let text = heading.trim_start_matches('#').trim().to_lowercase();
            text.chars()
                .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
                .map(|character| if character == ' ' { '-' } else { character })
                .collect()
        })
        .collect()
}

fn broken(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let targets = targets(&text).into_iter();
    targets
        .filter(|target| !target.starts_with("https://"))
        .filter(|target| {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                page.to_owned()
            } else {
                page.parent().unwrap().join(file)
            };
            let has_anchor = || {
                let linked = fs::read_to_string(&path).unwrap_or_default();
                anchor.is_empty() || anchors(&linked).iter().any(|found| found == anchor)
            };
            !(path.exists() && has_anchor())
        })
        .map(|target| format!("{}: {target}", page.display()))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() >= 9, "{pages:?}");
    let broken: Vec<_> = pages.iter().flat_map(|page| broken(page)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_broken_link_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.md");
    fs::write(
        &page,
        "# A heading, and more\n[a](#a-heading-and-more) [b](#b) [c](page.md) [d](none.md)\n",
    )
    .unwrap();
    let found = broken(&page);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].ends_with("#b") && found[1].ends_with("none.md"),
        "{found:?}"
    );
}

#[test]
fn the_first_page_is_short() {
    let readme = fs::metadata(workspace::root().join("README.md")).unwrap();
    assert!(readme.len() <= 12 * 1024, "{} bytes", readme.len());
}
