//! How much of a conversation a page shows, and in which order.

/// How many messages a page may have: 1 to [`PageSize::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u8);

impl PageSize {
    /// Of a caller who does not say.
    pub const DEFAULT: u8 = 50;
    /// At most; more is taken as this (AIP-158).
    pub const MAX: u8 = 200;

    /// The size that a caller asks for: 0 is the default, and what is too large is cut down. `None` when it is negative.
    pub fn parse(asked: i32) -> Option<Self> {
        match asked {
            ..0 => None,
            0 => Some(Self(Self::DEFAULT)),
            _ => Some(Self(
                u8::try_from(asked).map_or(Self::MAX, |size| size.min(Self::MAX)),
            )),
        }
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// In which order messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOrder {
    /// By number, upwards.
    OldestFirst,
    /// By number, downwards.
    NewestFirst,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_50_messages_unless_said_and_never_more_than_200() {
        let size = |asked| PageSize::parse(asked).map(PageSize::get);
        assert_eq!(size(i32::MIN), None);
        assert_eq!(size(-1), None);
        assert_eq!(size(0), Some(50));
        assert_eq!(size(1), Some(1));
        assert_eq!(size(200), Some(200));
        assert_eq!(size(201), Some(200));
        assert_eq!(size(i32::MAX), Some(200));
    }
}
