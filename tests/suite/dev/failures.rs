//! Failed calls and mistakes of the developer: messages and exit codes.

use haven_testkit::Stack;

use super::announced::Announced;

#[tokio::test]
async fn a_failed_call_shows_its_details_and_exits_with_its_code() {
    let stack = Stack::shared().await.unwrap();
    let announced = Announced::new(stack);
    let ada = stack.person().await.unwrap();
    let token = format!("authorization: Bearer {}", ada.token);

    let wrong = r#"{"sender_type": "SENDER_TYPE_USER", "text": "", "message_id": "7"}"#;
    let refused = announced.call(&["AppendMessage", "-H", &token, wrong]);
    refused.failed(
        67,
        &[
            "ConversationService/AppendMessage: INVALID_ARGUMENT: ",
            "reason      INVALID_FIELD",
            "field       text: ",
            "field       message_id: ",
            "request id  ",
        ],
    );
    assert_eq!(refused.output, "");

    announced
        .call(&["ListMessages"])
        .failed(80, &["UNAUTHENTICATED: ", "reason      TOKEN_INVALID"]);
    announced
        .call(&["ListAccounts", "--service", "stranger"])
        .failed(71, &["PERMISSION_DENIED: ", "reason      ACCESS_DENIED"]);
    // The reason's metadata, and the delay after which a retry can succeed.
    let update =
        r#"{"account": {"goals": ["GOAL_DATING_SKILLS"]}, "update_mask": "goals", "expected_version": 9}"#;
    announced
        .call(&["UpdateAccount", "-H", &token, update])
        .failed(74, &["reason      VERSION_CONFLICT", "current_version 1"]);
    announced
        .call(&["WatchCrisisEvents", "--service", "backend", "--timeout", "500ms"])
        .failed(
            68,
            &["DEADLINE_EXCEEDED: ", "reason      DEADLINE", "retry after 50ms"],
        );
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_a_failure_at_the_deadline() {
    let mut stack = Stack::start().await.unwrap();
    let announced = Announced::new(&stack);
    stack.identity.pause();
    announced
        .call(&["GetPasswordPolicy", "--timeout", "300ms"])
        .failed(68, &["DEADLINE_EXCEEDED: no answer came within --timeout"]);
    stack.identity.resume();
    stack.identity.kill();
    announced
        .call(&["GetPasswordPolicy"])
        .failed(78, &["UNAVAILABLE: ", "Connection refused"]);
}

#[tokio::test]
async fn json_that_does_not_fit_is_refused_with_the_name_of_the_field() {
    let stack = Stack::shared().await.unwrap();
    let announced = Announced::new(stack);
    for (request, parts) in [
        (
            r#"{"e_mail": "a"}"#,
            ["e_mail: SignUpRequest has no such field", "Did you mean email?"],
        ),
        (
            r#"{"consents": [{"document": "terms"}, {"documentVersions": "1"}]}"#,
            [
                "consents[1].documentVersions: ConsentGrant has no such field",
                "document_version",
            ],
        ),
        (
            r#"{"goals": ["GOAL_FLY"]}"#,
            ["goals[0]: GOAL_FLY is not a value of Goal", "GOAL_MAKE_FRIENDS"],
        ),
        (r#"{"email": 7}"#, ["email: ", "string"]),
        (
            r#"{"consents": [{"document": "a"}, 8]}"#,
            ["consents[1]: ", "invalid type"],
        ),
        (r#"{"email": "#, ["not JSON", "line 1"]),
        ("[]", ["a SignUpRequest is a JSON object", "field"]),
        ("{} {}", ["takes one request", "2 JSON values"]),
    ] {
        announced.call(&["SignUp", request]).failed(2, &parts);
    }
    announced
        .call(&["LeaseJobs", "--service", "worker", r#"{"max_jobs": "many"}"#])
        .failed(2, &["max_jobs: "]);
    announced
        .call(&["CycleService/ListRecords", r#"{"from_local_time": "yesterday"}"#])
        .failed(2, &["from_local_time: "]);
}

#[tokio::test]
async fn names_that_are_unknown_or_ambiguous_are_refused_with_those_that_are_near() {
    let stack = Stack::shared().await.unwrap();
    let announced = Announced::new(stack);
    announced.call(&["SignUpp"]).failed(2, &["AccountService/SignUp"]);
    announced
        .call(&["ConversationServices/AppendMessages"])
        .failed(2, &["ConversationService/AppendMessage"]);
    announced.call(&["ListAuditEvents"]).failed(
        2,
        &[
            "ambiguous",
            "AccountService/ListAuditEvents",
            "PersonService/ListAuditEvents",
        ],
    );
    for name in [
        "GetPasswordPolicy",
        "getpasswordpolicy",
        "get-password-policy",
        "account/get_password_policy",
        "AccountService/GetPasswordPolicy",
        "haven.identity.v1.AccountService/GetPasswordPolicy",
        "/haven.identity.v1.AccountService/GetPasswordPolicy",
        "haven.identity.v1.AccountService.GetPasswordPolicy",
    ] {
        let policy = announced.call(&[name]).value();
        assert_eq!(policy["minLength"], 8, "{name}");
    }
    announced
        .call(&["SignUp", "--server", "data"])
        .failed(2, &["answered by identity, not by data"]);
}
