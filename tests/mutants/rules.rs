//! Changes of the rules in the function of a CHECK: branches `WHEN NOT (RULE) THEN 'NAME'`, as the migrations write them.

use super::expression::{Change, Language, changes};

/// Returns the texts in which one rule is dropped or changed.
pub(super) fn changed(text: &str) -> Vec<Change> {
    let mut all = Vec::new();
    for (start, end) in rules(text) {
        let name = text[end..].split('\'').nth(1).unwrap_or_default();
        let rule = with_both_limits(&text[start..end]);
        for change in changes(&rule, Language::Rule) {
            all.push(Change {
                kind: change.kind,
                what: format!("{name}: {}", change.what),
                text: format!("{}{}{}", &text[..start], change.text, &text[end..]),
            });
        }
    }
    all
}

/// Returns the ranges of the rules, each with the parentheses around it.
fn rules(text: &str) -> Vec<(usize, usize)> {
    const BEFORE: &str = "WHEN NOT ";
    let starts = text
        .match_indices(BEFORE)
        .map(|(at, _)| at + BEFORE.len())
        .filter(|start| text[*start..].starts_with('('));
    starts
        .filter_map(|start| closing(text, start).map(|end| (start, end + 1)))
        .collect()
}

/// Returns the place of the parenthesis that closes the one at `open`.
fn closing(text: &str, open: usize) -> Option<usize> {
    let (mut depth, mut quoted) = (0, false);
    for (at, character) in text[open..].char_indices() {
        match character {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(open + at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns the rule with `a >= x AND a <= y` for each `a BETWEEN x AND y`, so that each limit is changed by itself, and on one
/// line.
fn with_both_limits(rule: &str) -> String {
    const BETWEEN: &str = " BETWEEN ";
    let mut rule = rule.split_whitespace().collect::<Vec<_>>().join(" ");
    while let Some(at) = rule.find(BETWEEN) {
        let start = operand(&rule[..at]);
        let after = at + BETWEEN.len();
        let Some((least, rest)) = rule[after..].split_once(" AND ") else {
            return rule;
        };
        let length = rest.find([' ', ')']).unwrap_or(rest.len());
        let (value, most) = (&rule[start..at], &rest[..length]);
        rule = format!(
            "{}({value} >= {least} AND {value} <= {most}){}",
            &rule[..start],
            &rest[length..]
        );
    }
    rule
}

/// Returns where the name or call begins that ends the text.
fn operand(text: &str) -> usize {
    let mut depth = 0;
    for (at, character) in text.char_indices().rev() {
        match character {
            ')' => depth += 1,
            '(' if depth == 0 => return at + 1,
            '(' => depth -= 1,
            ' ' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    0
}

#[test]
fn each_rule_is_dropped_and_each_of_its_limits_is_changed() {
    let text = "        -- Never (this.\n        WHEN NOT (octet_length(a) BETWEEN 1 AND b) THEN 'a_check'\n        \
                WHEN NOT (c IS NULL\n            OR d IN (')')) THEN 'c_check'";
    let changed: Vec<String> = changed(text).into_iter().map(|change| change.text).collect();
    let a = |rule: &str| text.replace("(octet_length(a) BETWEEN 1 AND b)", rule);
    let c = |rule: &str| text.replace("(c IS NULL\n            OR d IN (')'))", rule);
    let expected = [
        a("true"),
        a("((octet_length(a) <= b))"),
        a("((octet_length(a) >= 1))"),
        a("((octet_length(a) >= 1 AND octet_length(a) < b))"),
        a("((octet_length(a) > 1 AND octet_length(a) <= b))"),
        a("((octet_length(a) >= 1 OR octet_length(a) <= b))"),
        c("true"),
        c("(d IN (')'))"),
        c("(c IS NULL)"),
        c("(c IS NOT NULL OR d IN (')'))"),
        c("(c IS NULL OR d IN ('other'))"),
    ];
    assert_eq!(changed, expected);
}
