//! Metrics page of a service, as Prometheus scrapes it.

use std::collections::BTreeMap;

use crate::raw_socket::{exchange, tcp};

/// A scraped page of metrics.
pub(crate) struct Metrics {
    pub(crate) page: String,
    /// Values by name and labels, as written on the page.
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// Scrapes the page from the metrics port.
    pub(crate) async fn read(port: u16) -> Self {
        // HTTP/1.0: the response is not chunked.
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

    /// Returns the sum of the samples of `name` that have all of `labels`, or `None` when there is no such sample.
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
