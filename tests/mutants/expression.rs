//! Changes of an SQL expression, as Postgres prints it: with parentheses around every operation.

/// What may be changed in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// A condition, as `pg_get_expr` prints it.
    Condition,
    /// A condition, as a migration writes it: with parentheses around each chain of ANDs and of ORs.
    Rule,
    /// The body of a function in plpgsql. `=` assigns there too, and literals have many uses, so both stay.
    Body,
}

/// Operators, and what each is replaced by.
const OPERATORS: [(&str, &str, Language); 10] = [
    (" < ", " <= ", Language::Body),
    (" <= ", " < ", Language::Body),
    (" > ", " >= ", Language::Body),
    (" >= ", " > ", Language::Body),
    (" IS NULL", " IS NOT NULL", Language::Body),
    (" IS NOT NULL", " IS NULL", Language::Body),
    (" AND ", " OR ", Language::Body),
    (" = ", " <> ", Language::Condition),
    (" <> ", " = ", Language::Condition),
    ("NOT (", "(", Language::Condition),
];

/// A changed text.
pub(super) struct Change {
    /// The kind of the change.
    pub(super) kind: &'static str,
    /// What was changed.
    pub(super) what: String,
    pub(super) text: String,
}

/// Returns the changed texts.
pub(super) fn changes(text: &str, language: Language) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut change = |kind, what: String, text: String| changes.push(Change { kind, what, text });
    if language != Language::Body {
        if text != "true" {
            change("replaced by true", "true".to_owned(), "true".to_owned());
        }
        for (start, end) in terms(text) {
            let what = format!("without {}", short(&text[start..end]));
            change("without a term", what, without(text, start, end));
        }
    }
    let quoted = quoted(text);
    for (found, replacement, least) in OPERATORS {
        if language == Language::Body && least == Language::Condition {
            continue;
        }
        for (at, _) in text.match_indices(found).filter(|(at, _)| !quoted[*at]) {
            let (before, after) = (&text[..at], &text[at + found.len()..]);
            let what = format!(
                "{} for {} at {at}: {}",
                replacement.trim(),
                found.trim(),
                short(after)
            );
            change(
                "with another operator",
                what,
                format!("{before}{replacement}{after}"),
            );
        }
    }
    for (start, end) in intervals(text) {
        let interval = &text[start..end];
        for factor in ["/ 2", "* 2"] {
            let changed = format!("{}({interval} {factor}){}", &text[..start], &text[end..]);
            change(
                "with another interval",
                format!("{interval} {factor} at {start}"),
                changed,
            );
        }
    }
    if language != Language::Body {
        for (start, end) in literals(text, language) {
            let changed = format!("{}'other'{}", &text[..start], &text[end..]);
            change(
                "with another text",
                format!("for {} at {start}", &text[start..end]),
                changed,
            );
        }
    }
    changes
}

/// Returns the first line of `text`, shortened.
fn short(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(60).collect()
}

/// Returns for each byte whether it is within a quoted literal, name or comment.
fn quoted(text: &str) -> Vec<bool> {
    let bytes = text.as_bytes();
    let mut quoted = vec![false; bytes.len() + 1];
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            quote @ (b'\'' | b'"') => (at + 1..bytes.len()).find(|&i| bytes[i] == quote),
            b'-' if bytes.get(at + 1) == Some(&b'-') => (at..bytes.len()).find(|&i| bytes[i] == b'\n'),
            _ => {
                at += 1;
                continue;
            }
        };
        let end = end.unwrap_or(bytes.len() - 1);
        quoted[at..=end].fill(true);
        at = end + 1;
    }
    quoted
}

/// Returns the terms of every chain of ANDs and of ORs, as ranges of bytes. A chain fills a pair of parentheses.
fn terms(text: &str) -> Vec<(usize, usize)> {
    let quoted = quoted(text);
    let mut open: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut terms = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        if quoted[at] {
            at += 1;
        } else if rest.starts_with('(') {
            open.push((at + 1, Vec::new()));
            at += 1;
        } else if rest.starts_with(')') {
            if let Some((start, separators)) = open.pop().filter(|(_, separators)| !separators.is_empty()) {
                let mut from = start;
                for separator in separators {
                    terms.push((from, separator));
                    from = separator + separator_length(&text[separator..]);
                }
                terms.push((from, at));
            }
            at += 1;
        } else if rest.starts_with(" AND ") || rest.starts_with(" OR ") {
            if let Some((_, separators)) = open.last_mut() {
                separators.push(at);
            }
            at += separator_length(rest);
        } else {
            at += 1;
        }
    }
    terms
}

fn separator_length(text: &str) -> usize {
    if text.starts_with(" AND ") { 5 } else { 4 }
}

/// Returns the text without the term and one of the operators beside it.
fn without(text: &str, start: usize, end: usize) -> String {
    let (before, after) = (&text[..start], &text[end..]);
    for separator in [" AND ", " OR "] {
        if let Some(before) = before.strip_suffix(separator) {
            return format!("{before}{after}");
        }
        if let Some(after) = after.strip_prefix(separator) {
            return format!("{before}{after}");
        }
    }
    text.to_owned()
}

/// Returns the ranges of the quoted texts.
fn strings(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut strings = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find('\'').map(|found| at + found) {
        let Some(end) = (start + 1..bytes.len()).find(|&i| bytes[i] == b'\'') else {
            break;
        };
        strings.push((start, end + 1));
        at = end + 1;
    }
    strings
}

/// Returns the ranges of the intervals: `'1 day'::interval` and `interval '1 day'`.
fn intervals(text: &str) -> Vec<(usize, usize)> {
    let word = "interval ";
    let cast = "::interval";
    strings(text)
        .into_iter()
        .filter_map(|(start, end)| {
            if text[..start].ends_with(word) {
                Some((start - word.len(), end))
            } else if text[end..].starts_with(cast) {
                Some((start, end + cast.len()))
            } else {
                None
            }
        })
        .collect()
}

/// Returns the ranges of the quoted texts that are compared with.
fn literals(text: &str, language: Language) -> Vec<(usize, usize)> {
    strings(text)
        .into_iter()
        .filter(|(start, end)| match language {
            Language::Rule => !text[..*start].ends_with("interval "),
            _ => text[*end..].starts_with("::text"),
        })
        .collect()
}

#[test]
fn each_term_of_a_condition_is_dropped() {
    let text =
        "((user_id = 1) AND (EXISTS ( SELECT FROM t WHERE ((a = ' AND ') AND ((b > 2) OR (c IS NULL))))))";
    let dropped: Vec<String> = terms(text)
        .into_iter()
        .map(|(start, end)| without(text, start, end))
        .collect();
    let within = |inner: &str| format!("((user_id = 1) AND (EXISTS ( SELECT FROM t WHERE ({inner}))))");
    let expected = [
        within("(a = ' AND ') AND ((c IS NULL))"),
        within("(a = ' AND ') AND ((b > 2))"),
        within("((b > 2) OR (c IS NULL))"),
        within("(a = ' AND ')"),
        "((EXISTS ( SELECT FROM t WHERE ((a = ' AND ') AND ((b > 2) OR (c IS NULL))))))".to_owned(),
        "((user_id = 1))".to_owned(),
    ];
    assert_eq!(dropped, expected);
}

#[test]
fn operators_intervals_and_texts_are_changed() {
    let changed = |text: &str, language| -> Vec<String> {
        changes(text, language)
            .into_iter()
            .map(|change| change.text)
            .collect()
    };
    assert_eq!(
        changed("(a < (now() - '7 days'::interval))", Language::Condition),
        [
            "true",
            "(a <= (now() - '7 days'::interval))",
            "(a < (now() - ('7 days'::interval / 2)))",
            "(a < (now() - ('7 days'::interval * 2)))",
        ]
    );
    assert_eq!(
        changed("(a = 'x < y'::text)", Language::Condition),
        ["true", "(a <> 'x < y'::text)", "(a = 'other'::text)"]
    );
    assert_eq!(
        changed("x := y -- a < b\n + interval '1 day';", Language::Body),
        [
            "x := y -- a < b\n + (interval '1 day' / 2);",
            "x := y -- a < b\n + (interval '1 day' * 2);",
        ]
    );
}
