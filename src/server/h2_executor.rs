//! The executor of an HTTP/2 connection: polls new request streams on the task of the connection.
//!
//! hyper hands every stream to an executor. As tasks of their own they would run on any worker thread and each be
//! flushed alone. Here they are polled once, together, after the connection has read what had arrived, so that their
//! responses leave in one write. A stream that has to wait becomes a task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;

use crate::server::h2_io::CoalescingStream;

type StreamFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Request streams that have not been polled. Clones share them.
#[derive(Clone, Default)]
pub(super) struct InlineExecutor {
    pending: Arc<Mutex<Vec<StreamFuture>>>,
    /// The stream that the connection writes to, sent when there is nothing left to poll.
    output: Option<CoalescingStream>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for InlineExecutor {
    fn execute(&self, stream: F) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(stream));
    }
}

impl InlineExecutor {
    pub(super) fn new(output: CoalescingStream) -> InlineExecutor {
        InlineExecutor { pending: Arc::default(), output: Some(output) }
    }

    /// Polls the connection and the streams that it starts until neither makes progress, then sends what they wrote.
    pub(super) fn poll<C: Future>(&self, mut connection: Pin<&mut C>, cx: &mut Context<'_>) -> Poll<C::Output> {
        loop {
            if let Poll::Ready(output) = connection.as_mut().poll(cx) {
                self.poll_pending();
                return Poll::Ready(output);
            }
            if self.poll_pending() == 0 {
                if let Some(output) = &self.output {
                    output.send(cx);
                }
                return Poll::Pending;
            }
        }
    }

    /// Polls each pending stream once and spawns those that are not finished. Returns how many there were.
    fn poll_pending(&self) -> usize {
        let pending = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        let count = pending.len();
        for mut stream in pending {
            // A spawned task is polled at once and registers its own waker.
            let mut cx = Context::from_waker(Waker::noop());
            // A panic ends its own request alone, as it would in a task.
            match catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(&mut cx))) {
                Ok(Poll::Pending) => drop(tokio::spawn(stream)),
                Ok(Poll::Ready(())) => {}
                Err(_) => tracing::error!("request stream panicked; its request is not answered"),
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn ready_streams_run_inline_waiting_ones_become_tasks_and_a_panic_ends_only_its_own() {
        let executor = InlineExecutor::default();
        let finished = Arc::new(AtomicUsize::new(0));
        let (released, wait) = tokio::sync::oneshot::channel::<()>();
        let (done, waiting_done) = tokio::sync::oneshot::channel();
        let (ready, waiting) = (finished.clone(), finished.clone());
        executor.execute(async { panic!("in a request") });
        executor.execute(async move { ready.store(1, Ordering::Relaxed) });
        executor.execute(async move {
            wait.await.expect("it is released");
            waiting.fetch_add(1, Ordering::Relaxed);
            done.send(()).expect("the test waits");
        });
        let mut connection = std::pin::pin!(std::future::pending::<()>());
        let polled = executor.poll(connection.as_mut(), &mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        assert_eq!(finished.load(Ordering::Relaxed), 1, "the ready stream has run without a task");
        released.send(()).expect("the stream waits");
        waiting_done.await.expect("the stream goes on in a task");
        assert_eq!(finished.load(Ordering::Relaxed), 2);
    }
}
