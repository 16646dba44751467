//! Who may call: the declared access, tokens and certificates.

use haven_platform::{
    access::{AccessError, AccessTable, ResponseKind},
    auth::Claims,
    server::BuildError,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use tonic::{Code, Status, transport::Channel};

use super::probe::{Probe, proto, with_token};
use crate::status::{metadata, reason, violations};

type Client = proto::probe_service_client::ProbeServiceClient<Channel>;

/// Who the server says calls, or why it does not, for each access.
async fn ask(client: &mut Client, token: Option<&str>) -> [String; 4] {
    fn request<T: Default>(token: Option<&str>) -> tonic::Request<T> {
        token.map_or_else(
            || tonic::Request::new(T::default()),
            |token| with_token(T::default(), token),
        )
    }
    let said = |answer: Result<String, Status>| answer.unwrap_or_else(|status| reason(&status));
    [
        said(
            client
                .ask_as_anyone(request(token))
                .await
                .map(|answer| answer.into_inner().caller),
        ),
        said(
            client
                .ask_as_user(request(token))
                .await
                .map(|answer| answer.into_inner().caller),
        ),
        said(
            client
                .ask_as_service(request(token))
                .await
                .map(|answer| answer.into_inner().caller),
        ),
        said(
            client
                .ask_as_user_or_service(request(token))
                .await
                .map(|answer| answer.into_inner().caller),
        ),
    ]
}

#[tokio::test]
async fn the_declared_access_decides() {
    let probe = Probe::start().await;
    let token = probe.token(&Probe::claims());
    let mut nobody = probe.client();
    let mut backend = Client::new(probe.channel(Some("backend")));
    let mut stranger = Client::new(probe.channel(Some("stranger")));
    let person = "01890a5d-ac96-774b-bcce-b302099a8057";

    assert_eq!(
        ask(&mut nobody, None).await,
        [
            "nobody, no service",
            "TOKEN_INVALID",
            "ACCESS_DENIED",
            "TOKEN_INVALID"
        ]
    );
    let as_user = format!("{person}, no service");
    assert_eq!(
        ask(&mut nobody, Some(&token)).await,
        ["nobody, no service", &as_user, "ACCESS_DENIED", &as_user]
    );
    assert_eq!(
        ask(&mut backend, None).await,
        [
            "nobody, backend",
            "TOKEN_INVALID",
            "nobody, backend",
            "nobody, backend"
        ]
    );
    let both = format!("{person}, backend");
    assert_eq!(
        ask(&mut backend, Some(&token)).await,
        ["nobody, backend", &both, "nobody, backend", &both]
    );
    assert_eq!(
        ask(&mut stranger, None).await,
        [
            "nobody, no service",
            "TOKEN_INVALID",
            "ACCESS_DENIED",
            "TOKEN_INVALID"
        ]
    );
    // A bad token is no way in beside a good certificate.
    assert_eq!(
        ask(&mut backend, Some("nonsense")).await,
        [
            "nobody, backend",
            "TOKEN_INVALID",
            "nobody, backend",
            "TOKEN_INVALID"
        ]
    );
}

#[tokio::test]
async fn a_token_that_is_not_as_it_has_to_be_is_refused_with_its_problem() {
    let probe = Probe::start().await;
    let good = Probe::claims();
    let header = |kid: Option<&str>, alg| Header {
        kid: kid.map(Into::into),
        ..Header::new(alg)
    };
    let hmac = EncodingKey::from_secret(b"secret");
    let token = probe.token(&good);
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let (first, others) = signature.split_at(1);
    let forged = format!("{head}.{body}.{}{others}", if first == "A" { "B" } else { "A" });
    let none = "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ";
    let cases = [
        ("nonsense".to_owned(), "MALFORMED"),
        (format!("{head}.{body}"), "MALFORMED"),
        (format!("{none}.{body}."), "ALGORITHM"),
        (format!("{none}.{body}.{signature}"), "ALGORITHM"),
        (
            encode(&header(Some("k1"), Algorithm::HS256), &good, &hmac).unwrap(),
            "ALGORITHM",
        ),
        (probe.sign(&header(None, Algorithm::ES256), &good), "KEY_UNKNOWN"),
        (
            probe.sign(&header(Some("k2"), Algorithm::ES256), &good),
            "KEY_UNKNOWN",
        ),
        (forged.clone(), "SIGNATURE"),
        (
            probe.token(&Claims {
                iss: "other".into(),
                ..good.clone()
            }),
            "ISSUER",
        ),
        (
            probe.token(&Claims {
                aud: "other".into(),
                ..good.clone()
            }),
            "AUDIENCE",
        ),
        (
            probe.token(&Claims {
                role: "service_role".into(),
                ..good.clone()
            }),
            "CLAIMS",
        ),
        (
            probe.token(&serde_json::json!({"iss": "haven", "aud": "authenticated"})),
            "CLAIMS",
        ),
        ("x".repeat(8193), "TOO_LONG"),
    ];
    for (token, problem) in cases {
        let status = probe
            .client()
            .ask_as_user(with_token(Default::default(), &token))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{problem}");
        assert_eq!(
            (reason(&status), metadata(&status, "problem")),
            ("TOKEN_INVALID".into(), problem.into())
        );
        assert!(
            !format!("{status:?}").contains(&token),
            "the token is in the error"
        );
    }
    let expired = probe.token(&Claims {
        exp: chrono::Utc::now().timestamp() - 1,
        ..good
    });
    let status = probe
        .client()
        .ask_as_user(with_token(Default::default(), &expired))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "TOKEN_EXPIRED");
}

/// Where the client of a service is decides limits: what cannot be read must not be passed over. The rest of the rules are
/// beside the code.
#[tokio::test]
async fn a_service_says_where_its_client_is_and_nobody_else() {
    let probe = Probe::start().await;
    let mut nobody = probe.client();
    let mut backend = Client::new(probe.channel(Some("backend")));
    let from = |address: &str| {
        let mut request = tonic::Request::new(proto::AskAsAnyoneRequest::default());
        request
            .metadata_mut()
            .append("x-forwarded-for", address.parse().unwrap());
        request
    };
    for address in ["192.0.2.1", "made up, 2001:db8::1"] {
        backend.ask_as_anyone(from(address)).await.unwrap();
    }
    for address in ["made up", "192.0.2.1, made up"] {
        nobody.ask_as_anyone(from(address)).await.unwrap();
        let status = backend.ask_as_anyone(from(address)).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD");
        assert_eq!(
            violations(&status),
            [("x-forwarded-for".to_owned(), "NOT_AN_ADDRESS".to_owned())]
        );
        assert!(!format!("{status:?}").contains("made up"));
    }
}

#[tokio::test]
async fn a_server_with_an_undeclared_rpc_does_not_start() {
    let Err(error) = Probe::undeclared() else {
        panic!("it was put together")
    };
    let BuildError::Access(AccessError::Undeclared(rpcs)) = error else {
        panic!("{error}")
    };
    assert_eq!(rpcs, ["haven.testing.v1.UndeclaredService/Ask"]);
}

/// Streams that end by themselves and streams that go on have separate limits. A new stream that ends is added here.
#[test]
fn every_stream_is_a_watch_or_is_known_to_end() {
    let ending = [
        "haven.data.v1.CycleService/PullChanges",
        "haven.data.v1.PersonService/ExportData",
    ];
    let pool = prost_reflect::DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let (mut watching, mut others) = (Vec::new(), Vec::new());
    for service in pool.services() {
        let table = AccessTable::read([haven_proto::FILE_DESCRIPTOR_SET], &[service.full_name()]).unwrap();
        for method in service.methods() {
            let name = format!("{}/{}", service.full_name(), method.name());
            match table.find(&format!("/{name}")).unwrap().response {
                ResponseKind::Watch => watching.push(name),
                ResponseKind::Stream => others.push(name),
                ResponseKind::Message => assert!(!method.is_server_streaming(), "{name}"),
            }
        }
    }
    others.sort();
    assert_eq!(others, ending);
    assert!(
        watching.contains(&"haven.data.v1.CycleService/WatchChanges".to_owned()),
        "{watching:?}"
    );
}
