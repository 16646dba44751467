//! Statements that do not run as a tenant, and calls of functions. A pooler in transaction mode may run the messages of the extended protocol in
//! different sessions, unless a transaction is open.

use std::fs;

use haven_testkit::workspace;

use super::source::{code, files};

/// Functions of sqlx that use the extended protocol. `raw_sql` uses the simple one.
const EXTENDED: [&str; 3] = ["query(", "query_as(", "query_scalar("];

#[test]
fn the_platform_uses_the_extended_protocol_only_in_a_tenant_transaction() {
    let folder = workspace::root().join("services/platform/src/database");
    let (mut seen, mut outside) = (0, Vec::new());
    for path in files(&folder) {
        let code = code(&path);
        for statement in code.split(';') {
            if EXTENDED.iter().any(|function| statement.contains(function)) {
                seen += 1;
                if !statement.contains("(&mut tx)") && !statement.contains("(&mut *tx)") {
                    outside.push(format!("{}: {}", path.display(), statement.trim()));
                }
            }
        }
    }
    assert!(seen > 0, "the check finds nothing");
    assert!(outside.is_empty(), "use raw_sql, or a TenantTx: {outside:#?}");
}

/// A login has no right to a table, so a call that is something else fails; but a call of a function of another kind could
/// do what no policy sees.
#[test]
fn a_call_of_the_database_is_one_function_with_its_caller_first() {
    let (mut seen, mut others) = (0, Vec::new());
    for service in ["identity", "data"] {
        for path in files(&workspace::root().join("services").join(service).join("src/store")) {
            let text = fs::read_to_string(&path).unwrap();
            let text = text
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .replace(".call( ", ".call(")
                // The name of the RPC may be a parameter.
                .replace(".call(method, ", ".call(\"method\", ");
            let effects = text.matches("Effect::").count();
            let calls = text.matches(".call(\"").count();
            assert_eq!(calls, effects, "{}: a call in another form", path.display());
            // Each call builds its statement in a closure: `.fetch_one(|| { sqlx::query_as!(…) })`.
            for call in text.split(".call(\"").skip(1) {
                seen += 1;
                let statement = call
                    .split_once("sqlx::query")
                    .map_or("", |(_, statement)| statement);
                let (sql, rest) = statement.split_once(")\"#,").unwrap_or_default();
                let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
                let (selected, function) = sql.rsplit_once(" FROM ").unwrap_or_default();
                let first = rest.trim_start().split(',').next().unwrap_or_default();
                let version = function
                    .split('(')
                    .next()
                    .and_then(|name| name.rsplit('_').next());
                let is_call = selected.contains("SELECT /* ")
                    && !selected.contains(" FROM ")
                    && function.starts_with(&format!("{service}."))
                    && version.is_some_and(|version| version.parse::<u32>().is_ok())
                    && function.contains("($1");
                // A call of a stranger has no caller.
                let context = call.split_once("\", ").map_or("", |(_, context)| context);
                let is_anonymous = context.starts_with("Context::Anonymous,");
                let callers = [
                    "caller.as_uuid()",
                    "person.as_uuid()",
                    "person.as_ref().map(UserId::as_uuid)",
                    "None::<Uuid>",
                    "lease",
                    "&people",
                ];
                if !is_call || !(is_anonymous || callers.contains(&first)) {
                    others.push(format!("{}: {function} with {first}", path.display()));
                }
            }
        }
    }
    assert!(seen > 0, "the check finds nothing");
    assert!(
        others.is_empty(),
        "call one versioned function of the schema: {others:#?}"
    );
}
