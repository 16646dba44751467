//! A change is made once, however often its request arrives: one after the other, or all at the same time.

mod append_message;
mod provision_user;
mod sign_in;
mod sign_up;

use std::fmt::Debug;

use futures_util::future::join_all;

/// How many times at once.
const CROWD: usize = 50;

/// Makes a call `times` at once. Every answer is the same, and is returned.
async fn at_once<A, F>(times: usize, call: impl Fn() -> F) -> A
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
