use chrono::Utc;
use prost_types::Timestamp;

use super::*;

fn violations(request: &ListRecordsRequest) -> Vec<String> {
    let failure = List::parse(request.clone()).unwrap_err();
    assert_eq!(failure.reason(), Reason::InvalidField);
    let violations = failure.all_violations().iter();
    violations
        .map(|one| format!("{} {}", one.field, one.name))
        .collect()
}

fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

fn micros(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

#[test]
fn everything_wrong_with_a_list_is_reported_at_once() {
    let request = ListRecordsRequest {
        page_size: -1,
        order: 4,
        from_local_time: at(0, -1),
        until_local_time: at(i64::MAX, 0),
        device_id: "x".into(),
        ..ListRecordsRequest::default()
    };
    let expected = [
        "page_size NEGATIVE",
        "order UNKNOWN_VALUE",
        "from_local_time NOT_A_TIME",
        "until_local_time NOT_A_TIME",
        "device_id NOT_A_UUID",
    ];
    assert_eq!(violations(&request), expected);
    for (from, until) in [(at(1, 0), at(1, 0)), (at(1, 1), at(1, 999))] {
        let request = ListRecordsRequest {
            from_local_time: from,
            until_local_time: until,
            ..ListRecordsRequest::default()
        };
        assert_eq!(violations(&request), ["until_local_time NOT_LATER"]);
    }
}

#[test]
fn a_list_is_newest_first_by_default() {
    let plain = List::parse(ListRecordsRequest::default()).unwrap();
    let everything = RecordListing {
        order: RecordOrder::NewestFirst,
        from: None,
        until: None,
        reencryption_due: false,
    };
    assert_eq!(
        (plain.listing, plain.size.get(), plain.device),
        (everything, 50, None)
    );
    for (proto_order, order) in [
        (proto::RecordOrder::NewestFirst, RecordOrder::NewestFirst),
        (proto::RecordOrder::OldestFirst, RecordOrder::OldestFirst),
        (proto::RecordOrder::ByChange, RecordOrder::ByChange),
    ] {
        let request = ListRecordsRequest {
            page_size: 51,
            page_token: "t".into(),
            order: proto_order.into(),
            from_local_time: at(-1, 0),
            until_local_time: at(1, 0),
            reencryption_due: true,
            device_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        };
        let list = List::parse(request).unwrap();
        let listing = RecordListing {
            order,
            from: micros(-1_000_000),
            until: micros(1_000_000),
            reencryption_due: true,
        };
        assert_eq!((list.listing, list.size.get()), (listing, 50));
        assert_eq!((list.token.as_str(), list.device.is_some()), ("t", true));
    }
}

#[test]
fn a_bound_is_rounded_down_to_the_microsecond_as_records_are() {
    let bounds = |nanos| {
        let from = ListRecordsRequest {
            from_local_time: at(-1, nanos),
            ..ListRecordsRequest::default()
        };
        let until = ListRecordsRequest {
            until_local_time: at(-1, nanos),
            ..ListRecordsRequest::default()
        };
        let from = List::parse(from).unwrap().listing.from;
        assert_eq!(List::parse(until).unwrap().listing.until, from);
        from
    };
    assert_eq!(bounds(0), micros(-1_000_000));
    assert_eq!(bounds(1), micros(-1_000_000));
    assert_eq!(bounds(1_000), micros(-999_999));
    assert_eq!(bounds(1_999), micros(-999_999));
    assert_eq!(bounds(999_999_999), micros(-1));
}

#[test]
fn a_page_token_is_for_one_list() {
    let plain = RecordListing {
        order: RecordOrder::NewestFirst,
        from: None,
        until: None,
        reencryption_due: false,
    };
    let lists = [
        plain,
        RecordListing {
            order: RecordOrder::OldestFirst,
            ..plain
        },
        RecordListing {
            order: RecordOrder::ByChange,
            ..plain
        },
        RecordListing {
            from: micros(0),
            ..plain
        },
        RecordListing {
            from: micros(1),
            ..plain
        },
        RecordListing {
            until: micros(0),
            ..plain
        },
        RecordListing {
            until: micros(1),
            ..plain
        },
        RecordListing {
            reencryption_due: true,
            ..plain
        },
    ];
    let keys = lists.map(list_key);
    for (position, key) in keys.iter().enumerate() {
        assert!(!keys[..position].contains(key), "{:?}", lists[position]);
    }
}

#[test]
fn a_cursor_survives_a_page_token() {
    let cursor = RecordCursor {
        local_time: DateTime::from_timestamp_micros(-1).unwrap(),
        change_number: 2,
        id: Uuid::from_u128(3),
    };
    assert_eq!(from_bytes(to_bytes(cursor)).unwrap(), cursor);
    let mut bytes = to_bytes(cursor);
    bytes[..8].copy_from_slice(&i64::MAX.to_be_bytes());
    assert!(from_bytes(bytes).is_err());
}
