use std::{
    future::Future,
    pin::Pin,
    task::{Context as TaskContext, Poll, ready},
};

use tokio::{
    task::coop,
    time::{Instant, Sleep},
};

use super::{
    connection_state::{ConnectionState, Phase},
    context::Context,
};

/// Ends phases that last too long. Phases begin and end without touching the timer. It fires at least as often
/// as any phase could end, and only then is the end of the present one computed.
#[derive(Debug)]
pub struct PhaseTimer<'t> {
    sleep: Pin<&'t mut Sleep>,
    /// It has registered a waker.
    is_armed: bool,
    /// The policy by which it is set.
    generation: usize,
}

impl<'t> PhaseTimer<'t> {
    pub fn new(sleep: Pin<&'t mut Sleep>, context: &Context) -> Self {
        Self { sleep, is_armed: false, generation: context.policy_generation() }
    }

    /// Returns the phase that has lasted too long. Sent responses that the client has not taken are part of
    /// [`Phase::Response`]; the kernel is asked for that only when it matters.
    pub fn poll(
        &mut self,
        cx: &mut TaskContext<'_>,
        context: &Context,
        state: &ConnectionState,
        is_send_queue_empty: impl Fn() -> bool,
    ) -> Poll<Phase> {
        if self.generation != context.policy_generation() {
            self.generation = context.policy_generation();
            self.reset(Instant::now());
        }
        // It may have fired while there was something to do as well.
        if self.is_armed && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            // Without budget it registers no waker, but then this is polled again at once.
            self.is_armed = coop::has_budget_remaining();
            ready!(self.sleep.as_mut().poll(cx));
            let (policy, now) = (context.policy(), Instant::now());
            let phase = state.phase();
            let mut deadline = state.since() + phase.timeout(&policy);
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

    /// Looks again at this time.
    pub fn reset(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at);
        self.is_armed = false;
    }
}
