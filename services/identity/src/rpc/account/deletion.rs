//! The conversion of erasures into their message.

use haven_platform::time::timestamp;
use haven_proto::identity::v1::{Deletion, DeletionState, ErasedRows};

use crate::domain::erasure::Erasure;

/// Converts `erasure` into its message. The rows of this service come first, then those of data.
pub(super) fn deletion_message(erasure: Erasure) -> Deletion {
    let (state, data_rows, complete_time) = match erasure.receipt {
        Some(receipt) => (
            DeletionState::Done,
            receipt.erased,
            Some(timestamp(receipt.confirmed_at)),
        ),
        None => (DeletionState::Pending, Default::default(), None),
    };
    let rows = erasure.erased.into_iter().chain(data_rows);
    Deletion {
        user_id: erasure.user_id.to_string(),
        state: state.into(),
        request_time: Some(timestamp(erasure.requested_at)),
        complete_time,
        erased: rows.map(|(table, rows)| ErasedRows { table, rows }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use haven_platform::call::UserId;

    use super::*;
    use crate::domain::erasure::Receipt;

    const ADA: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    #[test]
    fn a_deletion_is_done_when_data_has_confirmed() {
        let rows = |schema: &str| {
            [format!("{schema}.b"), format!("{schema}.a")]
                .map(|table| (table, 1))
                .into()
        };
        let at = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        let mut erasure = Erasure {
            user_id: UserId::new(ADA.parse().unwrap()),
            request_id: OTHER.parse().unwrap(),
            requested_at: at,
            erased: rows("identity"),
            receipt: None,
        };
        let pending = deletion_message(erasure.clone());
        assert_eq!(pending.state(), DeletionState::Pending);
        assert_eq!((pending.complete_time, pending.erased.len()), (None, 2));
        erasure.receipt = Some(Receipt {
            erased: rows("data"),
            confirmed_at: at,
        });
        let done = deletion_message(erasure);
        assert_eq!(done.state(), DeletionState::Done);
        assert_eq!(done.complete_time, done.request_time);
        let tables: Vec<_> = done.erased.iter().map(|rows| rows.table.as_str()).collect();
        assert_eq!(tables, ["identity.a", "identity.b", "data.a", "data.b"]);
    }
}
