//! Which messages a list shows, and in which order.

use super::message::MessageNumber;

/// In which order messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOrder {
    /// By number, upwards.
    OldestFirst,
    /// By number, downwards.
    NewestFirst,
}

/// The messages of a conversation that a list shows: those between two numbers, neither of which is among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// In which order.
    pub order: MessageOrder,
    /// Only greater numbers. None: from the first.
    pub after: Option<MessageNumber>,
    /// Only lesser numbers. None: to the newest.
    pub before: Option<MessageNumber>,
}

impl Listing {
    /// What of this list comes behind its message `last`.
    #[must_use]
    pub fn behind(self, last: MessageNumber) -> Self {
        match self.order {
            MessageOrder::OldestFirst => Self {
                after: Some(last),
                ..self
            },
            MessageOrder::NewestFirst => Self {
                before: Some(last),
                ..self
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_a_message_is_up_or_down_to_the_other_bound() {
        let [after, last, before] = [1, 5, 9].map(MessageNumber::new);
        let listing = |order, after, before| Listing { order, after, before };
        for (order, expected) in [
            (MessageOrder::OldestFirst, (last, before)),
            (MessageOrder::NewestFirst, (after, last)),
        ] {
            let rest = listing(order, after, before).behind(last.unwrap());
            assert_eq!(rest, listing(order, expected.0, expected.1));
        }
    }
}
