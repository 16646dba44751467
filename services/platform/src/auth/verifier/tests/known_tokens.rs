//! Tests of tokens that were verified before: everything that can change still refuses them at once.

use super::*;

/// A token of Haven's own issuer, and one of each other issuer with a key that can be replaced, all of them known.
async fn known(world: &World) -> [String; 3] {
    let tokens = world.signed(|claims| claims);
    for token in &tokens {
        world.verify(token).await.unwrap();
    }
    assert_eq!(world.verifier.known.len(), 3);
    tokens
}

#[tokio::test]
async fn a_signature_is_verified_once() {
    let world = World::new();
    let [own, ..] = known(&world).await;
    let digest = TokenDigest::of(&own);
    let token = world.verifier.known.get(&digest).unwrap();
    // A text that is no token at all is accepted if its digest is known: it is not read again.
    let text = "not read";
    world.verifier.known.insert(TokenDigest::of(text), token);
    assert_eq!(
        world.verify(text).await.unwrap(),
        world.verify(&own).await.unwrap()
    );
    assert_eq!(world.verifier.known.len(), 4);
}

#[tokio::test]
async fn what_is_refused_is_not_known() {
    let world = World::new();
    for change in [("exp", NOW), ("nbf", NOW + 61), ("iat", NOW + 61)] {
        for token in world.signed(|claims| with(claims, change.0, json!(change.1))) {
            world.verify(&token).await.unwrap_err();
        }
    }
    for token in world.signed(|claims| with(claims, "aud", json!("other"))) {
        world.verify(&token).await.unwrap_err();
    }
    world.verify(&world.own.signs(&claims(PUBLIC))).await.unwrap_err();
    world.verify("canary").await.unwrap_err();
    assert_eq!(world.verifier.known.len(), 0);
}

#[tokio::test]
async fn tokens_that_differ_in_the_signature_alone_are_different() {
    let world = World::new();
    for good in known(&world).await {
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (first, rest) = signature.split_at(1);
        let first = if first == "A" { "B" } else { "A" };
        for forged in [
            format!("{message}.{first}{rest}"),
            format!("{message}."),
            format!("{good}A"),
        ] {
            world.verify(&forged).await.unwrap_err();
        }
        world.verify(&good).await.unwrap();
    }
    assert_eq!(world.verifier.known.len(), 3);
}

#[tokio::test]
async fn a_removed_key_refuses_known_tokens_at_once() {
    let world = World::new();
    let [own, public, shared] = known(&world).await;
    // The same keys, published again: a refresh forgets nothing.
    world.keys.replace([world.own.verifying("k1")]);
    world.publish(&world.public.jwks());
    assert!(world.is_known_good(&own) && world.is_known_good(&public));

    // Another key under the same id.
    world.keys.replace([world.public.verifying("k1")]);
    assert!(!world.is_known_good(&own));
    world.is_refused(&own, "SIGNATURE").await;
    world.publish(&world.own.jwks());
    world.is_refused(&public, "SIGNATURE").await;
    // The same key under another id.
    world.keys.replace([world.own.verifying("k2")]);
    world.is_refused(&own, "KEY_UNKNOWN").await;
    // The key has come back, and the key is gone.
    world.keys.replace([world.own.verifying("k1")]);
    world.publish(&world.public.jwks());
    for token in [&own, &public] {
        world.verify(token).await.unwrap();
    }
    world.keys.replace([world.public.verifying("k3")]);
    world.is_refused(&own, "KEY_UNKNOWN").await;
    world.publish(&Es256::new("k9").jwks());
    world.is_refused(&public, "KEY_UNKNOWN").await;
    world.keys.replace([]);
    assert_eq!(world.refusal(&own).await.0, Reason::DependencyUnavailable);

    world.verify(&shared).await.unwrap();
    world.replace_secret("another secret of thirty-two bytes");
    world.is_refused(&shared, "SIGNATURE").await;
    world.replace_secret(SECRET);
    world.verify(&shared).await.unwrap();
}

#[tokio::test]
async fn a_second_key_refuses_a_known_token_that_names_none() {
    let world = World::new();
    let mut one: Value = serde_json::from_str(&world.public.jwks()).unwrap();
    one["keys"].as_array_mut().unwrap().remove(0);
    world.publish(&one.to_string());
    let signing = EncodingKey::from_ec_pem(world.public.pair.serialize_pem().as_bytes()).unwrap();
    let nameless = encode(&header(Algorithm::ES256, None), &claims(PUBLIC), &signing).unwrap();
    world.verify(&nameless).await.unwrap();
    world.publish(&world.public.jwks());
    world.is_refused(&nameless, "KEY_UNKNOWN").await;
}

#[tokio::test]
async fn an_ended_session_refuses_a_known_token_at_once() {
    let world = World::new();
    let [own, public, _] = known(&world).await;
    world.ended.add(UserId::new(SUB), SESSION);
    assert_eq!(world.refusal(&own).await, (Reason::SessionRevoked, String::new()));
    world.verify(&public).await.unwrap();
    // A token that is seen for the first time after its session ended stays refused as well.
    let late = world.own.signs(&with(claims(OWN), "iat", json!(NOW - 1)));
    for _ in 0..2 {
        assert_eq!(world.refusal(&late).await.0, Reason::SessionRevoked);
    }
    world.ended.replace([]);
    world.ended.replace([]);
    world.verify(&own).await.unwrap();
}

#[tokio::test]
async fn the_time_refuses_a_known_token_at_once() {
    let world = World::new();
    let tokens = known(&world).await;
    let end = NOW + 890;
    world.set_time(end - 1);
    for token in &tokens {
        world.verify(token).await.unwrap();
    }
    world.set_time(end);
    for token in &tokens {
        assert_eq!(world.refusal(token).await, (Reason::TokenExpired, String::new()));
    }
    assert_eq!(world.verifier.known.len(), 0, "an expired token is forgotten");
    // The clock was ahead, and is set back: `iat` is ten seconds before NOW, and a minute is tolerated.
    for (time, is_valid) in [(NOW, true), (NOW - 70, true), (NOW - 71, false)] {
        world.set_time(time);
        for token in &tokens {
            assert_eq!(world.verify(token).await.is_ok(), is_valid, "{time}");
        }
    }
}

#[tokio::test]
async fn changed_settings_of_an_issuer_refuse_a_known_token_at_once() {
    let mut world = World::new();
    let [own, public, shared] = known(&world).await;
    let settings = |change: fn(&mut ClaimRules)| {
        let mut rules = ClaimRules::standard(AUDIENCE);
        change(&mut rules);
        let file = KeyFile::Public(world.files.path().join("public"));
        TrustedIssuer::new(PUBLIC, rules, Some(file), None).unwrap()
    };
    let same = settings(|_| ());
    let audience = settings(|rules| rules.audiences = vec!["other".to_owned()]);
    let required = settings(|rules| rules.required = vec![("email".to_owned(), json!("b@example.org"))]);
    let subject = settings(|rules| rules.subject = crate::auth::Subject::UuidV5);

    // Each shares what is known with the verifier before.
    world.verifier = world.verifier.trusting(vec![audience]);
    world.is_refused(&public, "AUDIENCE").await;
    world.is_refused(&shared, "ISSUER").await;
    world.verifier = world.verifier.trusting(vec![required]);
    world.is_refused(&public, "CLAIMS").await;
    world.verifier = world.verifier.trusting(vec![same]);
    let before = world.verify(&public).await.unwrap();
    world.verifier = world.verifier.trusting(vec![subject]);
    assert_ne!(world.verify(&public).await.unwrap().id, before.id);
    world.verifier = world.verifier.trusting(Vec::new());
    world.is_refused(&public, "ISSUER").await;

    // Haven's own issuer has another name, or another audience.
    world.verify(&own).await.unwrap();
    let verifier = world.verifier.clone();
    world.verifier.issuer = "other".into();
    world.is_refused(&own, "ISSUER").await;
    world.verifier = verifier;
    world.verify(&own).await.unwrap();
    world.verifier.rules = Arc::new(ClaimRules::standard("other"));
    world.is_refused(&own, "AUDIENCE").await;
}

impl World {
    /// Replaces the keys of the issuer with public keys, as its file changes.
    fn publish(&self, jwks: &str) {
        self.write("public", jwks);
        self.verifier.trusted[PUBLIC].read_file();
    }

    /// Replaces the shared secret, as its file changes.
    fn replace_secret(&self, secret: &str) {
        self.write("secret", secret);
        self.verifier.trusted[SHARED].read_file();
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.files.path().join(name), content).unwrap();
    }

    fn set_time(&self, seconds: i64) {
        self.time.store(seconds, Ordering::Relaxed);
    }

    /// Returns whether a token is accepted without a look at its signature.
    fn is_known_good(&self, token: &str) -> bool {
        let known = self.verifier.known.get(&TokenDigest::of(token));
        known.is_some_and(|known| self.verifier.is_good(&known))
    }
}
