//! Canaries: random private values. Each is used once, so that it is recognised in any location it turns up.

use std::{fmt::Write, sync::Mutex};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use memchr::memmem;

/// The length of a canary in base-36 digits: 62 random bits, in characters that no escaping changes.
const LENGTH: usize = 12;

/// A private value, and the locations where it may be found.
#[derive(Clone)]
pub(crate) struct Canary {
    /// A description for failures: the value's meaning, and the call that carried it.
    pub(crate) what: String,
    /// The locations where the value may be found.
    pub(crate) allowed: Allowed,
    needle: String,
}

/// The locations where a canary may be found, by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    Nowhere,
    /// Only these locations. The value may be missing there, because the call may fail before it is written.
    At(&'static [&'static str]),
    /// Each of these locations has the value: a search that does not find the value there is broken.
    Surely(&'static [&'static str]),
}

/// All canaries of one test.
#[derive(Default)]
pub(crate) struct Flock(Mutex<Vec<Canary>>);

/// A text to search, and its lower-case copy.
pub(crate) struct Haystack {
    text: String,
    lower: String,
}

// === impl Flock ===

impl Flock {
    /// Creates a canary that must not be found anywhere.
    pub(crate) fn canary(&self, what: &str) -> Canary {
        self.allowed(what, Allowed::Nowhere)
    }

    /// Creates a canary that may be found where `allowed` says.
    pub(crate) fn allowed(&self, what: &str, allowed: Allowed) -> Canary {
        let mut needle = String::new();
        while needle.len() < LENGTH {
            let digit = char::from_digit(rand::random_range(0..36), 36).unwrap();
            needle.push(digit);
        }
        self.keep(what, allowed, needle)
    }

    /// Adds an existing private value, such as a token, of at least [`LENGTH`] bytes.
    pub(crate) fn given(&self, what: &str, allowed: Allowed, value: &str) -> Canary {
        assert!(value.len() >= LENGTH, "{what} is too short to be recognised");
        self.keep(what, allowed, value.to_owned())
    }

    /// Returns every canary so far.
    pub(crate) fn all(&self) -> Vec<Canary> {
        self.0.lock().unwrap().clone()
    }

    fn keep(&self, what: &str, allowed: Allowed, needle: String) -> Canary {
        let what = what.to_owned();
        let canary = Canary {
            what,
            allowed,
            needle,
        };
        self.0.lock().unwrap().push(canary.clone());
        canary
    }
}

// === impl Canary ===

impl Canary {
    /// Returns a password that contains the canary and satisfies the policy.
    pub(crate) fn password(&self) -> String {
        format!("{0}-Aa1 \"{0}\"", self.needle)
    }

    /// Returns an email address that contains the canary in both of its parts.
    pub(crate) fn email(&self) -> String {
        format!("{0}@{0}.example.org", self.needle)
    }

    /// Returns the text of a message, with characters that JSON, URLs and SQL escape.
    pub(crate) fn text(&self) -> String {
        format!("{0} \"'\\ <é> {0}\n{0}", self.needle)
    }

    /// Returns the bare canary, for a header or a path.
    pub(crate) fn word(&self) -> &str {
        &self.needle
    }

    /// Searches `haystack` for the canary in every form. Returns the first form found, with the text around it.
    pub(crate) fn found(&self, haystack: &Haystack) -> Option<String> {
        forms(&self.needle).into_iter().find_map(|form| {
            let text = if form.exact {
                &haystack.text
            } else {
                &haystack.lower
            };
            let at = memmem::find(text.as_bytes(), form.text.as_bytes())?;
            let from = text.floor_char_boundary(at.saturating_sub(100));
            let to = text.ceil_char_boundary((at + form.text.len() + 40).min(text.len()));
            Some(format!("{}: …{}…", form.name, &text[from..to]))
        })
    }
}

// === impl Haystack ===

impl Haystack {
    pub(crate) fn new(text: String) -> Self {
        let lower = text.to_lowercase();
        Self { text, lower }
    }
}

/// An encoding of a value, such as base64.
struct Form {
    name: &'static str,
    text: String,
    /// `true` when the case of letters matters.
    exact: bool,
}

/// Returns the encodings of `value` that a leak could have.
fn forms(value: &str) -> Vec<Form> {
    let lower = value.to_lowercase();
    let bytes = |separator: &str, write: fn(u8) -> String| {
        let bytes: Vec<_> = lower.bytes().map(write).collect();
        bytes.join(separator)
    };
    let mut forms = vec![
        ("raw", lower.clone()),
        ("hex", bytes("", |byte| format!("{byte:02x}"))),
        ("URL-encoded", bytes("", |byte| format!("%{byte:02x}"))),
        ("JSON-escaped", bytes("", |byte| format!("\\u{byte:04x}"))),
        ("a list of bytes", bytes(", ", |byte| byte.to_string())),
    ]
    .into_iter()
    .map(|(name, text)| Form {
        name,
        text,
        exact: false,
    })
    .collect::<Vec<_>>();
    for engine in [STANDARD, URL_SAFE] {
        for offset in 0..3 {
            let text = base64_core(&engine, offset, value);
            forms.push(Form {
                name: "base64",
                text,
                exact: true,
            });
        }
    }
    forms
}

/// Returns the base64 digits of `value` that do not depend on the bytes around it, when `offset` bytes (modulo 3)
/// precede it.
fn base64_core(engine: &impl Engine, offset: usize, value: &str) -> String {
    let mut bytes = vec![0; offset];
    bytes.extend(value.bytes());
    let encoded = engine.encode(&bytes);
    // A digit holds six bits; a digit that also holds bits of a neighbour is left out.
    encoded[(offset * 8).div_ceil(6)..bytes.len() * 8 / 6].to_owned()
}

#[test]
fn a_canary_is_found_in_every_form() {
    let flock = Flock::default();
    let canary = flock.canary("a value");
    let other = flock.canary("another value");
    let text = format!("the password is {}!", canary.password());
    let mut escaped = String::new();
    for unit in text.encode_utf16() {
        write!(escaped, "\\u{unit:04X}").unwrap();
    }
    let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    let percent: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut written = vec![
        ("raw", text.clone()),
        ("in capitals", text.to_uppercase()),
        ("Debug", format!("{text:?}")),
        ("JSON", serde_json::to_string(&text).unwrap()),
        ("every character escaped", escaped),
        ("hex", hex),
        ("percent", percent),
        ("bytes", format!("{:?}", text.as_bytes())),
    ];
    for shift in 0..3 {
        let shifted = format!("{}{text}", "x".repeat(shift));
        written.push(("base64", format!("<{}>", STANDARD.encode(&shifted))));
        written.push(("base64url", format!("<{}>", URL_SAFE.encode(&shifted))));
    }
    for (name, text) in written {
        let haystack = Haystack::new(format!("{}{text}{}", "noise ".repeat(100), " noise".repeat(100)));
        assert!(canary.found(&haystack).is_some(), "{name} is not found");
        assert_eq!(other.found(&haystack), None, "{name}");
    }
}
