//! The metrics page of a service, as Prometheus sees it.

use std::collections::BTreeMap;

use crate::raw_socket::{exchange, tcp};

/// A page: samples by their name and labels, as they are written there.
pub(crate) struct Metrics {
    pub(crate) page: String,
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// Asks the metrics port for its page.
    pub(crate) async fn read(port: u16) -> Self {
        // HTTP/1.0: an answer in one piece.
        let request = b"GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n";
        let answer = exchange(tcp(port).await, request).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{head}");
        let samples = page
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                (sample.to_owned(), value.parse().unwrap())
            })
            .collect();
        Self {
            page: page.to_owned(),
            samples,
        }
    }

    /// The sum of the samples of `name` that have all of `labels`; `None`: there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted = |sample: &str| {
            let (found, labelled) = sample.split_once('{').unwrap_or((sample, ""));
            found == name
                && labels
                    .iter()
                    .all(|(label, value)| labelled.contains(&format!("{label}=\"{value}\"")))
        };
        let samples = self.samples.iter().filter(|(sample, _)| wanted(sample));
        samples.map(|(_, value)| *value).reduce(|a, b| a + b)
    }
}
