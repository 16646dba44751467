//! `deploy/image/Containerfile`, as far as the manifests rely on it. `deploy/image/test` builds and runs the images.

use std::fs;

use haven_testkit::workspace;

#[test]
fn each_target_runs_its_program_as_a_numbered_user() {
    let text = fs::read_to_string(workspace::root().join("deploy/image/Containerfile")).unwrap();
    let stages: Vec<_> = text.split("\nFROM ").collect();
    let stage = |name: &str| {
        let ending = format!(" AS {name}");
        let found = stages
            .iter()
            .find(|stage| stage.lines().next().unwrap().ends_with(&ending));
        *found.expect(name)
    };
    assert!(stage("base").contains("\nUSER 65532:65532\n"));
    for service in ["identity", "data"] {
        let stage = stage(service);
        assert!(stage.starts_with("base AS"), "{stage}");
        for line in [
            format!("COPY --from=builder /programs/{service} /usr/local/bin/{service}"),
            format!("ENTRYPOINT [\"/usr/local/bin/{service}\"]"),
            "CMD [\"serve\"]".to_owned(),
        ] {
            assert!(stage.lines().any(|found| found == line), "{service} lacks {line}");
        }
    }
}
