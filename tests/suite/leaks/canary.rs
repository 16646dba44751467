//! Canaries: private values that nobody has ever used, so that each is recognised wherever it turns up.

use std::{fmt::Write, sync::Mutex};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};

/// The bytes that make a canary unmistakable: 62 bits of chance, written so that no escaping changes them.
const LENGTH: usize = 12;

/// One private value, and where it may be seen.
#[derive(Clone)]
pub(crate) struct Canary {
    /// What it is, and which call it went through.
    pub(crate) what: String,
    /// Where it may be found.
    pub(crate) allowed: Allowed,
    needle: String,
}

/// Where a canary may be found, by the names of places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    Nowhere,
    /// In these places, if its call got that far.
    At(&'static [&'static str]),
    /// In each of these places: the search finds nothing at all if it does not find it there.
    Surely(&'static [&'static str]),
}

/// Every canary that was let loose.
#[derive(Default)]
pub(crate) struct Flock(Mutex<Vec<Canary>>);

/// Text to search, and the same in lower case.
pub(crate) struct Haystack {
    text: String,
    lower: String,
}

// === impl Flock ===

impl Flock {
    /// A new canary, that may be found nowhere.
    pub(crate) fn canary(&self, what: &str) -> Canary {
        self.allowed(what, Allowed::Nowhere)
    }

    /// A new canary, that may be found where `allowed` says.
    pub(crate) fn allowed(&self, what: &str, allowed: Allowed) -> Canary {
        let mut needle = String::new();
        while needle.len() < LENGTH {
            let digit = char::from_digit(rand::random_range(0..36), 36).unwrap();
            needle.push(digit);
        }
        self.keep(what, allowed, needle)
    }

    /// A private value that was not made here, such as a token.
    pub(crate) fn given(&self, what: &str, allowed: Allowed, value: &str) -> Canary {
        assert!(value.len() >= LENGTH, "{what} is too short to be recognised");
        self.keep(what, allowed, value.to_owned())
    }

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
    /// As a password that keeps the policy.
    pub(crate) fn password(&self) -> String {
        format!("{0}-Aa1 \"{0}\"", self.needle)
    }

    /// As an email address, recognised by either of its parts.
    pub(crate) fn email(&self) -> String {
        format!("{0}@{0}.example.org", self.needle)
    }

    /// As the text of a message, with what is written differently in JSON, in a URL and in SQL.
    pub(crate) fn text(&self) -> String {
        format!("{0} \"'\\ <é> {0}\n{0}", self.needle)
    }

    /// As a word, for a header or a path.
    pub(crate) fn word(&self) -> &str {
        &self.needle
    }

    /// The first form of it that is in `haystack`, with what stands around it.
    pub(crate) fn found(&self, haystack: &Haystack) -> Option<String> {
        forms(&self.needle).into_iter().find_map(|form| {
            let text = if form.exact {
                &haystack.text
            } else {
                &haystack.lower
            };
            let at = text.find(&form.text)?;
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

/// One way of writing a value.
struct Form {
    name: &'static str,
    text: String,
    /// Is upper case another thing than lower case?
    exact: bool,
}

/// Every way in which `value` could be written where it must not be.
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

/// What `value` looks like in base64 when `offset` bytes (modulo 3) stand before it, whatever they and those after it are.
fn base64_core(engine: &impl Engine, offset: usize, value: &str) -> String {
    let mut bytes = vec![0; offset];
    bytes.extend(value.bytes());
    let encoded = engine.encode(&bytes);
    // A digit holds six bits; one that also holds bits of a neighbour does not count.
    encoded[(offset * 8).div_ceil(6)..bytes.len() * 8 / 6].to_owned()
}

#[test]
fn a_canary_is_found_in_every_form() {
    let flock = Flock::default();
    let canary = flock.canary("a test's");
    let other = flock.canary("somebody else's");
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
