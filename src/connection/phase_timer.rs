use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    task::coop,
    time::{Instant, Sleep},
};

use super::{
    connection_state::{ConnectionState, Phase},
    worker_context::WorkerContext,
};

/// The timeouts of a connection's phases.
///
/// A new phase does not reset the timer, because that would cost more than the rest of a request. The timer fires
/// at the shortest timeout of all phases or sooner, and only then computes the deadline of the present phase.
#[derive(Debug)]
pub struct PhaseTimer<'t> {
    sleep: Pin<&'t mut Sleep>,
    /// Whether `sleep` has registered a waker.
    is_armed: bool,
    /// The generation of the policy that `sleep` is set for.
    generation: usize,
}

impl<'t> PhaseTimer<'t> {
    pub fn new(sleep: Pin<&'t mut Sleep>, context: &WorkerContext) -> Self {
        Self { sleep, is_armed: false, generation: context.policy_generation() }
    }

    /// Returns the phase that has timed out. If the client of an idle connection has not taken all responses, that is
    /// [`Phase::Response`]. Only the kernel knows this, so `is_send_queue_empty` is called only at a deadline.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        context: &WorkerContext,
        state: &ConnectionState,
        is_send_queue_empty: impl Fn() -> bool,
    ) -> Poll<Phase> {
        if self.generation != context.policy_generation() {
            self.generation = context.policy_generation();
            self.reset(Instant::now());
        }
        // The timer may have fired while this connection was woken for another reason.
        if self.is_armed && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            // Without cooperative budget, `sleep` registers no waker, and the runtime polls this task again at once.
            self.is_armed = coop::has_budget_remaining();
            ready!(self.sleep.as_mut().poll(cx));
            let (policy, now) = (context.policy(), Instant::now());
            let phase = state.phase();
            let mut deadline = state.deadline(&policy);
            let write_deadline = state.since() + Phase::Response.timeout(&policy);
            if phase == Phase::Idle
                && (write_deadline <= now || deadline <= now)
                && state.requests() > 0
                && !is_send_queue_empty()
            {
                if write_deadline <= now {
                    return Poll::Ready(Phase::Response);
                }
                deadline = write_deadline;
            }
            if deadline <= now {
                return Poll::Ready(phase);
            }
            self.sleep.as_mut().reset(deadline.min(now + policy.shortest_timeout()));
        }
    }

    /// Sets the time of the next check.
    pub fn reset(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at);
        self.is_armed = false;
    }
}
