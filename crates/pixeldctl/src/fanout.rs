use std::{convert::Infallible, io, pin::pin, time::Duration};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use pixeld_control::{CallError, ControlClient, sanitize};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{select, time::sleep};

use super::{
    args::Purpose,
    control_connection::ControlConnection,
    error::{CommandError, CommandErrors},
    host_target::HostTarget,
    options::Options,
    render::{self, HEADING, ODD},
    stdout_closed,
};

/// The first delay before a new attempt to connect, about the time of a restart; and the longest.
pub const MIN_RECONNECT_DELAY: Duration = Duration::from_millis(250);
pub const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(5);

/// The replies of all targets, in the order of the command line.
#[derive(Debug)]
pub struct Replies<R>(pub Vec<(HostTarget, Result<R, CommandError>)>);

/// Queries all daemons at once.
pub async fn ask<R>(
    options: &Options,
    purpose: Purpose,
    query: impl AsyncFn(&mut ControlClient) -> Result<R, CallError>,
) -> Replies<R> {
    let query = &query;
    let ask_one = async |target: &HostTarget| {
        let connection = ControlConnection::open(target, purpose, options.timeout).await?;
        connection.with_exact_texts(options.json).call(query).await
    };
    let asking = options.targets.iter().map(async |target| (target.clone(), ask_one(target).await));
    Replies(join_all(asking).await)
}

/// The state of a daemon that is followed over several connections.
#[derive(Debug, Default)]
pub struct FollowState<S> {
    /// Kept from one connection to the next.
    pub state: S,
    /// Whether the daemon has replied over this connection.
    pub has_replied: bool,
}

/// Follows all daemons, each through its restarts: if one that has replied goes away, a line reports it, and
/// pixeldctl connects again. Any other error is reported at once, because the others continue. Returns when no
/// daemon is left to follow.
pub async fn follow<S: Default>(
    options: &Options,
    follow_one: impl AsyncFn(&HostTarget, &mut FollowState<S>) -> Result<Infallible, CommandError>,
) -> CommandErrors {
    let follow_one = &follow_one;
    let follow_target = async |target: &HostTarget| {
        let mut followed = FollowState::default();
        let mut has_ever_replied = false;
        let mut delay = MIN_RECONNECT_DELAY;
        let error = loop {
            followed.has_replied = false;
            let Err(error) = follow_one(target, &mut followed).await;
            has_ever_replied |= followed.has_replied;
            if !has_ever_replied || !error.is_transient() {
                break error;
            }
            if followed.has_replied {
                delay = MIN_RECONNECT_DELAY;
                let reason = error.to_string().trim().replace('\n', "; ");
                let text = format!("away: {reason}; connecting again");
                if let Err(error) = print_notice(options, target, "away", reason, &text) {
                    break error;
                }
            }
            sleep(delay).await;
            delay = (delay * 2).min(MAX_RECONNECT_DELAY);
        };
        if options.several && !error.is_output_error() { error.at(target) } else { error }
    };
    let mut following: FuturesUnordered<_> = options.targets.iter().map(follow_target).collect();
    let mut errors = CommandErrors::default();
    let mut closed = pin!(stdout_closed::wait());
    loop {
        let error = select! {
            next = following.next() => next,
            // Without an event, nothing is written that could fail.
            () = &mut closed => Some(CommandError::Output(io::ErrorKind::BrokenPipe.into())),
        };
        let Some(error) = error else { break };
        errors.report_now(&error);
        if error.is_output_error() {
            break;
        }
    }
    errors
}

/// Prints a notice about a daemon that is followed: a line of text, or of JSON with `value` as `name`.
pub fn print_notice(
    options: &Options,
    target: &HostTarget,
    name: &str,
    value: impl Serialize,
    text: &str,
) -> Result<(), CommandError> {
    match (options.json, options.several) {
        (true, false) => render::print_json_line(&json!({ name: value })),
        (true, true) => render::print_json_line(&json!({ "host": target.to_string(), name: value })),
        (false, false) => render::print_text(&render::styled(ODD, text)),
        (false, true) => render::print_text(&render::styled(ODD, format_args!("{target} {text}"))),
    }
}

impl<R> Replies<R> {
    pub fn map<T>(self, change: impl Fn(R) -> Result<T, CommandError>) -> Replies<T> {
        Replies(self.0.into_iter().map(|(target, reply)| (target, reply.and_then(&change))).collect())
    }
}

impl<R: Serialize> Replies<R> {
    /// Prints each reply as JSON, or as the text that `show` returns; those of several hosts with their names, and
    /// with the result of `sum` at the end.
    ///
    /// # Errors
    /// All errors of the targets, after the replies of the others are printed.
    pub fn print(
        self,
        options: &Options,
        show: impl Fn(&R) -> String,
        sum: impl FnOnce(&[&R]) -> Option<(Value, String)>,
    ) -> Result<(), CommandErrors> {
        if !options.several {
            let replies = self.0.into_iter().map(|(_, reply)| reply);
            let reply = replies.collect::<Result<Vec<_>, _>>().map_err(CommandErrors::from)?;
            return reply.iter().try_for_each(|reply| {
                render::print(reply, options.json, &show).map_err(CommandErrors::from)
            });
        }
        let good: Vec<_> = self.0.iter().filter_map(|(_, reply)| reply.as_ref().ok()).collect();
        let sum = if good.len() > 1 { sum(&good) } else { None };
        let text = if options.json {
            let hosts: Vec<_> = self.0.iter().map(|(target, reply)| to_json(target, reply)).collect();
            let mut all = json!({ "hosts": hosts });
            if let Some((value, _)) = sum {
                all["sum"] = value;
            }
            sanitize::json(&format!("{all:#}"))
        } else {
            let section = |name: String, text: String| format!("{HEADING}{name}{HEADING:#}\n{text}\n");
            let mut text: String = self
                .0
                .iter()
                .filter_map(|(target, reply)| {
                    let reply = reply.as_ref().ok()?;
                    Some(section(target.to_string(), show(reply)))
                })
                .collect();
            if let Some((_, all)) = sum {
                text += &section(format!("all {}", good.len()), all);
            }
            text
        };
        // If no host has replied, only the errors are printed.
        let printed = if text.is_empty() { Ok(()) } else { render::print_text(&text) };
        let errors = self.0.into_iter().filter_map(|(target, reply)| Some(reply.err()?.at(&target)));
        CommandErrors::all(errors.chain(printed.err()))
    }

    /// As [`Self::print`], without a sum.
    pub fn print_each(self, options: &Options, show: impl Fn(&R) -> String) -> Result<(), CommandErrors> {
        self.print(options, show, |_| None)
    }
}

fn to_json<R: Serialize>(target: &HostTarget, reply: &Result<R, CommandError>) -> Value {
    match reply {
        Ok(reply) => json!({ "host": target.to_string(), "reply": reply }),
        Err(error) => {
            let mut object = json!({ "host": target.to_string(), "error": error.to_string() });
            if let Some(hint) = error.hint_at(target) {
                object["hint"] = hint.into();
            }
            object
        }
    }
}
