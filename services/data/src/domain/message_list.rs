//! The parameters of a list of messages: bounds and order.

use super::message::MessageNumber;

/// The order of a list of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOrder {
    /// Ascending by message number.
    OldestFirst,
    /// Descending by message number.
    NewestFirst,
}

/// A list of messages (ListMessages): those between two numbers, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The order in which the messages are returned.
    pub order: MessageOrder,
    /// The exclusive lower bound. `None` when the list starts at the first message.
    pub after: Option<MessageNumber>,
    /// The exclusive upper bound. `None` when the list ends at the newest message.
    pub before: Option<MessageNumber>,
}

impl Listing {
    /// Returns the part of this list that follows the message `last`.
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
    fn the_rest_of_a_list_extends_to_the_bound_in_its_order() {
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
