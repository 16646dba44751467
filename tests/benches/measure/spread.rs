//! What was measured several times.

use std::fmt;

/// The values of several turns.
pub(crate) struct Spread(pub(crate) Vec<f64>);

/// The median, and from where to where.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (least, median, most) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
        let digits = f.precision().unwrap_or(3);
        write!(f, "{median:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}
