//! What a PromQL expression names: metrics, labels, and values of labels. Syntax is promtool's business.

use std::collections::BTreeSet;

/// Words that are followed by a list of labels.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that are no metric.
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// The names in one expression.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Names {
    pub(super) selectors: Vec<Selector>,
    /// The labels of groupings, which some selected series must have.
    pub(super) labels: BTreeSet<String>,
}

/// A metric with the conditions on its labels.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Selector {
    pub(super) metric: String,
    pub(super) matchers: Vec<Matcher>,
}

/// A condition on a label: `label="value"`, `label!~"one|other"`.
#[derive(Debug, PartialEq)]
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) operator: String,
    pub(super) value: String,
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(String),
}

impl Names {
    /// Returns the names in `expression`.
    pub(super) fn of(expression: &str) -> Self {
        let mut names = Self::default();
        let mut tokens = tokens(expression).into_iter().peekable();
        while let Some(token) = tokens.next() {
            let Token::Word(word) = token else { continue };
            let next = tokens.peek();
            if GROUPINGS.contains(&word.as_str()) {
                if next == Some(&Token::Sign("(".into())) {
                    let list = tokens
                        .by_ref()
                        .take_while(|token| *token != Token::Sign(")".into()));
                    names.labels.extend(list.filter_map(|token| match token {
                        Token::Word(label) => Some(label),
                        _ => None,
                    }));
                }
            } else if OPERATORS.contains(&word.as_str()) || next.is_some_and(Token::follows_a_function) {
                // An operator or a function.
            } else {
                let mut selector = Selector {
                    metric: word,
                    matchers: Vec::new(),
                };
                if tokens.next_if_eq(&Token::Sign("{".into())).is_some() {
                    let list = tokens
                        .by_ref()
                        .take_while(|token| *token != Token::Sign("}".into()));
                    let list: Vec<_> = list.filter(|token| *token != Token::Sign(",".into())).collect();
                    for matcher in list.chunks(3) {
                        let [Token::Word(label), Token::Sign(operator), Token::Text(value)] = matcher else {
                            panic!("{matcher:?} in {expression}")
                        };
                        selector.matchers.push(Matcher {
                            label: label.clone(),
                            operator: operator.clone(),
                            value: value.clone(),
                        });
                    }
                }
                names.selectors.push(selector);
            }
        }
        names
    }
}

impl Token {
    /// Returns whether a word before this token is a function: `rate(…)`, `sum by (…) (…)`.
    fn follows_a_function(&self) -> bool {
        match self {
            Self::Word(word) => GROUPINGS[..2].contains(&word.as_str()),
            Self::Sign(sign) => sign == "(",
            Self::Text(_) => false,
        }
    }
}

impl Matcher {
    /// Returns the alternatives of the value: `.*/(A|B)` has `.*/A` and `.*/B`.
    pub(super) fn values(&self) -> Vec<String> {
        if !self.operator.ends_with('~') {
            return vec![self.value.clone()];
        }
        let (prefix, list) = match self
            .value
            .strip_suffix(')')
            .and_then(|value| value.split_once('('))
        {
            Some((prefix, list)) => (prefix, list),
            None => ("", self.value.as_str()),
        };
        list.split('|').map(|one| format!("{prefix}{one}")).collect()
    }
}

fn tokens(expression: &str) -> Vec<Token> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let (mut tokens, mut rest) = (Vec::new(), expression);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                let length = rest[1..].find('"').expect("the end of a string") + 2;
                tokens.push(Token::Text(rest[1..length - 1].to_owned()));
                length
            }
            // A number or a duration.
            '0'..='9' => rest.find(|c| !is_word(c) && c != '.').unwrap_or(rest.len()),
            c if is_word(c) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..length].to_owned()));
                length
            }
            c if c.is_whitespace() => c.len_utf8(),
            _ => {
                let double = ["=~", "!~", "!="].into_iter().find(|sign| rest.starts_with(sign));
                let length = double.map_or(first.len_utf8(), str::len);
                tokens.push(Token::Sign(rest[..length].to_owned()));
                length
            }
        };
        rest = &rest[length..];
    }
    tokens
}

#[test]
fn the_names_of_an_expression_are_found() {
    let names = Names::of(
        r#"sum by (job, rpc) (rate(calls_total{reason=~"A|B", rpc!~".*/(C|D)"}[5m])) / on () job:calls:rate1h > 14.4 * 0.001
           or absent(up{job="x"} offset 1d)"#,
    );
    let metrics: Vec<_> = names.selectors.iter().map(|one| one.metric.as_str()).collect();
    assert_eq!(metrics, ["calls_total", "job:calls:rate1h", "up"]);
    assert_eq!(names.labels, ["job", "rpc"].map(str::to_owned).into());
    let matchers = &names.selectors[0].matchers;
    assert_eq!(matchers[0].values(), ["A", "B"]);
    assert_eq!(
        (matchers[1].label.as_str(), matchers[1].operator.as_str()),
        ("rpc", "!~")
    );
    assert_eq!(matchers[1].values(), [".*/C", ".*/D"]);
}
