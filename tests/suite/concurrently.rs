//! Concurrent calls of the same request: it takes effect once, and all calls get the same response.

use std::fmt::Debug;

use futures_util::future::join_all;

/// Number of concurrent calls.
pub(crate) const CALLS: usize = 50;

/// Makes a call `times` concurrently, asserts that all responses are equal, and returns the response.
pub(crate) async fn concurrently<A, F>(times: usize, call: impl Fn() -> F) -> A
where
    A: PartialEq + Debug,
    F: Future<Output = A>,
{
    let mut answers = join_all((0..times).map(|_| call())).await.into_iter();
    let first = answers.next().unwrap();
    for answer in answers {
        assert_eq!(answer, first);
    }
    first
}
