//! Tokens in the form of providers, with the settings of `deploy/issuers`, through both services.

use std::fs;

use haven_proto::identity::v1::GetAccountRequest;
use haven_testkit::{Stack, random, workspace};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    append,
    issuers::with,
    libraries::{Issued, Order, issue},
};
use crate::status::{metadata, reason};

/// A provider: its issuer, the file with its settings, who makes its tokens here, and a token that is accepted.
struct Provider {
    issuer: &'static str,
    settings: &'static str,
    order: Order,
    claims: Value,
    /// Claims of tokens that are refused, each with the problem and the claim that the refusal names.
    refused: Vec<(Value, &'static str, &'static str)>,
    /// The claim that is the person, or `None` for a UUID of version 5 of the issuer and the subject.
    person: Option<&'static str>,
}

fn order(library: &'static str, algorithm: &'static str, form: &'static str) -> Order {
    Order {
        library,
        algorithm,
        kid: Some("1bb9605c36e98e3d"),
        form,
        tokens: Vec::new(),
    }
}

/// The claims of an access token of Keycloak 26 (docs: "Server Administration", "OIDC token and SAML assertion mappings").
fn keycloak() -> Provider {
    let issuer = "https://sso.example.com/realms/haven";
    let now = chrono::Utc::now().timestamp();
    let claims = json!({
        "exp": now + 300, "iat": now, "jti": "onrtac:0f7f1c0e-6a2a-4f3c-9a35-6d5f0b6a5f3d", "iss": issuer, "aud": "account",
        "sub": random::uuid(), "typ": "Bearer", "azp": "haven-app", "sid": random::uuid(), "acr": "1",
        "allowed-origins": ["https://app.example.com"],
        "realm_access": {"roles": ["default-roles-haven", "offline_access", "haven-user"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "scope": "openid email profile", "email_verified": true, "preferred_username": "ada", "email": "ada@example.org",
    });
    Provider {
        issuer,
        settings: "keycloak.json",
        order: order("pyjwt", "RS256", "jwks"),
        refused: vec![
            // An ID token has the same issuer, key and `azp`.
            (with(claims.clone(), "typ", json!("ID")), "CLAIMS", "typ"),
            (
                with(claims.clone(), "azp", json!("another-app")),
                "AUDIENCE",
                "azp",
            ),
            (
                with(
                    claims.clone(),
                    "realm_access",
                    json!({"roles": ["offline_access"]}),
                ),
                "CLAIMS",
                "realm_access.roles",
            ),
            (
                with(claims.clone(), "sub", json!("service-account")),
                "CLAIMS",
                "sub",
            ),
            (with(claims.clone(), "exp", json!("soon")), "CLAIMS", "exp"),
        ],
        claims,
        person: Some("sub"),
    }
}

/// The claims of an access token of Auth0 (docs: "Access Token Profiles"), with a claim that an Action adds.
fn auth0() -> Provider {
    let issuer = "https://haven.eu.auth0.com/";
    let now = chrono::Utc::now().timestamp();
    let claims = json!({
        "https://haven.example.com/roles": ["member"], "iss": issuer, "sub": "auth0|6532a1f0c1d2e3f405162738",
        "aud": ["https://api.haven.example.com", "https://haven.eu.auth0.com/userinfo"], "iat": now, "exp": now + 86_400,
        "scope": "openid profile email", "azp": "my_client_id",
    });
    Provider {
        issuer,
        settings: "auth0.json",
        order: order("authlib", "RS256", "jwks"),
        refused: vec![
            // A program's own token, from the grant client_credentials.
            (
                json!({
                    "iss": issuer, "sub": "my_client_id@clients", "aud": "https://api.haven.example.com", "iat": now,
                    "exp": now + 86_400, "azp": "my_client_id", "gty": "client-credentials",
                }),
                "CLAIMS",
                "https://haven.example.com/roles",
            ),
            // An ID token.
            (
                with(claims.clone(), "aud", json!("my_client_id")),
                "AUDIENCE",
                "aud",
            ),
            (with(claims.clone(), "sub", json!("")), "CLAIMS", "sub"),
        ],
        claims,
        person: None,
    }
}

/// The claims of an ID token of Firebase Authentication (docs: "Verify ID Tokens").
fn firebase() -> Provider {
    let issuer = "https://securetoken.google.com/haven-app";
    let now = chrono::Utc::now().timestamp();
    let claims = json!({
        "iss": issuer, "aud": "haven-app", "auth_time": now - 60, "user_id": "Zk3vR8mQ0aYp1TnXe7LwB4cHsd2",
        "sub": "Zk3vR8mQ0aYp1TnXe7LwB4cHsd2", "iat": now, "exp": now + 3600, "email": "ada@example.org",
        "email_verified": false,
        "firebase": {"identities": {"email": ["ada@example.org"]}, "sign_in_provider": "password"},
    });
    Provider {
        issuer,
        settings: "firebase.json",
        order: order("pyjwt", "RS256", "x509"),
        refused: vec![
            (
                with(
                    with(claims.clone(), "provider_id", json!("anonymous")),
                    "firebase",
                    json!({"identities": {}, "sign_in_provider": "anonymous"}),
                ),
                "CLAIMS",
                "firebase.sign_in_provider",
            ),
            (
                with(claims.clone(), "aud", json!("another-app")),
                "AUDIENCE",
                "aud",
            ),
        ],
        claims,
        person: None,
    }
}

/// The claims of an access token of Entra, version 2.0 (docs: "Access token claims reference"). Its keys have no `alg`.
fn entra() -> Provider {
    let tenant = "b3a1c0de-5f0e-4c5b-9d4e-6a7b8c9d0e1f";
    let issuer = "https://login.microsoftonline.com/b3a1c0de-5f0e-4c5b-9d4e-6a7b8c9d0e1f/v2.0";
    let now = chrono::Utc::now().timestamp();
    let claims = json!({
        "aud": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "iss": issuer, "iat": now, "nbf": now, "exp": now + 4200,
        "azp": "0e7a9b1c-3a5f-4d0e-8b57-2f4f3f1a6c22", "azpacr": "0", "name": "Ada", "oid": random::uuid(),
        "preferred_username": "ada@example.org", "rh": "0.AAAA", "scp": "openid Haven.Use", "sid": random::uuid(),
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": tenant, "uti": "XL1Rq4rSnUKSj8ZnAAAAAA", "ver": "2.0",
    });
    let mut own = with(claims.clone(), "idtyp", json!("app"));
    own.as_object_mut().unwrap().remove("scp");
    Provider {
        issuer,
        settings: "entra.json",
        order: order("jwcrypto", "RS256", "jwks"),
        refused: vec![
            // A program's own token has roles and no scopes.
            (with(own, "roles", json!(["Haven.Use"])), "CLAIMS", "scp"),
            (
                with(claims.clone(), "scp", json!("Haven.UseNot")),
                "CLAIMS",
                "scp",
            ),
            (
                with(claims.clone(), "tid", json!(random::uuid())),
                "CLAIMS",
                "tid",
            ),
            (with(claims.clone(), "ver", json!("1.0")), "CLAIMS", "ver"),
            (with(claims.clone(), "oid", json!("ada")), "CLAIMS", "oid"),
            (
                with(claims.clone(), "nbf", json!(now + 600)),
                "NOT_YET_VALID",
                "nbf",
            ),
        ],
        claims,
        person: Some("oid"),
    }
}

/// The claims of an access token of Amazon Cognito (docs: "Understanding the access token"), which has no `aud`.
fn cognito() -> Provider {
    let issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12Cd34E";
    let now = chrono::Utc::now().timestamp();
    let claims = json!({
        "sub": random::uuid(), "cognito:groups": ["members"], "iss": issuer, "version": 2,
        "client_id": "3n4b5urk1ft4fl3mg5e62d9ado", "origin_jti": random::uuid(), "event_id": random::uuid(),
        "token_use": "access", "scope": "openid email", "auth_time": now, "exp": now + 3600, "iat": now,
        "jti": random::uuid(), "username": "ada",
    });
    Provider {
        issuer,
        settings: "cognito.json",
        order: order("joserfc", "RS256", "jwks"),
        refused: vec![
            (
                with(claims.clone(), "token_use", json!("id")),
                "CLAIMS",
                "token_use",
            ),
            (
                with(claims.clone(), "client_id", json!("another")),
                "AUDIENCE",
                "client_id",
            ),
            (
                with(claims.clone(), "cognito:groups", json!(["guests"])),
                "CLAIMS",
                "cognito:groups",
            ),
        ],
        claims,
        person: Some("sub"),
    }
}

impl Provider {
    /// Makes the keys and the tokens: the accepted one, then the refused ones.
    fn issue(&self) -> Option<Issued> {
        let refused = self.refused.iter().map(|(claims, ..)| claims.clone());
        let tokens = [self.claims.clone()].into_iter().chain(refused).collect();
        issue(&Order {
            tokens,
            ..self.order.clone()
        })
    }

    /// Writes the settings of `deploy/issuers`, with a file in place of the address. Returns the entry of TRUSTED_ISSUERS.
    fn trust(&self, keys: &Value, directory: &TempDir) -> String {
        let example = workspace::root().join("deploy/issuers").join(self.settings);
        let mut settings: Value = serde_json::from_str(&fs::read_to_string(example).unwrap()).unwrap();
        settings.as_object_mut().unwrap().remove("jwks_uri").unwrap();
        let file = directory.path().join(format!("keys-{}", self.settings));
        fs::write(&file, keys.to_string()).unwrap();
        settings["jwks_file"] = json!(file);
        let path = directory.path().join(self.settings);
        fs::write(&path, settings.to_string()).unwrap();
        format!("{}=config:{}", self.issuer, path.display())
    }
}

#[tokio::test]
async fn a_person_of_each_provider_uses_both_services() {
    let directory = tempfile::tempdir().unwrap();
    let mut issued = Vec::new();
    for provider in [keycloak(), auth0(), firebase(), entra(), cognito()] {
        let Some(made) = provider.issue() else { return };
        issued.push((provider, made));
    }
    let entries: Vec<_> = issued
        .iter()
        .map(|(provider, made)| provider.trust(&made.keys, &directory))
        .collect();
    let stack = Stack::builder()
        .variable("identity", "AUTH_PROVIDER", "external")
        .variable("identity", "TRUSTED_ISSUERS", entries.join(","))
        .variable("data", "TRUSTED_ISSUERS", entries.join(","))
        .start()
        .await
        .unwrap();
    for (provider, made) in &issued {
        let token = &made.tokens[0];
        let person = match provider.person {
            Some(claim) => provider.claims[claim].as_str().unwrap(),
            None => &made.people[0],
        };
        let client = stack.anonymous().unwrap().with_token(token).unwrap();
        let request = GetAccountRequest::default();
        let account = client.account().get_account(request).await.unwrap().into_inner();
        assert_eq!(account.account.unwrap().id, person, "{}", provider.issuer);
        assert_eq!(
            append(&stack, token).await.unwrap().number,
            1,
            "{}",
            provider.issuer
        );

        for ((claims, problem, claim), token) in provider.refused.iter().zip(&made.tokens[1..]) {
            let status = append(&stack, token).await.unwrap_err();
            assert_eq!(reason(&status), "TOKEN_INVALID", "{claims}");
            let found = ["problem", "claim"].map(|key| metadata(&status, key));
            assert_eq!(found, [*problem, *claim], "{claims}");
            let rule = metadata(&status, "rule");
            assert!(rule.starts_with("must "), "{rule}");
            // The refusal does not repeat what the token states.
            for value in [
                "ada@example.org",
                "another-app",
                "service-account",
                "offline_access",
            ] {
                assert!(!format!("{status:?}").contains(value), "{status:?}");
            }
        }
        // The key of one provider signs for no other.
        let (other, _) = issued
            .iter()
            .find(|(other, _)| other.issuer != provider.issuer)
            .unwrap();
        let forged = Order {
            tokens: vec![other.claims.clone()],
            ..provider.order.clone()
        };
        let forged = issue(&forged).unwrap();
        let status = append(&stack, &forged.tokens[0]).await.unwrap_err();
        assert_eq!(metadata(&status, "problem"), "SIGNATURE");
    }
}

#[tokio::test]
async fn keys_and_tokens_of_each_library_are_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut entries, mut tokens) = (Vec::new(), Vec::new());
    for library in ["pyjwt", "authlib", "joserfc", "jwcrypto"] {
        for algorithm in ["RS256", "ES256", "ES384", "EdDSA", "Ed25519"] {
            // Only joserfc has the name of RFC 9864.
            if algorithm == "Ed25519" && library != "joserfc" {
                continue;
            }
            for kid in [Some("k1"), None] {
                let issuer = format!("https://{library}.example/{algorithm}/{}", kid.unwrap_or("none"));
                let order = Order {
                    library,
                    algorithm,
                    kid,
                    form: "jwks",
                    tokens: vec![super::issuers::claims(&issuer, random::uuid())],
                };
                let Some(issued) = issue(&order) else { return };
                let file = directory.path().join(issuer.replace(['/', ':'], "_"));
                fs::write(&file, issued.keys.to_string()).unwrap();
                entries.push(format!("{issuer}=jwks:{}", file.display()));
                tokens.push((issuer, issued.tokens[0].clone()));
            }
        }
    }
    let stack = Stack::builder().variable("data", "TRUSTED_ISSUERS", entries.join(","));
    let stack = stack.start().await.unwrap();
    assert_eq!(tokens.len(), 34);
    for (issuer, token) in tokens {
        let status = append(&stack, &token).await.unwrap_err();
        assert_eq!(
            reason(&status),
            "ACCOUNT_NOT_READY",
            "{issuer}: the token is valid"
        );
    }
}
