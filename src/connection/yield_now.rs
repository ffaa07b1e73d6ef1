//! Ways for a connection to let others proceed.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use tokio::task::{self, coop};

/// Yields to the other connections of this thread until the runtime has polled epoll, so that connections with
/// new input proceed, too. The runtime polls epoll only when no task is ready, or after 61 tasks. Until then,
/// other wake-ups of this task are ignored.
pub async fn yield_now() {
    let mut yielding: Option<Arc<YieldWaker>> = None;
    poll_fn(|cx| match &yielding {
        None => {
            let started = Arc::new(YieldWaker { is_woken: AtomicBool::new(false), task: cx.waker().clone() });
            // The runtime calls this waker after it has polled epoll.
            let waker = Waker::from(started.clone());
            let _ = pin!(task::yield_now()).poll(&mut Context::from_waker(&waker));
            yielding = Some(started);
            Poll::Pending
        }
        Some(waker) if waker.is_woken.load(Ordering::Relaxed) => Poll::Ready(()),
        Some(_) => Poll::Pending,
    })
    .await;
}

/// Records that epoll has been polled, and wakes the task.
struct YieldWaker {
    is_woken: AtomicBool,
    task: Waker,
}

impl Wake for YieldWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

/// A last check for input before an incomplete request is evicted: the rest of the request may have arrived, but
/// the thread knows that only after epoll has been polled.
#[derive(Default)]
pub struct LastCheck {
    yielding: Option<Pin<Box<dyn Future<Output = ()>>>>,
    is_over: bool,
}

impl LastCheck {
    /// Completes when epoll has been polled, and the task has read all input that arrived.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_over {
            ready!(self.yielding.get_or_insert_with(|| Box::pin(yield_now())).as_mut().poll(cx));
            (self.is_over, self.yielding) = (true, None);
        }
        // Without cooperative budget, the previous read may have left input in the socket.
        if coop::has_budget_remaining() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
