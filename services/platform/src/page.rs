//! Pagination (AIP-158): page sizes, pages, and page tokens. A token is opaque, authenticated, and bound to its caller
//! and request.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    call::UserId,
    cursor::Cursor,
    failure::{Failure, Violation},
    mac::{MAC_BYTES, MacKeys},
    reason::Reason,
    violations::Violations,
};

/// The maximum number of items in a page: 1 to [`PageSize::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u8);

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// True if the list has more items after these.
    pub more: bool,
}

/// Creates page tokens, and accepts only tokens that it created.
///
/// A token consists of a cursor and a keyed hash over the cursor, its owner and the request. It is not encrypted: a
/// cursor may hold only data that its owner was shown.
#[derive(Clone, Debug)]
pub struct PageTokens(MacKeys);

// === impl PageSize ===

impl PageSize {
    /// The page size when a request does not state one.
    pub const DEFAULT: u8 = 50;
    /// The maximum page size; a larger request is reduced to it (AIP-158).
    pub const MAX: u8 = 200;

    /// Parses the `page_size` of a request: 0 means [`PageSize::DEFAULT`], and more than [`PageSize::MAX`] is reduced
    /// to that.
    ///
    /// `None` when it is negative; NEGATIVE is added to `violations` then.
    pub fn parse(page_size: i32, violations: &mut Violations) -> Option<Self> {
        match page_size {
            ..0 => {
                violations.add(Violation::new(
                    "page_size",
                    "NEGATIVE",
                    "page_size must not be negative",
                ));
                None
            }
            0 => Some(Self(Self::DEFAULT)),
            _ => Some(Self(
                u8::try_from(page_size).map_or(Self::MAX, |size| size.min(Self::MAX)),
            )),
        }
    }

    /// Parses the `page_size` of a request that has no other field to check.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD when it is negative.
    pub fn parse_alone(page_size: i32) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let size = Self::parse(page_size, &mut violations);
        violations.finish(size)
    }

    /// Returns the smaller of this size and `max`. Lists of large items use it, because fewer of them fit into a
    /// response.
    #[must_use]
    pub fn at_most(self, max: u8) -> Self {
        Self(self.0.min(max))
    }

    /// Returns the size as a number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// Returns the `LIMIT` of the query for a page: one row more than the page has, which shows whether there is a next
    /// page.
    #[must_use]
    pub fn limit(self) -> i64 {
        i64::from(self.0) + 1
    }
}

// === impl Page ===

impl<T> Page<T> {
    /// Returns the page of up to `size` items, from up to [`PageSize::limit`] rows.
    #[must_use]
    pub fn from_rows(mut rows: Vec<T>, size: PageSize) -> Self {
        let size = usize::from(size.get());
        let more = rows.len() > size;
        rows.truncate(size);
        Self { items: rows, more }
    }

    /// Returns the page of up to `size` items, each converted from its row. See [`Page::from_rows`].
    ///
    /// # Errors
    ///
    /// The error of the first row that does not convert.
    pub fn try_from_rows<R>(rows: Vec<R>, size: PageSize) -> Result<Self, T::Error>
    where
        T: TryFrom<R>,
    {
        let Page { items, more } = Page::from_rows(rows, size);
        let items = items.into_iter().map(T::try_from).collect::<Result<_, _>>()?;
        Ok(Self { items, more })
    }

    /// Returns the item after which the next page begins; `None` on the last page.
    #[must_use]
    pub fn last_before_next(&self) -> Option<&T> {
        self.items.last().filter(|_| self.more)
    }
}

// === impl PageTokens ===

impl PageTokens {
    /// Creates page tokens with `keys` as the keys of their hashes. The first key makes tokens; tokens under every key are
    /// accepted.
    #[must_use]
    pub fn new(keys: MacKeys) -> Self {
        Self(keys)
    }

    /// Returns the token of the page after `page`; empty when `page` is the last one. `cursor` gives the position of
    /// the page's last item. `request` contains every field that must stay the same from page to page.
    pub fn next<T, const N: usize>(
        &self,
        owner: UserId,
        request: &[u8],
        page: &Page<T>,
        cursor: impl FnOnce(&T) -> [u8; N],
    ) -> String {
        page.last_before_next()
            .map(|last| self.seal(owner, request, &cursor(last)))
            .unwrap_or_default()
    }

    /// Returns the token that leads `owner` to `cursor`. `request` contains every field that must stay the same from
    /// page to page.
    #[must_use]
    pub fn seal(&self, owner: UserId, request: &[u8], cursor: &[u8]) -> String {
        let mut token = self
            .0
            .mac(&[owner.as_uuid().as_bytes(), request, cursor])
            .to_vec();
        token.extend_from_slice(cursor);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Returns the cursor of `N` bytes in `token`, which was sealed for the same owner and request; `None` for the
    /// empty token of a first page.
    ///
    /// # Errors
    ///
    /// PAGE_TOKEN_INVALID for every other token.
    pub fn cursor<const N: usize>(
        &self,
        owner: UserId,
        request: &[u8],
        token: &str,
    ) -> Result<Option<[u8; N]>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let cursor = self.open(owner, request, token)?.try_into();
        cursor
            .map(Some)
            .map_err(|_| Failure::new(Reason::PageTokenInvalid))
    }

    /// Returns the cursor in the `token` of a list that is ordered by time. See [`PageTokens::cursor`].
    ///
    /// # Errors
    ///
    /// PAGE_TOKEN_INVALID for a token that was not sealed for the same owner and request.
    pub fn time_cursor(&self, owner: UserId, request: &[u8], token: &str) -> Result<Option<Cursor>, Failure> {
        let invalid = || Failure::new(Reason::PageTokenInvalid);
        self.cursor(owner, request, token)?
            .map(|bytes| Cursor::from_bytes(bytes).ok_or_else(invalid))
            .transpose()
    }

    fn open(&self, owner: UserId, request: &[u8], token: &str) -> Result<Vec<u8>, Failure> {
        let bytes = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
        match bytes.split_at_checked(MAC_BYTES) {
            Some((tag, cursor)) if self.0.verify(&[owner.as_uuid().as_bytes(), request, cursor], tag) => {
                Ok(cursor.to_vec())
            }
            _ => Err(Failure::new(Reason::PageTokenInvalid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::mac::SecretKeys;

    fn size(page_size: i32) -> Option<PageSize> {
        PageSize::parse(page_size, &mut Violations::new())
    }

    #[test]
    fn a_page_has_50_items_by_default_and_at_most_200() {
        let number = |page_size| size(page_size).map(PageSize::get);
        assert_eq!(number(i32::MIN), None);
        assert_eq!(number(-1), None);
        assert_eq!(number(0), Some(50));
        assert_eq!(number(1), Some(1));
        assert_eq!(number(200), Some(200));
        assert_eq!(number(201), Some(200));
        assert_eq!(number(i32::MAX), Some(200));
        let at_most = |page_size| size(page_size).map(|size| size.at_most(20).get());
        assert_eq!(
            [at_most(0), at_most(19), at_most(21)],
            [Some(20), Some(19), Some(20)]
        );
        let failure = PageSize::parse_alone(-1).unwrap_err();
        assert_eq!(failure.all_violations()[0].name, "NEGATIVE");
        assert_eq!(PageSize::parse_alone(7).unwrap().limit(), 8);
    }

    #[test]
    fn one_row_more_than_the_page_shows_that_there_is_a_next_page() {
        let two = size(2).unwrap();
        let last = Page::from_rows(vec![1_i64, 2], two);
        assert_eq!((last.last_before_next(), last.more), (None, false));
        let page = Page::<i64>::try_from_rows(vec![1_i32, 2, 3], two).unwrap();
        assert_eq!(page.items, [1, 2]);
        assert_eq!(page.last_before_next(), Some(&2));
        let tokens = tokens();
        let owner = UserId::new(Uuid::nil());
        let token = tokens.next(owner, b"list", &page, |last| last.to_be_bytes());
        assert_eq!(
            tokens.cursor(owner, b"list", &token).unwrap(),
            Some(2_i64.to_be_bytes())
        );
        assert_eq!(tokens.next(owner, b"list", &last, |last| last.to_be_bytes()), "");
    }

    fn tokens() -> PageTokens {
        PageTokens::new(MacKeys::derive(&SecretKeys::one([1; 32]), "page"))
    }

    #[test]
    fn a_token_is_valid_only_for_its_owner_and_its_request() {
        let tokens = tokens();
        let (a, b) = (UserId::new(Uuid::from_u128(1)), UserId::new(Uuid::from_u128(2)));
        let token = tokens.seal(a, b"newest first", b"42");
        assert_eq!(tokens.open(a, b"newest first", &token).unwrap(), b"42");
        assert!(tokens.open(b, b"newest first", &token).is_err());
        assert!(tokens.open(a, b"oldest first", &token).is_err());
        assert_eq!(tokens.cursor(a, b"newest first", &token).unwrap(), Some(*b"42"));
        assert_eq!(tokens.cursor::<2>(a, b"newest first", "").unwrap(), None);
        assert!(tokens.cursor::<3>(a, b"newest first", &token).is_err());
        assert!(tokens.cursor::<1>(a, b"newest first", &token).is_err());
        for forged in ["", "!", "AAAA", &token[1..], &format!("{token}A")] {
            let failure = tokens.open(a, b"newest first", forged).unwrap_err();
            assert_eq!(failure.reason(), Reason::PageTokenInvalid);
        }
    }
}
