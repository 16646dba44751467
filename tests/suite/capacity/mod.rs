//! The cost of the main RPCs in CPU time of the services and of Postgres, from which deploy/README.md derives how many cores a
//! load needs. It is measured by hand, on a machine with nothing else to do:
//!
//! ```sh
//! cargo test --test suite -- capacity:: --ignored --nocapture --test-threads 1
//! ```

mod cpu_time;

use futures_util::future::try_join_all;
use haven_proto::{
    data::v1::{
        AppendMessageRequest, GetMessageRequest, ListMessagesRequest, PullChangesRequest, PushChangesRequest,
        PushMode, SenderType,
    },
    identity::v1::{GetAccountRequest, RefreshSessionRequest, SignInRequest},
};
use haven_testkit::{Stack, client::sign_up_request, random};
use tonic::Status;

use self::cpu_time::{of_process, of_tree};
use crate::{retry::retry_call, test_device::Device};

/// The number of callers at once: enough that no service waits for its callers.
const CALLERS: usize = 8;

/// The CPU time of the processes so far, in milliseconds: identity, data, Postgres with its backends.
fn cpu_times(stack: &mut Stack) -> [u64; 3] {
    let [identity, data] = [stack.identity.pid().unwrap(), stack.data.pid().unwrap()];
    let postgres = stack.cluster().unwrap().pid().unwrap();
    [of_process(identity), of_process(data), of_tree(postgres)]
}

/// Calls `rpc` in `CALLERS` tasks `times` times each, and prints the CPU time of one call. Returns it in milliseconds.
async fn measure(
    stack: &mut Stack,
    name: &str,
    times: usize,
    rpc: impl AsyncFn(usize) -> Result<(), Status>,
) -> [f64; 3] {
    let before = cpu_times(stack);
    let callers = (0..CALLERS).map(async |caller| {
        for _ in 0..times {
            rpc(caller).await?;
        }
        Ok::<_, Status>(())
    });
    try_join_all(callers).await.unwrap();
    let after = cpu_times(stack);
    let calls = (CALLERS * times) as f64;
    let cost: [f64; 3] = std::array::from_fn(|index| (after[index] - before[index]) as f64 / calls);
    let [identity, data, postgres] = cost;
    eprintln!(
        "{name:<28} {calls:>6} {identity:>8.2} {data:>8.2} {postgres:>8.2} {:>10.0}",
        1000.0 / (identity + data + postgres)
    );
    cost
}

#[tokio::test]
#[ignore = "measures for a minute, and means nothing beside other tests"]
async fn the_main_rpcs_cost_cpu_time() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let stack = &mut stack;
    let mut devices = Vec::new();
    for _ in 0..CALLERS {
        devices.push(Device::invent(stack).await.unwrap());
    }
    let anonymous = stack.anonymous().unwrap();
    eprintln!(
        "{:<28} {:>6} {:>8} {:>8} {:>8} {:>10}",
        "ms of CPU time a call", "calls", "identity", "data", "postgres", "per core/s"
    );

    let sign_up = async |_| {
        let email = format!("{}@example.org", random::uuid());
        let request = sign_up_request(&email, "Correct-Horse-7-Battery");
        let mut accounts = anonymous.account();
        retry_call(request, async |request| accounts.sign_up(request).await).await?;
        Ok(())
    };
    let sign_up = measure(stack, "SignUp", 25, sign_up).await;

    let sign_in = async |caller: usize| {
        let person = &devices[caller].person;
        let request = SignInRequest {
            email: person.email.clone(),
            password: person.password.clone(),
            request_id: random::uuid().to_string(),
            ..SignInRequest::default()
        };
        let mut sessions = anonymous.session();
        retry_call(request, async |request| sessions.sign_in(request).await).await?;
        Ok(())
    };
    measure(stack, "SignIn", 25, sign_in).await;

    let tokens: Vec<_> = devices
        .iter()
        .map(|device| std::sync::Mutex::new(device.person.refresh_token.clone()))
        .collect();
    let refresh = async |caller: usize| {
        let refresh_token = tokens[caller].lock().unwrap().clone();
        let request = RefreshSessionRequest { refresh_token };
        let refreshed = anonymous.session().refresh_session(request).await?;
        *tokens[caller].lock().unwrap() = refreshed.into_inner().refresh_token;
        Ok(())
    };
    measure(stack, "RefreshSession", 100, refresh).await;

    let account = async |caller: usize| {
        let mut accounts = devices[caller].client.account();
        accounts.get_account(GetAccountRequest::default()).await.map(drop)
    };
    measure(stack, "GetAccount", 250, account).await;

    let ids: Vec<_> = (0..CALLERS)
        .map(|_| std::sync::Mutex::new(String::new()))
        .collect();
    let append = async |caller: usize| {
        let request = AppendMessageRequest {
            sender_type: SenderType::User.into(),
            text: "I said hello first today, and it went well.".repeat(5),
            message_id: String::new(),
            request_id: random::uuid().to_string(),
        };
        let appended = devices[caller]
            .client
            .conversation()
            .append_message(request)
            .await?;
        *ids[caller].lock().unwrap() = appended.into_inner().message.unwrap_or_default().id;
        Ok(())
    };
    let append = measure(stack, "AppendMessage", 100, append).await;

    let get = async |caller: usize| {
        let request = GetMessageRequest {
            message_id: ids[caller].lock().unwrap().clone(),
        };
        devices[caller]
            .client
            .conversation()
            .get_message(request)
            .await
            .map(drop)
    };
    let get = measure(stack, "GetMessage", 250, get).await;

    let list = async |caller: usize| {
        let request = ListMessagesRequest {
            page_size: 20,
            ..ListMessagesRequest::default()
        };
        devices[caller]
            .client
            .conversation()
            .list_messages(request)
            .await
            .map(drop)
    };
    measure(stack, "ListMessages (20)", 100, list).await;

    let push = async |caller: usize| {
        let device = &devices[caller];
        let change = device.put(random::uuid(), 0, "day 3");
        let request = PushChangesRequest {
            device_id: device.id.to_string(),
            changes: vec![change.map_err(|error| Status::internal(error.to_string()))?],
            mode: PushMode::Independent.into(),
            request_id: random::uuid().to_string(),
        };
        device.client.cycle().push_changes(request).await.map(drop)
    };
    measure(stack, "PushChanges (1)", 50, push).await;

    let pull = async |caller: usize| {
        let device = &devices[caller];
        let request = PullChangesRequest {
            device_id: device.id.to_string(),
            cursor: String::new(),
        };
        let mut pulled = device.client.cycle().pull_changes(request).await?.into_inner();
        while pulled.message().await?.is_some() {}
        Ok(())
    };
    measure(stack, "PullChanges (50 records)", 25, pull).await;

    assert!(sign_up[0] > get[1], "a password costs more than a message");
    assert!(append[2] > get[2], "a write costs Postgres more than a read");
}
