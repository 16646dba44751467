//! A person with everything that is stored or issued under a key, and the calls that need the key.

use chrono::{TimeDelta, Utc};
use haven_proto::{
    data::v1::{
        AppendMessageRequest, CreateShareRequest, DeviceType, EncryptionAlgorithm, LeaseJobsRequest,
        ListMessagesRequest, OpenShareRequest, PullChangesRequest, RegisterDeviceRequest, SenderType,
    },
    identity::v1::{
        CreateEmailVerificationRequest, CreatePasswordResetRequest, RefreshSessionRequest, SignInRequest,
        SignUpRequest, VerifyEmailRequest,
    },
};
use haven_testkit::{
    Stack,
    client::sign_up_request,
    encryption::{ContentBinding, Kind},
    random,
};
use tonic::Status;

use crate::{
    retry::retry_call,
    status::reason,
    test_device::{Device, at, registration},
};

const PASSWORD: &str = "Correct-Horse-7-Battery";
const PASSCODE: &str = "4711";

/// Requests, and the answers that they got first.
pub(super) struct Everything {
    device: Device,
    registration: (RegisterDeviceRequest, String),
    message: (AppendMessageRequest, String),
    pages: (String, String),
    cursor: String,
    shares: Vec<(CreateShareRequest, String)>,
    sign_up: (SignUpRequest, String),
    sign_in: (SignInRequest, String, String),
    /// The newest refresh token of another session.
    refresh_token: String,
    /// Password resets of an address with an account and of one without, and their tokens.
    resets: Vec<(CreatePasswordResetRequest, String)>,
    /// A token that is not used yet.
    verification: String,
    /// An address with a rate limit that is used up.
    limited: SignInRequest,
}

fn append(text: &str) -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: text.to_owned(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

fn sign_in(email: &str, password: &str) -> SignInRequest {
    SignInRequest {
        email: email.to_owned(),
        password: password.to_owned(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    }
}

impl Everything {
    /// Stores everything. The stack allows three sign-ins with one address.
    pub(super) async fn store(stack: &Stack) -> Self {
        let anonymous = stack.anonymous().unwrap();
        let email = format!("{}@example.org", random::uuid());
        let sign_up = sign_up_request(&email, PASSWORD);
        let account = anonymous.account().sign_up(sign_up.clone()).await.unwrap();
        let account = account.into_inner().account.unwrap().id;
        let mut person = anonymous.sign_in(&email, PASSWORD).await.unwrap();
        let first = sign_in(&email, PASSWORD);
        let signed_in = anonymous
            .session()
            .sign_in(first.clone())
            .await
            .unwrap()
            .into_inner();
        person.token.clone_from(&signed_in.access_token);

        let device = Device::first_of(stack, person).await.unwrap();
        let registration = registration(&device.secret).unwrap();
        let registered = device.client.device().register_device(registration.clone()).await;
        let registered = registered.unwrap().into_inner().device.unwrap().device_id;

        let message = append("the first");
        let mut conversation = device.client.conversation();
        let appended = conversation.append_message(message.clone()).await.unwrap();
        let appended = appended.into_inner().message.unwrap().id;
        conversation.append_message(append("the second")).await.unwrap();
        let page = ListMessagesRequest {
            page_size: 1,
            ..ListMessagesRequest::default()
        };
        let page = conversation.list_messages(page).await.unwrap().into_inner();

        let pull = PullChangesRequest {
            device_id: device.id.to_string(),
            cursor: String::new(),
        };
        let mut pulled = device
            .client
            .cycle()
            .pull_changes(pull)
            .await
            .unwrap()
            .into_inner();
        let cursor = pulled.message().await.unwrap().unwrap().cursor;

        let mut recovery = stack.service("backend").unwrap().recovery();
        let mut resets = Vec::new();
        for email in [email.clone(), format!("{}@example.org", random::uuid())] {
            let request = CreatePasswordResetRequest {
                email,
                request_id: random::uuid().to_string(),
            };
            let created = recovery.create_password_reset(request.clone()).await.unwrap();
            resets.push((request, created.into_inner().token));
        }
        let verification = CreateEmailVerificationRequest {
            user_id: account.clone(),
            request_id: random::uuid().to_string(),
        };
        let verification = recovery.create_email_verification(verification).await.unwrap();

        let limited = sign_in(&format!("{}@example.org", random::uuid()), PASSWORD);
        let mut everything = Self {
            registration: (registration, registered),
            message: (message, appended),
            pages: (page.next_page_token, page.messages[0].id.clone()),
            cursor,
            shares: Vec::new(),
            sign_up: (sign_up, account),
            sign_in: (first, signed_in.session_id, signed_in.refresh_token.clone()),
            refresh_token: signed_in.refresh_token,
            resets,
            verification: verification.into_inner().token,
            limited,
            device,
        };
        for passcode in ["", PASSCODE] {
            everything.share(passcode).await;
        }
        // Each attempt is with another request id: three are allowed, and all are wrong.
        for expected in ["CREDENTIALS_INVALID"; 3] {
            assert_eq!(everything.attempt(stack).await, expected);
        }
        assert_eq!(everything.attempt(stack).await, "RATE_LIMITED");
        everything
    }

    /// Creates a share.
    pub(super) async fn share(&mut self, passcode: &str) {
        let id = random::uuid();
        let binding = ContentBinding {
            kind: Kind::Share,
            user_id: self.device.person.id,
            record_id: id,
            version: 1,
        };
        let algorithm = EncryptionAlgorithm::Xchacha20Poly1305;
        let sealed = self
            .device
            .secret
            .seal(b"for the doctor", binding, algorithm, random::uuid(), 1);
        let (encrypted_share_data, envelope) = sealed.unwrap();
        let request = CreateShareRequest {
            share_id: String::new(),
            encrypted_share_data,
            crypto_envelope: Some(envelope),
            expire_time: Some(at(Utc::now() + TimeDelta::hours(1))),
            max_access_count: 100,
            passcode: passcode.to_owned(),
            request_id: id.to_string(),
        };
        let created = self
            .device
            .client
            .share()
            .create_share(request.clone())
            .await
            .unwrap();
        self.shares.push((request, created.into_inner().token));
    }

    /// Attempts a sign-in with the address that has used up its limit, and returns the reason of its failure.
    async fn attempt(&self, stack: &Stack) -> String {
        let attempt = SignInRequest {
            request_id: random::uuid().to_string(),
            ..self.limited.clone()
        };
        let mut sessions = stack.anonymous().unwrap().session();
        reason(&sessions.sign_in(attempt).await.unwrap_err())
    }

    /// Opens every share, and returns how many opened.
    pub(super) async fn open_shares(&self, stack: &Stack) -> usize {
        let mut opened = 0;
        for (request, token) in &self.shares {
            let open = OpenShareRequest {
                token: token.clone(),
                passcode: request.passcode.clone(),
                device_type: DeviceType::Unknown.into(),
            };
            let mut shares = stack.anonymous().unwrap().share();
            match retry_call(open, async |open| shares.open_share(open).await).await {
                Ok(_) => opened += 1,
                Err(status) => assert_eq!(reason(&status), "SHARE_UNAVAILABLE"),
            }
        }
        opened
    }

    /// Refreshes the session.
    pub(super) async fn refresh(&mut self, stack: &Stack) -> Result<(), Status> {
        let request = RefreshSessionRequest {
            refresh_token: self.refresh_token.clone(),
        };
        let mut sessions = stack.anonymous().unwrap().session();
        let refreshed = sessions.refresh_session(request).await?.into_inner();
        assert_ne!(refreshed.refresh_token, self.refresh_token);
        self.refresh_token = refreshed.refresh_token;
        self.device.client = stack
            .anonymous()
            .unwrap()
            .with_token(&refreshed.access_token)
            .unwrap();
        Ok(())
    }

    /// Asserts that nothing has ended, that each retry has its first answer, and that no count begins again.
    pub(super) async fn is_alive(&mut self, stack: &Stack) {
        let anonymous = stack.anonymous().unwrap();
        assert_eq!(self.attempt(stack).await, "RATE_LIMITED", "the limit holds");

        let again = anonymous.account().sign_up(self.sign_up.0.clone()).await.unwrap();
        assert_eq!(again.into_inner().account.unwrap().id, self.sign_up.1);
        let mut recovery = stack.service("backend").unwrap().recovery();
        for (request, token) in &self.resets {
            let again = recovery.create_password_reset(request.clone()).await.unwrap();
            assert_eq!(&again.into_inner().token, token);
        }
        self.refresh(stack).await.unwrap();
        self.is_alive_in_data(stack).await;
        assert_eq!(self.open_shares(stack).await, self.shares.len());
    }

    /// Asserts that the retry of a sign-in has the first answer. It counts towards the limit of the address.
    pub(super) async fn sign_in_is_recognized(&self, stack: &Stack) {
        let (request, session, token) = &self.sign_in;
        let mut sessions = stack.anonymous().unwrap().session();
        let again = sessions.sign_in(request.clone()).await.unwrap().into_inner();
        assert_eq!((&again.session_id, &again.refresh_token), (session, token));
    }

    /// Uses the recovery token that was created under the old key.
    pub(super) async fn recovery_token_is_recognized(&self, stack: &Stack) {
        let request = VerifyEmailRequest {
            token: self.verification.clone(),
            request_id: random::uuid().to_string(),
        };
        let mut recovery = stack.anonymous().unwrap().recovery();
        recovery.verify_email(request).await.unwrap();
    }

    async fn is_alive_in_data(&self, stack: &Stack) {
        let client = &self.device.client;
        let (request, id) = &self.message;
        let again = client
            .conversation()
            .append_message(request.clone())
            .await
            .unwrap();
        assert_eq!(&again.into_inner().message.unwrap().id, id);
        let other = AppendMessageRequest {
            text: "another content".into(),
            ..request.clone()
        };
        let refused = client.conversation().append_message(other).await.unwrap_err();
        assert_eq!(reason(&refused), "REQUEST_ID_REUSED");

        let (token, first) = &self.pages;
        let page = ListMessagesRequest {
            page_size: 1,
            page_token: token.clone(),
            ..ListMessagesRequest::default()
        };
        let page = client
            .conversation()
            .list_messages(page)
            .await
            .unwrap()
            .into_inner();
        assert_ne!(&page.messages[0].id, first);

        let (request, id) = &self.registration;
        let again = client.device().register_device(request.clone()).await.unwrap();
        assert_eq!(&again.into_inner().device.unwrap().device_id, id);
        let twice = RegisterDeviceRequest {
            request_id: random::uuid().to_string(),
            ..request.clone()
        };
        let refused = client.device().register_device(twice).await.unwrap_err();
        assert_eq!(reason(&refused), "DEVICE_EXISTS");

        let pull = PullChangesRequest {
            device_id: self.device.id.to_string(),
            cursor: self.cursor.clone(),
        };
        let mut pulled = client.cycle().pull_changes(pull).await.unwrap().into_inner();
        pulled.message().await.unwrap();

        for (request, token) in &self.shares {
            let again = client.share().create_share(request.clone()).await.unwrap();
            assert_eq!(&again.into_inner().token, token);
            let other = CreateShareRequest {
                max_access_count: 7,
                ..request.clone()
            };
            let refused = client.share().create_share(other).await.unwrap_err();
            assert_eq!(reason(&refused), "REQUEST_ID_REUSED");
        }

        // A worker's retry is recognized as well; no job is due here, so both tries lease none.
        let lease = LeaseJobsRequest {
            request_id: random::uuid().to_string(),
            max_jobs: 1,
            ..LeaseJobsRequest::default()
        };
        stack
            .service("worker")
            .unwrap()
            .queue()
            .lease_jobs(lease)
            .await
            .unwrap();
    }
}
