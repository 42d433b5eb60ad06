//! The requests of an HTTP/2 connection, answered on the connection's own task where that needs no waiting.
//!
//! hyper hands every stream to an executor. Spawned, each would be answered by whichever worker is free and flushed by itself; here
//! they are polled once together after the connection has read what there was, so that their answers leave in one write. Only
//! a request that has to wait becomes a task of its own. Used by `connection` alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;

use crate::server::h2_io::CoalescingStream;

type TlsTcpStream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Streams that nobody has polled yet. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct InlineExecutor {
    begun: Arc<Mutex<Vec<TlsTcpStream>>>,
    /// Where the connection's answers are gathered.
    gathering: Option<CoalescingStream>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for InlineExecutor {
    fn execute(&self, stream: F) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(stream));
    }
}

impl InlineExecutor {
    /// Of a connection that writes there.
    pub fn of(gathering: CoalescingStream) -> InlineExecutor {
        InlineExecutor { begun: Arc::default(), gathering: Some(gathering) }
    }

    /// Polls the connection, then what it has begun, until neither has anything to do; then what they wrote is sent.
    pub fn poll<C: Future>(&self, mut connection: Pin<&mut C>, cx: &mut Context<'_>) -> Poll<C::Output> {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                self.begin();
                return Poll::Ready(ended);
            }
            if self.begin() == 0 {
                if let Some(gathering) = &self.gathering {
                    gathering.send(cx);
                }
                return Poll::Pending;
            }
        }
    }

    /// Polls each once; what is not finished then goes on by itself. Returns how many there were.
    fn begin(&self) -> usize {
        let begun = std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        let count = begun.len();
        for mut stream in begun {
            // A task polls what it is given first of all, so this waker need not wake anybody.
            let mut unheard = Context::from_waker(Waker::noop());
            // In a task of its own a panic would end no other request either.
            match catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(&mut unheard))) {
                Ok(Poll::Pending) => drop(tokio::spawn(stream)),
                Ok(Poll::Ready(())) => {}
                Err(_) => tracing::error!("a request ended in a panic"),
            }
        }
        count
    }
}
