//! ListMessages: reads the caller's messages by pages, between two numbers and in either order.

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::Handler,
    page::PageSize,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, ListMessagesRequest, ListMessagesResponse};

use super::{ConversationRpc, message::number_from_cursor};
use crate::domain::{
    message::MessageNumber,
    message_list::{Listing, MessageOrder},
};

/// A parsed request. Its page token is not verified yet.
#[derive(Debug, PartialEq, Eq)]
struct List {
    listing: Listing,
    size: PageSize,
    token: String,
}

impl Handler<ListMessagesRequest> for ConversationRpc {
    type Answer = ListMessagesResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ListMessagesRequest,
    ) -> Result<ListMessagesResponse, Failure> {
        let owner = call.user()?;
        let List { listing, size, token } = List::parse(request)?;
        let list = list_bytes(listing);
        let rest = match self.pages.cursor(owner, &list, &token)? {
            Some(last) => listing.behind(number_from_cursor(last)?),
            None => listing,
        };
        let page = self.conversations.list(owner, rest, size, call.deadline).await?;
        let next_page_token = self
            .pages
            .next(owner, &list, &page, |last| last.number.get().to_be_bytes());
        let messages = page
            .items
            .into_iter()
            .map(|sealed| self.open_message(owner, sealed));
        Ok(ListMessagesResponse {
            messages: messages.collect::<Result<_, _>>()?,
            next_page_token,
        })
    }
}

impl List {
    fn parse(request: ListMessagesRequest) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let size = PageSize::parse(request.page_size, &mut violations);
        let order = parse_order(request.order)
            .map_err(|violation| violations.add(violation))
            .ok();
        let after = parse_bound("after_number", request.after_number, &mut violations);
        let before = parse_bound("before_number", request.before_number, &mut violations);
        let (size, order) = violations.finish(size.zip(order))?;
        Ok(Self {
            listing: Listing { order, after, before },
            size,
            token: request.page_token,
        })
    }
}

/// Parses the value of an order field. The default is the oldest message first.
fn parse_order(value: i32) -> Result<MessageOrder, Violation> {
    match proto::MessageOrder::try_from(value) {
        Ok(proto::MessageOrder::Unspecified | proto::MessageOrder::OldestFirst) => {
            Ok(MessageOrder::OldestFirst)
        }
        Ok(proto::MessageOrder::NewestFirst) => Ok(MessageOrder::NewestFirst),
        Err(_) => Err(Violation::unknown_value("order")),
    }
}

/// Parses a bound of a list. `None` when the bound is 0, which means no bound; also when it is negative, which adds a
/// violation.
fn parse_bound(field: &'static str, number: i64, violations: &mut Violations) -> Option<MessageNumber> {
    if number < 0 {
        let description = format!("{field} must not be negative");
        violations.add(Violation::new(field, "NEGATIVE", description));
    }
    MessageNumber::new(number)
}

/// Returns the fields that must be the same on each page, for the page token.
fn list_bytes(listing: Listing) -> Vec<u8> {
    let order = match listing.order {
        MessageOrder::OldestFirst => b"ListMessages, oldest first",
        MessageOrder::NewestFirst => b"ListMessages, newest first",
    };
    let bound = |number: Option<MessageNumber>| number.map_or(0, MessageNumber::get).to_be_bytes();
    [&order[..], &bound(listing.after), &bound(listing.before)].concat()
}

#[cfg(test)]
mod tests {
    use haven_platform::reason::Reason;

    use super::*;

    fn violations(request: ListMessagesRequest) -> Vec<(String, &'static str)> {
        let failure = List::parse(request).unwrap_err();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        violations.map(|one| (one.field.clone(), one.name)).collect()
    }

    #[test]
    fn all_violations_are_reported_at_once() {
        let request = ListMessagesRequest {
            page_size: -1,
            order: -1,
            after_number: -1,
            before_number: i64::MIN,
            ..ListMessagesRequest::default()
        };
        let expected = [
            ("page_size", "NEGATIVE"),
            ("order", "UNKNOWN_VALUE"),
            ("after_number", "NEGATIVE"),
            ("before_number", "NEGATIVE"),
        ];
        let expected = expected.map(|(field, name)| (field.to_owned(), name));
        assert_eq!(violations(request), expected);
    }

    #[test]
    fn the_default_order_is_oldest_first() {
        let plain = List::parse(ListMessagesRequest::default()).unwrap();
        let everything = Listing {
            order: MessageOrder::OldestFirst,
            after: None,
            before: None,
        };
        assert_eq!((plain.listing, plain.size.get()), (everything, PageSize::DEFAULT));
        let newest = List::parse(ListMessagesRequest {
            order: proto::MessageOrder::NewestFirst.into(),
            page_size: 1000,
            page_token: "t".into(),
            after_number: 3,
            before_number: i64::MAX,
        })
        .unwrap();
        let bounded = Listing {
            order: MessageOrder::NewestFirst,
            after: MessageNumber::new(3),
            before: MessageNumber::new(i64::MAX),
        };
        assert_eq!((newest.listing, newest.size.get()), (bounded, PageSize::MAX));
        assert_eq!(newest.token, "t");
    }

    #[test]
    fn a_page_token_is_bound_to_the_order_and_the_bounds() {
        let lists = [
            (MessageOrder::OldestFirst, 0, 0),
            (MessageOrder::NewestFirst, 0, 0),
            (MessageOrder::OldestFirst, 1, 0),
            (MessageOrder::OldestFirst, 0, 1),
        ];
        let bound_to = lists.map(|(order, after, before)| {
            let [after, before] = [after, before].map(MessageNumber::new);
            list_bytes(Listing { order, after, before })
        });
        for (position, one) in bound_to.iter().enumerate() {
            assert!(!bound_to[..position].contains(one), "{:?}", lists[position]);
        }
    }
}
