//! Authorization: the declared access of each RPC, access tokens and client certificates.

use haven_platform::{
    access::{AccessError, AccessTable, ResponseKind},
    auth::Claims,
    server::BuildError,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use tonic::{Code, Status, transport::Channel};

use super::probe::{DESCRIPTORS, Probe, proto, with_token};
use crate::status::{metadata, reason};

type Client = proto::probe_service_client::ProbeServiceClient<Channel>;

/// Calls one RPC of each declared access. Returns the caller that the handler saw, or the reason of the refusal.
async fn ask(client: &mut Client, token: Option<&str>) -> [String; 4] {
    fn request<T: Default>(token: Option<&str>) -> tonic::Request<T> {
        token.map_or_else(
            || tonic::Request::new(T::default()),
            |token| with_token(T::default(), token),
        )
    }
    let caller_or_reason = |answer: Result<String, Status>| answer.unwrap_or_else(|status| reason(&status));
    [
        caller_or_reason(
            client
                .ask_as_anyone(request(token))
                .await
                .map(|answer| answer.into_inner().caller),
        ),
        caller_or_reason(
            client
                .ask_as_user(request(token))
                .await
                .map(|answer| answer.into_inner().caller),
        ),
        caller_or_reason(
            client
                .ask_as_service(request(token))
                .await
                .map(|answer| answer.into_inner().caller),
        ),
        caller_or_reason(
            client
                .ask_as_user_or_service(request(token))
                .await
                .map(|answer| answer.into_inner().caller),
        ),
    ]
}

#[tokio::test]
async fn callers_are_admitted_by_the_declared_access() {
    let probe = Probe::start().await;
    let token = probe.token(&Probe::claims());
    let mut anonymous = probe.client();
    let mut backend = Client::new(probe.channel(Some("backend")));
    let mut stranger = Client::new(probe.channel(Some("stranger")));
    let person = "01890a5d-ac96-774b-bcce-b302099a8057";

    assert_eq!(
        ask(&mut anonymous, None).await,
        [
            "no user, no service",
            "TOKEN_INVALID",
            "ACCESS_DENIED",
            "TOKEN_INVALID"
        ]
    );
    let as_user = format!("{person}, no service");
    assert_eq!(
        ask(&mut anonymous, Some(&token)).await,
        ["no user, no service", &as_user, "ACCESS_DENIED", &as_user]
    );
    assert_eq!(
        ask(&mut backend, None).await,
        [
            "no user, backend",
            "TOKEN_INVALID",
            "no user, backend",
            "no user, backend"
        ]
    );
    let both = format!("{person}, backend");
    assert_eq!(
        ask(&mut backend, Some(&token)).await,
        ["no user, backend", &both, "no user, backend", &both]
    );
    assert_eq!(
        ask(&mut stranger, None).await,
        [
            "no user, no service",
            "TOKEN_INVALID",
            "ACCESS_DENIED",
            "TOKEN_INVALID"
        ]
    );
    // An invalid token is refused beside a valid certificate as well, where a token is read.
    assert_eq!(
        ask(&mut backend, Some("nonsense")).await,
        [
            "no user, backend",
            "TOKEN_INVALID",
            "no user, backend",
            "TOKEN_INVALID"
        ]
    );
}

#[tokio::test]
async fn an_invalid_token_is_refused_with_its_problem() {
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

#[tokio::test]
async fn a_call_without_a_user_needs_the_scope_of_the_rpc() {
    let probe = Probe::start().await;
    let token = probe.token(&Probe::claims());
    let person = "01890a5d-ac96-774b-bcce-b302099a8057";
    let mut worker = Client::new(probe.channel(Some("worker")));
    assert_eq!(
        ask(&mut worker, None).await,
        [
            "no user, worker",
            "TOKEN_INVALID",
            "ACCESS_DENIED",
            "ACCESS_DENIED"
        ]
    );
    // The call acts as the user, who needs no scope.
    let both = format!("{person}, worker");
    assert_eq!(
        ask(&mut worker, Some(&token)).await,
        ["no user, worker", &both, "ACCESS_DENIED", &both]
    );
    let refused = worker.ask_as_service(proto::AskAsServiceRequest {}).await;
    let status = refused.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(metadata(&status, "scope"), "accounts");
    let mut stranger = Client::new(probe.channel(Some("stranger")));
    let refused = stranger.ask_as_service(proto::AskAsServiceRequest {}).await;
    assert_eq!(metadata(&refused.unwrap_err(), "scope"), "", "it is no service");
}

/// A faulty proxy must not make calls fail. Unit tests beside the code cover what is parsed.
#[tokio::test]
async fn no_form_of_a_forwarded_address_fails_a_call() {
    let probe = Probe::start().await;
    for service in [None, Some("backend"), Some("identity")] {
        let mut client = Client::new(probe.channel(service));
        for (header, value) in [
            ("x-forwarded-for", "192.0.2.1:80"),
            ("x-forwarded-for", "unknown"),
            ("x-forwarded-for", "192.0.2.1,"),
            ("x-forwarded-for", ""),
            ("forwarded", "for=\"[2001:db8::1]:4711\""),
            ("forwarded", "for=\""),
        ] {
            let mut request = tonic::Request::new(proto::AskAsAnyoneRequest::default());
            request.metadata_mut().append(header, value.parse().unwrap());
            client.ask_as_anyone(request).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_with_an_rpc_without_declared_access_is_not_built() {
    let Err(error) = Probe::undeclared() else {
        panic!("the server was built")
    };
    let BuildError::Access(AccessError::Undeclared(rpcs)) = error else {
        panic!("{error}")
    };
    assert_eq!(rpcs, ["haven.testing.v1.UndeclaredService/Ask"]);
}

#[test]
fn a_table_with_a_wrong_scope_is_not_read() {
    let service = "haven.testing.v1.MisscopedService";
    let error = AccessTable::read([DESCRIPTORS], &[service]).unwrap_err();
    let AccessError::Scope(rpcs) = error else {
        panic!("{error}")
    };
    let rules = [
        "AskAsAnyone: an RPC that does not admit services as such must not declare a scope",
        "AskAsUser: an RPC that does not admit services as such must not declare a scope",
        "AskAsService: an RPC that admits services must declare a scope",
        "AskAsUserOrService: an RPC that admits services must declare a scope",
        "AskAsPower: the scope of an RPC must be a group of RPCs, and not a power",
    ];
    assert_eq!(rpcs, rules.map(|rule| format!("{service}/{rule}")));
}

/// Streams that end by themselves and streams that go on have separate limits. A new stream that ends is added here.
#[test]
fn every_stream_is_a_watch_or_is_known_to_end() {
    let ending = [
        "haven.data.v1.CycleService/PullChanges",
        "haven.data.v1.PersonService/ExportData",
        "haven.identity.v1.AccountService/ExportAccount",
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
