//! EraseUser: deletes all rows of a person, and returns the receipt.

use haven_platform::{call::Call, failure::Failure, handler::Handler, time::timestamp};
use haven_proto::data::v1::{EraseUserRequest, EraseUserResponse, ErasedRows};

use super::{PersonRpc, parse_person};
use crate::store::person::Receipt;

impl Handler<EraseUserRequest> for PersonRpc {
    type Answer = EraseUserResponse;

    async fn handle(&self, call: &Call, request: EraseUserRequest) -> Result<EraseUserResponse, Failure> {
        let person = parse_person(&request.user_id, &request.request_id)?;
        let receipt = self.people.erase(person, self.clock.now(), call.deadline).await?;
        Ok(receipt_to_proto(receipt))
    }
}

/// Converts the receipt of an erasure to the response, with the tables by name.
fn receipt_to_proto(receipt: Receipt) -> EraseUserResponse {
    let erased = receipt.erased.into_iter();
    EraseUserResponse {
        erase_time: Some(timestamp(receipt.erased_at)),
        erased: erased.map(|(table, rows)| ErasedRows { table, rows }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_receipt_lists_its_tables_by_name() {
        let rows = [("data.users", 1), ("data.conversations", 3), ("data.requests", 0)];
        let answer = receipt_to_proto(Receipt {
            erased_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            erased: rows.map(|(table, rows)| (table.to_owned(), rows)).into(),
        });
        let tables: Vec<_> = answer
            .erased
            .iter()
            .map(|erased| (erased.table.as_str(), erased.rows))
            .collect();
        assert_eq!(
            tables,
            [("data.conversations", 3), ("data.requests", 0), ("data.users", 1)]
        );
    }
}
