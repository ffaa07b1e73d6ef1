use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::task;

/// Lets the other connections of this thread have a turn, also those whose input epoll has yet to report. A
/// wake-up of this task does not end the turn: the runtime looks at epoll only when no task is ready, or after
/// some sixty polls.
pub async fn yield_now() {
    let mut turn: Option<Arc<YieldWaker>> = None;
    poll_fn(|cx| match &turn {
        None => {
            let begun = Arc::new(YieldWaker { is_woken: AtomicBool::new(false), task: cx.waker().clone() });
            // The runtime wakes it when it has looked at epoll.
            let waker = Waker::from(begun.clone());
            let _ = pin!(task::yield_now()).poll(&mut Context::from_waker(&waker));
            turn = Some(begun);
            Poll::Pending
        }
        Some(waker) if waker.is_woken.load(Ordering::Relaxed) => Poll::Ready(()),
        Some(_) => Poll::Pending,
    })
    .await;
}

/// Wakes the task when epoll has been polled.
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
