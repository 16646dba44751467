//! Listing messages: which ones, in which order, a page at a time.

use haven_platform::{
    call::{Call, UserId},
    failure::{Failure, Violation},
    page::PageSize,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, ListMessagesRequest, ListMessagesResponse};

use super::{super::DataRpc, message as parsing};
use crate::domain::{
    message::MessageNumber,
    message_list::{Listing, MessageOrder},
};

/// A page that somebody wants to see. Its token is not opened yet.
#[derive(Debug, PartialEq, Eq)]
struct List {
    listing: Listing,
    size: PageSize,
    token: String,
}

impl DataRpc {
    pub(in crate::rpc) async fn list_messages_of(
        &self,
        call: &Call,
        request: ListMessagesRequest,
    ) -> Result<ListMessagesResponse, Failure> {
        let owner = call.user()?;
        let List { listing, size, token } = List::parse(request)?;
        let last = self.pages.cursor(owner, &same_on_each_page(listing), &token)?;
        let rest = match last {
            Some(last) => listing.behind(parsing::last_number(last)?),
            None => listing,
        };
        let page = self.conversations.list(owner, call.deadline, rest, size).await?;
        let last = page.messages.last().filter(|_| page.more);
        let next_page_token = last
            .map(|last| self.page_token(owner, listing, last.number))
            .unwrap_or_default();
        let messages = page.messages.into_iter().map(|sealed| self.open(owner, sealed));
        Ok(ListMessagesResponse {
            messages: messages.collect::<Result<_, _>>()?,
            next_page_token,
        })
    }

    fn page_token(&self, owner: UserId, listing: Listing, last: MessageNumber) -> String {
        self.pages
            .seal(owner, &same_on_each_page(listing), &last.get().to_be_bytes())
    }
}

impl List {
    fn parse(request: ListMessagesRequest) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let size = PageSize::parse(request.page_size, &mut violations);
        let order = order(&request)
            .map_err(|violation| violations.add(violation))
            .ok();
        let after = bound("after_number", request.after_number, &mut violations);
        let before = bound("before_number", request.before_number, &mut violations);
        let (size, order) = violations.finish(size.zip(order))?;
        Ok(Self {
            listing: Listing { order, after, before },
            size,
            token: request.page_token,
        })
    }
}

fn order(request: &ListMessagesRequest) -> Result<MessageOrder, Violation> {
    match proto::MessageOrder::try_from(request.order) {
        Ok(proto::MessageOrder::Unspecified | proto::MessageOrder::OldestFirst) => {
            Ok(MessageOrder::OldestFirst)
        }
        Ok(proto::MessageOrder::NewestFirst) => Ok(MessageOrder::NewestFirst),
        Err(_) => Err(Violation::unknown_value("order")),
    }
}

/// A bound of a list. None: the conversation's own.
fn bound(field: &'static str, number: i64, violations: &mut Violations) -> Option<MessageNumber> {
    if number < 0 {
        let description = "No message has a negative number";
        violations.add(Violation::new(field, "NEGATIVE", description));
    }
    MessageNumber::new(number)
}

/// What has to be the same from page to page.
fn same_on_each_page(listing: Listing) -> Vec<u8> {
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
    fn everything_wrong_with_a_list_is_reported_at_once() {
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
    fn a_list_begins_with_the_oldest_unless_said() {
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
    fn a_page_token_is_for_one_order_and_its_bounds() {
        let lists = [
            (MessageOrder::OldestFirst, 0, 0),
            (MessageOrder::NewestFirst, 0, 0),
            (MessageOrder::OldestFirst, 1, 0),
            (MessageOrder::OldestFirst, 0, 1),
        ];
        let bound_to = lists.map(|(order, after, before)| {
            let [after, before] = [after, before].map(MessageNumber::new);
            same_on_each_page(Listing { order, after, before })
        });
        for (position, one) in bound_to.iter().enumerate() {
            assert!(!bound_to[..position].contains(one), "{:?}", lists[position]);
        }
    }
}
