//! The JSON format of log lines: time, level, the fields of the event, and the spans from the outside in, such as
//! `{"timestamp":"…","level":"INFO","code":"Ok","message":"call","spans":[{"rpc":"…","request_id":"…","name":"call"}]}`.
//!
//! Each part is written once, straight into the line. The fields of a span were formatted when it was opened, and are copied;
//! the format of `tracing-subscriber` parses them again for each line.

use std::{
    error::Error,
    fmt::{self, Debug, Write},
};

use serde_json::Number;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// The format. The fields of spans must be formatted as JSON objects
/// ([`JsonFields`](tracing_subscriber::fmt::format::JsonFields)).
pub(crate) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        line.write_str(r#"{"timestamp":""#)?;
        SystemTime.format_time(&mut line)?;
        write!(line, r#"","level":"{}""#, event.metadata().level())?;
        let mut fields = Fields {
            line: &mut line,
            result: Ok(()),
        };
        event.record(&mut fields);
        fields.result?;
        let mut spans = context
            .event_scope()
            .into_iter()
            .flat_map(|spans| spans.from_root());
        if let Some(first) = spans.next() {
            line.write_str(r#","spans":["#)?;
            for (position, span) in std::iter::once(first).chain(spans).enumerate() {
                if position > 0 {
                    line.write_char(',')?;
                }
                let extensions = span.extensions();
                let fields = extensions.get::<FormattedFields<N>>();
                let fields = fields.and_then(|fields| fields.fields.strip_suffix('}'));
                match fields {
                    Some(fields) if fields.len() > 1 => write!(line, "{fields},")?,
                    _ => line.write_char('{')?,
                }
                line.write_str(r#""name":"#)?;
                quote(&mut line, span.name())?;
                line.write_char('}')?;
            }
            line.write_char(']')?;
        }
        line.write_str("}\n")
    }
}

/// Writes each field of an event as a member of a JSON object.
struct Fields<'a, 'line> {
    line: &'a mut Writer<'line>,
    result: fmt::Result,
}

impl Fields<'_, '_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self
                .line
                .write_char(',')
                .and_then(|()| quote(self.line, field.name()))
                .and_then(|()| self.line.write_char(':'))
                .and_then(|()| value(self.line));
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity.
        self.member(field, |line| match Number::from_f64(value) {
            Some(number) => write!(line, "{number}"),
            None => line.write_str("null"),
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |line| quote(line, value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.member(field, |line| {
            line.write_char('"')?;
            write!(Escaping(line), "{value}")?;
            line.write_char('"')
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, |line| {
            line.write_char('"')?;
            write!(Escaping(line), "{value:?}")?;
            line.write_char('"')
        });
    }
}

fn quote(line: &mut Writer<'_>, text: &str) -> fmt::Result {
    line.write_char('"')?;
    Escaping(line).write_str(text)?;
    line.write_char('"')
}

/// Writes text as a part of a JSON string (RFC 8259, section 7).
struct Escaping<'a, 'line>(&'a mut Writer<'line>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_special = |character: char| matches!(character, '"' | '\\' | '\0'..='\x1f');
        let mut rest = text;
        while let Some(position) = rest.find(is_special) {
            let (plain, special) = rest.split_at(position);
            self.0.write_str(plain)?;
            // Each special character is one byte.
            match special.as_bytes()[0] {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                b'\n' => self.0.write_str("\\n")?,
                b'\r' => self.0.write_str("\\r")?,
                b'\t' => self.0.write_str("\\t")?,
                other => write!(self.0, "\\u{other:04x}")?,
            }
            rest = &special[1..];
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tracing_subscriber::{
        Layer, Registry,
        fmt::{MakeWriter, format::JsonFields},
        layer::SubscriberExt,
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        fn parsed(&self) -> Vec<Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
                .collect()
        }
    }

    /// Logs with this format and with that of `tracing-subscriber`, and returns the lines of both without their times.
    fn logged(log: impl FnOnce()) -> [Vec<Value>; 2] {
        let (ours, theirs) = (Lines::default(), Lines::default());
        let layer = tracing_subscriber::fmt::layer::<Registry>()
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines)
            .with_writer(ours.clone());
        let standard = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_target(false)
            .with_writer(theirs.clone());
        let subscriber = Registry::default().with(layer.boxed()).with(standard);
        tracing::subscriber::with_default(subscriber, log);
        [ours, theirs].map(|lines| {
            let mut lines = lines.parsed();
            for line in &mut lines {
                let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
                let time = time.as_str().unwrap();
                assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok() && time.ends_with('Z'));
            }
            lines
        })
    }

    #[test]
    fn a_line_has_what_the_standard_format_has() {
        let error = io::Error::other("a \"cause\"\nin two lines");
        let [ours, theirs] = logged(|| {
            tracing::info!("no field");
            let text = "\u{0}\u{1f}\u{7f} \u{8}\u{c}\"\\/\n\r\t é \u{1f980}";
            let outer = tracing::error_span!("outer", rpc = text, request_id = %uuid::Uuid::nil());
            let _outer = outer.enter();
            tracing::warn!(
                text, quoted = ?text, shown = %text, yes = true, none = None::<&str>, "with {} fields", 3
            );
            let empty = tracing::info_span!("empty");
            let _empty = empty.enter();
            tracing::error!(error = &error as &(dyn Error + 'static), numbers = ?[1, 2], "failed");
            tracing::debug!(
                least = i64::MIN,
                most = u64::MAX,
                huge = f64::MAX,
                tiny = 1e-300,
                nan = f64::NAN
            );
            tracing::trace!(millis = 1.25, whole = 2.0, r#type = "raw");
        });
        assert_eq!(ours, theirs);
        assert_eq!(ours.len(), 5);
        assert_eq!(ours[2]["spans"][1], json!({"name": "empty"}));
    }

    proptest! {
        #[test]
        fn every_text_and_number_is_json(text in any::<String>(), number in any::<f64>()) {
            let [ours, theirs] = logged(|| tracing::info!(text, number, shown = %text, debug = ?text));
            prop_assert_eq!(&ours[0]["text"], &json!(text));
            prop_assert_eq!(ours, theirs);
        }
    }
}
