//! The executor of an HTTP/2 connection: polls new request streams on the task of the connection.
//!
//! hyper hands every stream to an executor. As tasks of their own they would run on any worker thread and each be
//! flushed alone. Here they are polled once, together, after the connection has read what had arrived, so that their
//! responses leave in one write. A stream that has to wait becomes a task.
//!
//! # Invariants
//!
//! - A client that has many requests answered at once delays others by little more than [`MAX_POLL_TIME`] for each of its
//!   connections: the connection then waits for its next turn on the worker thread.
//! - Streams that were not polled are dropped with the [`InlineExecutor`]. They hold a [`StreamQueue`], so a queue that outlived its
//!   connection with streams in it would never be freed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::Executor;

use crate::server::h2_io::CoalescingStream;

/// How long the streams of a connection are polled before others have their turn; a single stream may take longer.
const MAX_POLL_TIME: Duration = Duration::from_millis(1);

/// Above so many streams that wait to be polled, the connection starts no more: its client resets them faster than they are polled.
const MAX_PENDING: usize = 256;

type StreamFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Request streams that have not been polled. Clones share them.
#[derive(Clone, Default)]
pub(super) struct StreamQueue(Arc<Mutex<Vec<StreamFuture>>>);

impl StreamQueue {
    fn lock(&self) -> MutexGuard<'_, Vec<StreamFuture>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamQueue {
    fn execute(&self, stream: F) {
        self.lock().push(Box::pin(stream));
    }
}

/// Polls the streams of one connection.
#[derive(Default)]
pub(super) struct InlineExecutor {
    queue: StreamQueue,
    /// The stream that the connection writes to, sent when there is nothing left to poll.
    output: Option<CoalescingStream>,
}

impl Drop for InlineExecutor {
    fn drop(&mut self) {
        let streams = std::mem::take(&mut *self.queue.lock());
        // Without the lock: a stream may start another one when it is dropped.
        drop(streams);
    }
}

impl InlineExecutor {
    pub(super) fn new(output: CoalescingStream) -> InlineExecutor {
        InlineExecutor { queue: StreamQueue::default(), output: Some(output) }
    }

    /// What the connection starts its streams with.
    pub(super) fn queue(&self) -> StreamQueue {
        self.queue.clone()
    }

    /// Polls the connection and the streams that it starts until neither makes progress or [`MAX_POLL_TIME`] has passed, then
    /// sends what they wrote.
    pub(super) fn poll<C: Future>(&self, mut connection: Pin<&mut C>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let started_at = Instant::now();
        loop {
            if self.pending() <= MAX_PENDING
                && let Poll::Ready(output) = connection.as_mut().poll(cx)
            {
                while self.poll_pending(Instant::now()) > 0 {}
                return Poll::Ready(output);
            }
            let is_over = started_at.elapsed() >= MAX_POLL_TIME;
            if is_over || self.poll_pending(started_at) == 0 {
                if let Some(output) = &self.output {
                    output.send(cx);
                }
                if is_over && self.pending() > 0 {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
    }

    fn pending(&self) -> usize {
        self.queue.lock().len()
    }

    /// Polls each pending stream once, as many as [`MAX_POLL_TIME`] from `started_at` allows and at least one, and spawns those that
    /// are not finished. Returns how many it has polled.
    fn poll_pending(&self, started_at: Instant) -> usize {
        let mut pending = std::mem::take(&mut *self.queue.lock()).into_iter();
        let mut count = 0;
        for mut stream in pending.by_ref() {
            count += 1;
            // A spawned task is polled at once and registers its own waker.
            let mut cx = Context::from_waker(Waker::noop());
            // A panic ends its own request alone, as it would in a task.
            match catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(&mut cx))) {
                Ok(Poll::Pending) => drop(tokio::spawn(stream)),
                Ok(Poll::Ready(())) => {}
                Err(_) => tracing::error!("request stream panicked; its request is not answered"),
            }
            if started_at.elapsed() >= MAX_POLL_TIME {
                break;
            }
        }
        if pending.len() > 0 {
            let mut queue = self.queue.lock();
            // Streams may have been started meanwhile; they come later.
            let later = std::mem::take(&mut *queue);
            queue.extend(pending.chain(later));
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn streams_that_take_long_leave_turns_to_others_and_run_in_order() {
        let executor = InlineExecutor::default();
        let finished = Arc::new(Mutex::new(Vec::new()));
        for number in 0..3 {
            let finished = finished.clone();
            executor.queue().execute(async move {
                std::thread::sleep(2 * MAX_POLL_TIME);
                finished.lock().expect("no panic").push(number);
            });
        }
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let mut connection = std::pin::pin!(std::future::pending::<()>());
        for turn in 1..=3 {
            assert!(executor.poll(connection.as_mut(), &mut Context::from_waker(&waker)).is_pending());
            assert_eq!(*finished.lock().expect("no panic"), (0..turn).collect::<Vec<_>>());
            assert_eq!(woken.0.load(Ordering::Relaxed), turn.min(2), "woken while streams are left");
        }
        executor.queue().execute(async { std::thread::sleep(2 * MAX_POLL_TIME) });
        executor.queue().execute(async { std::thread::sleep(2 * MAX_POLL_TIME) });
        let mut ended = std::pin::pin!(std::future::ready(()));
        assert!(executor.poll(ended.as_mut(), &mut Context::from_waker(&waker)).is_ready());
        assert_eq!(executor.pending(), 0, "a connection that ends leaves no stream unpolled");
    }

    #[test]
    fn connection_starts_no_more_streams_while_too_many_wait() {
        let executor = InlineExecutor::default();
        let started = Arc::new(AtomicUsize::new(0));
        let (starting, starter) = (started.clone(), executor.queue());
        let mut connection = std::pin::pin!(std::future::poll_fn(|_| {
            for _ in 0..MAX_PENDING {
                starting.fetch_add(1, Ordering::Relaxed);
                starter.execute(async { std::thread::sleep(MAX_POLL_TIME) });
            }
            Poll::<()>::Pending
        }));
        for _ in 0..20 {
            assert!(executor.poll(connection.as_mut(), &mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert!(executor.pending() <= 2 * MAX_PENDING, "{}", executor.pending());
        assert!(started.load(Ordering::Relaxed) >= MAX_PENDING);
    }

    #[test]
    fn connection_that_is_dropped_leaves_no_stream_behind() {
        let executor = InlineExecutor::default();
        let (queue, request) = (executor.queue(), Arc::new(()));
        let held = request.clone();
        let of_stream = queue.clone();
        // A stream of hyper holds its executor.
        queue.execute(async move { drop((of_stream, held)) });
        drop((executor, queue));
        assert_eq!(Arc::strong_count(&request), 1);
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Woken>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn ready_streams_run_inline_waiting_ones_become_tasks_and_a_panic_ends_only_its_own() {
        let executor = InlineExecutor::default();
        let finished = Arc::new(AtomicUsize::new(0));
        let (released, wait) = tokio::sync::oneshot::channel::<()>();
        let (done, waiting_done) = tokio::sync::oneshot::channel();
        let (ready, waiting) = (finished.clone(), finished.clone());
        executor.queue().execute(async { panic!("in a request") });
        executor.queue().execute(async move { ready.store(1, Ordering::Relaxed) });
        executor.queue().execute(async move {
            wait.await.expect("it is released");
            waiting.fetch_add(1, Ordering::Relaxed);
            done.send(()).expect("the test waits");
        });
        let mut connection = std::pin::pin!(std::future::pending::<()>());
        // To report the panic may take longer than a turn.
        while executor.pending() > 0 {
            let polled = executor.poll(connection.as_mut(), &mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        }
        assert_eq!(finished.load(Ordering::Relaxed), 1, "the ready stream has run without a task");
        released.send(()).expect("the stream waits");
        waiting_done.await.expect("the stream goes on in a task");
        assert_eq!(finished.load(Ordering::Relaxed), 2);
    }
}
