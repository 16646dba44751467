//! The trusted token issuers beside Haven's own.

use std::{collections::HashSet, path::Path};

use super::{ConfigProblems, issuer_settings};
use crate::auth::{ClaimRules, KeyFile, TrustedIssuer};

const NAME: &str = "TRUSTED_ISSUERS";

/// Parses `list`, `ISSUER=KIND:FILE,…`, and reads its files; `own` is Haven's own issuer, `audience` the audience of
/// tokens where a file states no other.
///
/// A secret may have been written in place of its file's name by mistake. Therefore a problem identifies its entry by
/// position or issuer, and contains no other part of it.
pub(super) fn issuers(
    list: &str,
    own: &str,
    audience: &str,
    problems: &mut ConfigProblems,
) -> Option<Vec<TrustedIssuer>> {
    let (mut issuers, mut names, mut complete) = (Vec::new(), HashSet::from([own]), true);
    let entries = list.split(',').map(str::trim).enumerate();
    for (position, entry) in entries.filter(|(_, entry)| !entry.is_empty()) {
        let mut add = |problem: String| {
            problems.add(NAME, problem);
            complete = false;
        };
        let parts = entry.split_once('=').and_then(|(name, source)| {
            let (kind, file) = source.split_once(':')?;
            Some((name.trim(), kind.trim(), Path::new(file.trim())))
        });
        let Some((name, kind, file)) = parts.filter(|(name, ..)| !name.is_empty()) else {
            add(format!("entry {} must be ISSUER=KIND:FILE", position + 1));
            continue;
        };
        if name == own {
            add(format!("{name} is TOKEN_ISSUER, which must not be in this list"));
        } else if !names.insert(name) {
            add(format!("{name} is listed twice"));
        }
        let with_file = |file| {
            TrustedIssuer::new(name, ClaimRules::standard(audience), Some(file), None)
                .map_err(|problem| vec![problem])
        };
        let issuer = match kind {
            "jwks" => with_file(KeyFile::Public(file.to_owned())),
            "hs256" => with_file(KeyFile::Secret(file.to_owned())),
            "config" => issuer_settings::read(file, audience).and_then(|settings| {
                TrustedIssuer::new(name, settings.rules, settings.file, settings.address)
                    .map_err(|problem| vec![problem])
            }),
            _ => Err(vec!["its kind must be jwks, hs256 or config".to_owned()]),
        };
        match issuer {
            Ok(issuer) => issuers.push(issuer),
            Err(problems) => problems
                .into_iter()
                .for_each(|problem| add(format!("{name}: {problem}"))),
        }
    }
    complete.then_some(issuers)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "k1",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

    fn file(directory: &TempDir, name: &str, content: &str) -> String {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn read(list: &str) -> Result<Vec<String>, String> {
        let mut problems = ConfigProblems::new();
        let issuers = issuers(list, "haven", "authenticated", &mut problems);
        let issuers = problems.finish(issuers).map_err(|error| error.to_string())?;
        Ok(issuers.iter().map(|issuer| issuer.name().to_string()).collect())
    }

    #[test]
    fn a_list_names_issuers_and_their_files() {
        let files = TempDir::new().unwrap();
        let jwks = file(&files, "jwks.json", JWKS);
        let secret = file(&files, "secret", "a secret of thirty-two bytes ...\n");
        assert_eq!(read(""), Ok(vec![]));
        let settings = json!({"jwks_file": jwks, "role_claim": null, "subject": "uuid_v5"});
        let settings = file(&files, "settings.json", &settings.to_string());
        let list = format!(
            "https://abc.supabase.co/auth/v1=jwks:{jwks}, https://old.example:8443=hs256:{secret},\
             https://securetoken.example/app=config:{settings}"
        );
        let names = [
            "https://abc.supabase.co/auth/v1",
            "https://old.example:8443",
            "https://securetoken.example/app",
        ];
        assert_eq!(read(&list), Ok(names.map(String::from).to_vec()));
    }

    #[test]
    fn everything_wrong_is_reported_at_once_and_no_secret_is_shown() {
        let files = TempDir::new().unwrap();
        let jwks = file(&files, "jwks.json", JWKS);
        let empty = file(&files, "empty.json", r#"{"keys": []}"#);
        // 31 bytes without the line break, which is too short.
        let short = file(&files, "short", "canary-of-thirty-one-bytes.....\n");
        let list = [
            "canary".to_owned(),
            "=jwks:canary".to_owned(),
            format!("a=jwks:{jwks}"),
            format!("a=jwks:{jwks}"),
            format!("haven=jwks:{jwks}"),
            "b=canary:canary".to_owned(),
            "c=hs256:canary".to_owned(),
            format!("d=hs256:{short}"),
            format!("e=jwks:{empty}"),
            format!("f=jwks:{short}"),
            "g=config:canary".to_owned(),
            format!("h=config:{short}"),
            format!("i=config:{jwks}"),
        ];
        let error = read(&list.join(",")).unwrap_err();
        for expected in [
            "entry 1 must be ISSUER=KIND:FILE",
            "entry 2 must be ISSUER=KIND:FILE",
            "a is listed twice",
            "haven is TOKEN_ISSUER, which must not be in this list",
            "b: its kind must be jwks, hs256 or config",
            "c: cannot read its file: No such file",
            "d: the secret must have at least 32 bytes",
            "e: its file: it has no usable key",
            "f: its file: it is not a JSON Web Key Set (line 1",
            "g: cannot read its file: No such file",
            "h: its file must be a JSON object (line 1",
            "i: its file: `keys` is not a setting",
            "i: its file: `role_claim` is missing",
        ] {
            assert!(
                error.contains(&format!("\n  TRUSTED_ISSUERS: {expected}")),
                "{expected}: {error}"
            );
        }
        assert!(!error.contains("canary"), "{error}");
    }
}
