//! Summary of a value that was measured several times.

use std::fmt;

/// The values of several turns. `Display` prints the median, the minimum and the maximum.
pub(crate) struct Spread(pub(crate) Vec<f64>);

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, median, max) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
        let digits = f.precision().unwrap_or(3);
        write!(f, "{median:.digits$}")?;
        if sorted.len() > 1 {
            write!(f, " ({min:.digits$} to {max:.digits$})")?;
        }
        Ok(())
    }
}
