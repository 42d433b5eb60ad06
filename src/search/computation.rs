//! The threads on which searches are computed.
//!
//! # Invariants
//!
//! - Requests of other kinds, and of other brands, do not wait for a search: the threads that serve connections compute none, and a
//!   brand's searches occupy at most `[search] threads` others.

use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

use crate::foundation::error::{Result, ResultExt};
use crate::tenant::brand::Brand;

/// A brand's share of the threads, of the size that its configuration had first.
#[derive(Default)]
struct SearchThreads(OnceLock<Arc<Semaphore>>);

impl SearchThreads {
    fn of(brand: &Brand) -> Arc<Semaphore> {
        let threads = || match brand.config.search.threads {
            0 => available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        brand.components.get::<SearchThreads>().0.get_or_init(|| Arc::new(Semaphore::new(threads()))).clone()
    }
}

/// The result of `work`, after waiting for one of the brand's threads. It is done to its end even when the request is given up, and
/// keeps its thread until then.
///
/// # Errors
/// 500 when it panics.
pub(super) async fn compute<T: Send + 'static>(brand: &Brand, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    compute_on(SearchThreads::of(brand), work).await
}

async fn compute_on<T: Send + 'static>(
    threads: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let thread = threads.acquire_owned().await.or_internal()?;
    let work = move || {
        let result = work();
        drop(thread);
        result
    };
    tokio::task::spawn_blocking(work).await.or_internal()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    /// The runtime of this test has one thread, on which nothing else would happen while a search is computed.
    #[tokio::test]
    async fn searches_wait_for_the_threads_of_their_brand_and_nothing_waits_for_them() {
        let (ours, others) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1)));
        let (release, released) = mpsc::channel::<()>();
        let first = tokio::spawn(compute_on(ours.clone(), move || released.recv().is_ok()));
        while ours.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let mut second = std::pin::pin!(compute_on(ours.clone(), || 2));
        assert!(second.as_mut().now_or_never().is_none(), "the one thread is occupied");
        assert_eq!(compute_on(others, || 3).await.expect("another brand has a thread of its own"), 3);
        first.abort();
        tokio::task::yield_now().await;
        assert_eq!(ours.available_permits(), 0, "a search that was given up is still computed");
        release.send(()).expect("it waits");
        assert_eq!(second.await.expect("the thread is free"), 2);
    }

    #[tokio::test]
    async fn panic_is_an_error_of_its_request_alone() {
        let threads = Arc::new(Semaphore::new(1));
        let panicked = compute_on(threads.clone(), || panic!("out of range")).await;
        assert_eq!(panicked.map(|()| 0).expect_err("it panicked").code, "internal");
        assert_eq!(compute_on(threads, || 1).await.expect("the thread is free again"), 1);
    }
}
