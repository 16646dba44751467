//! Statements that do not run as a tenant. A pooler in transaction mode may run the messages of the extended protocol in
//! different sessions, unless a transaction is open.

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
                if !statement.contains("(&mut tx)") {
                    outside.push(format!("{}: {}", path.display(), statement.trim()));
                }
            }
        }
    }
    assert!(seen > 0, "the check finds nothing");
    assert!(outside.is_empty(), "use raw_sql, or a TenantTx: {outside:#?}");
}
