use haven_platform::call::UserId;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::sealing::Field;

fn ring() -> KeyRing {
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    KeyRing::new(&[("k".to_owned(), SecretString::from(key))]).unwrap()
}

const ID: Uuid = Uuid::from_u128(2);

fn cell(row: Uuid) -> Cell {
    Cell {
        owner: UserId::new(Uuid::from_u128(1)),
        row,
        field: Field::AnalysisDetails,
    }
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn violations(insights: Vec<String>) -> Vec<(String, &'static str)> {
    let Err(violations) = AnalysisDetails::parse(insights, Vec::new(), Vec::new()) else {
        return Vec::new();
    };
    violations
        .into_iter()
        .map(|one| (one.field, one.problem.name()))
        .collect()
}

fn lists(details: &AnalysisDetails) -> [Vec<String>; 3] {
    let owned = |items: Vec<&str>| strings(&items);
    [
        owned(details.insights().collect()),
        owned(details.strengths().collect()),
        owned(details.improvement_areas().collect()),
    ]
}

#[test]
fn a_list_has_0_to_10_items() {
    assert_eq!(violations(vec![]), []);
    assert_eq!(violations(vec!["a".into(); 10]), []);
    let too_many = [("insights".to_owned(), "TOO_MANY")];
    assert_eq!(violations(vec!["a".into(); 11]), too_many);
    // Items after the tenth add no violations, so the response stays short.
    let mut items = vec!["a".to_owned(); 10];
    items.extend(vec![String::new(); 1000]);
    assert_eq!(violations(items), too_many);
}

#[test]
fn an_item_has_1_to_500_code_points() {
    assert_eq!(
        violations(vec![String::new()]),
        [("insights[0]".to_owned(), "ITEM_EMPTY")]
    );
    for character in ["a", "é", "🎉"] {
        assert_eq!(violations(vec![character.to_owned(), character.repeat(500)]), []);
        assert_eq!(
            violations(vec![character.to_owned(), character.repeat(501)]),
            [("insights[1]".to_owned(), "ITEM_TOO_LONG")]
        );
    }
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let long = "a".repeat(501);
    let Err(found) = AnalysisDetails::parse(
        strings(&["a", "", &long]),
        vec![String::new(); 11],
        strings(&[&long]),
    ) else {
        panic!("the details were accepted");
    };
    let mut expected = vec![
        ("insights[1]".to_owned(), DetailsProblem::ItemEmpty),
        ("insights[2]".to_owned(), DetailsProblem::ItemTooLong),
        ("strengths".to_owned(), DetailsProblem::TooMany),
    ];
    expected.extend((0..10).map(|i| (format!("strengths[{i}]"), DetailsProblem::ItemEmpty)));
    expected.push(("improvement_areas[0]".to_owned(), DetailsProblem::ItemTooLong));
    let found: Vec<_> = found.into_iter().map(|one| (one.field, one.problem)).collect();
    assert_eq!(found, expected);
}

#[test]
fn debug_does_not_show_details() {
    let details = AnalysisDetails::parse(strings(&["canary"]), vec![], strings(&["canary"])).unwrap();
    assert!(!format!("{details:?}").contains("canary"));
}

/// Stored details have this layout.
#[test]
fn the_layout_never_changes() {
    let text = r#"{"insights":["a \"b\"","\u0001é"],"strengths":[],"improvement_areas":["c"]}"#;
    let sealed = ring().seal(cell(ID), text, DateTime::UNIX_EPOCH);
    let details = AnalysisDetails::open(&ring(), cell(ID), &sealed).unwrap();
    let expected = [strings(&["a \"b\"", "\u{1}é"]), vec![], strings(&["c"])];
    assert_eq!(lists(&details), expected);
    let [insights, strengths, improvement_areas] = expected;
    let details = AnalysisDetails::parse(insights, strengths, improvement_areas).unwrap();
    let sealed = details.seal(&ring(), cell(ID), DateTime::UNIX_EPOCH).unwrap();
    let opened = ring().open(cell(ID), &sealed).unwrap();
    assert_eq!(opened.expose_secret(), text);
}

#[test]
fn text_of_another_layout_does_not_open() {
    for text in ["", "null", "[]", "{}", r#"{"insights":[],"strengths":[]}"#] {
        let sealed = ring().seal(cell(ID), text, DateTime::UNIX_EPOCH);
        let error = AnalysisDetails::open(&ring(), cell(ID), &sealed).unwrap_err();
        assert_eq!(error, OpenError::Broken, "{text}");
    }
}

proptest! {
    #[test]
    fn details_open_only_in_their_own_cell(
        insights in proptest::collection::vec("(?s).{1,20}", 0..10),
        strengths in proptest::collection::vec("(?s).{1,20}", 0..10),
        improvement_areas in proptest::collection::vec("(?s).{1,20}", 0..10),
        other: u128,
    ) {
        let sent = [insights.clone(), strengths.clone(), improvement_areas.clone()];
        let details = AnalysisDetails::parse(insights, strengths, improvement_areas).unwrap();
        let sealed = details.seal(&ring(), cell(ID), DateTime::UNIX_EPOCH).unwrap();
        let opened = AnalysisDetails::open(&ring(), cell(ID), &sealed).unwrap();
        prop_assert_eq!(lists(&opened), sent);
        let other = Uuid::from_u128(other);
        if other != ID {
            let error = AnalysisDetails::open(&ring(), cell(other), &sealed).unwrap_err();
            prop_assert_eq!(error, OpenError::Misplaced);
        }
    }

    #[test]
    fn the_buffer_does_not_grow(items in proptest::collection::vec("(?s).{1,50}", 0..10)) {
        let all = || items.iter().map(String::as_str).collect::<Vec<_>>();
        let lists = Lists { insights: all(), strengths: all(), improvement_areas: all() };
        prop_assert!(serde_json::to_vec(&lists).unwrap().len() <= lists.max_bytes());
    }
}
