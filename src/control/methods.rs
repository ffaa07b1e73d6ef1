use std::{rc::Rc, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};
use zlink::varlink_service;

use super::{
    INTERFACE,
    feed::Feed,
    message::AnyCall,
    operator::{Caller, Operator},
    standard,
    types::{ControlError, Event, Events, StatsReply},
};
use crate::{
    config,
    log::{Level, Log},
};

/// What a socket is for. The mode of its file says who can connect to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Only for reading; changing is done over another socket.
    Read {
        /// The path of the other socket.
        admin: String,
        /// The group whose members may connect to it, if it has one.
        group: Option<String>,
    },
    /// For reading and changing.
    Change,
}

impl Access {
    /// Which of the two sockets that is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "control",
            Self::Change => "admin",
        }
    }
}

/// Where calls are answered.
#[derive(Debug)]
pub struct Desk<O> {
    pub access: Access,
    pub operator: Rc<O>,
    pub log: Log,
}

/// Any reply of a method, several of them, or an error of either interface.
#[derive(Debug)]
pub enum Answer {
    Parameters(Value),
    Service(varlink_service::Reply<'static>),
    Feed(Feed),
    Error(ControlError),
    ServiceError(varlink_service::Error<'static>),
}

impl<O: Operator> Desk<O> {
    pub async fn answer(&self, call: &AnyCall, more: bool, caller: Caller) -> Answer {
        let none = Map::new();
        let parameters = match &call.parameters {
            Value::Null => &none,
            Value::Object(parameters) => parameters,
            _ => return Answer::invalid_parameter("parameters"),
        };
        let Some((interface, method)) = call.method.rsplit_once('.') else {
            return Answer::method_not_found(&call.method);
        };
        match interface {
            INTERFACE => self.answer_control(method, parameters, more, caller).await,
            standard::SERVICE => standard::answer_service(method, parameters),
            standard::SYSTEMD => self.answer_systemd(method, parameters, caller).await,
            _ => Answer::interface_not_found(interface),
        }
    }

    async fn answer_control(
        &self,
        method: &str,
        parameters: &Map<String, Value>,
        more: bool,
        caller: Caller,
    ) -> Answer {
        let (known, needs): (&[&str], _) = match method {
            "GetStats" | "GetWorkers" | "GetConfig" | "GetEvents" => (&[], Need::Nothing),
            "WatchStats" => (&["intervalMs"], Need::More),
            "WatchEvents" => (&[], Need::More),
            "SetWorkers" => (&["count"], Need::Change),
            "Reload" => (&["dryRun"], Need::Change),
            "SetLogLevel" => (&["level"], Need::Change),
            "Drain" | "Resume" => (&[], Need::Change),
            _ => return Answer::method_not_found(&format!("{INTERFACE}.{method}")),
        };
        if let Some(unknown) = parameters.keys().find(|name| !known.contains(&name.as_str())) {
            return Answer::invalid_parameter(unknown);
        }
        if let (Need::Change, Access::Read { admin, group }) = (needs, &self.access) {
            let (socket, group) = (admin.clone(), group.clone());
            return Answer::Error(ControlError::NotPermitted { socket, group });
        }
        if needs == Need::More && !more {
            return Answer::ServiceError(varlink_service::Error::ExpectedMore);
        }
        self.operate(method, parameters, caller).await.unwrap_or_else(Answer::Error)
    }

    async fn operate(
        &self,
        method: &str,
        parameters: &Map<String, Value>,
        caller: Caller,
    ) -> Result<Answer, ControlError> {
        let operator = &self.operator;
        Ok(match method {
            "GetStats" => Answer::reply(&StatsReply { stats: operator.stats() }),
            "WatchStats" => Answer::Feed(Feed::stats(interval(parameters)?)),
            "GetWorkers" => Answer::reply(&operator.workers()),
            "SetWorkers" => Answer::reply(&operator.set_workers(worker_count(parameters)?, caller).await?),
            "GetConfig" => Answer::reply(&operator.config()),
            "Reload" => Answer::reply(&operator.reload(dry_run(parameters)?, caller).await?),
            "SetLogLevel" => Answer::reply(&operator.set_log_level(level(parameters)?, caller)?),
            "Drain" => Answer::reply(&operator.drain(caller)?),
            "Resume" => Answer::reply(&operator.resume(caller)?),
            "GetEvents" => {
                let (events, _) = self.log.watch();
                Answer::reply(&Events { events: events.iter().map(Event::from).collect() })
            }
            _ => Answer::Feed(Feed::events(&self.log)),
        })
    }

    /// What systemd asks of the services that it brings along.
    async fn answer_systemd(&self, method: &str, parameters: &Map<String, Value>, caller: Caller) -> Answer {
        let known: &[&str] = if method == "SetLogLevel" { &["level"] } else { &[] };
        if let Some(unknown) = parameters.keys().find(|name| !known.contains(&name.as_str())) {
            return Answer::invalid_parameter(unknown);
        }
        if matches!(method, "Reload" | "SetLogLevel") && self.access != Access::Change {
            return Answer::ServiceError(varlink_service::Error::PermissionDenied);
        }
        match method {
            "Ping" => Answer::reply(&Map::new()),
            "Reload" => match self.operator.reload(false, caller).await {
                Ok(_) => Answer::reply(&Map::new()),
                Err(error) => Answer::Error(error),
            },
            "SetLogLevel" => match standard::level(parameters.get("level")) {
                Ok(level) => match self.operator.set_log_level(level, caller) {
                    Ok(_) => Answer::reply(&Map::new()),
                    Err(error) => Answer::Error(error),
                },
                Err(()) => Answer::invalid_parameter("level"),
            },
            "GetEnvironment" => standard::environment(),
            _ => Answer::method_not_found(&format!("{}.{method}", standard::SYSTEMD)),
        }
    }
}

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    /// To be ready for more than one reply.
    More,
    /// To have come over the admin socket.
    Change,
}

/// A parameter that is there and not null.
fn given<'p>(parameters: &'p Map<String, Value>, name: &str) -> Option<&'p Value> {
    parameters.get(name).filter(|value| !value.is_null())
}

fn invalid(field: &str, value: &Value, wanted: &str) -> ControlError {
    ControlError::InvalidValue { field: field.into(), reason: format!("{value} is not {wanted}") }
}

fn worker_count(parameters: &Map<String, Value>) -> Result<Option<usize>, ControlError> {
    let most = config::Workers::MOST;
    let Some(value) = given(parameters, "count") else { return Ok(None) };
    let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| (1..=most).contains(count));
    count.map(Some).ok_or_else(|| invalid("count", value, &format!("a number from 1 to {most}")))
}

fn interval(parameters: &Map<String, Value>) -> Result<Duration, ControlError> {
    let Some(value) = given(parameters, "intervalMs") else { return Ok(Duration::from_secs(1)) };
    let interval = value.as_u64().filter(|ms| (100..=3_600_000).contains(ms)).map(Duration::from_millis);
    interval.ok_or_else(|| invalid("intervalMs", value, "a number from 100 to 3600000"))
}

fn dry_run(parameters: &Map<String, Value>) -> Result<bool, ControlError> {
    let Some(value) = given(parameters, "dryRun") else { return Ok(false) };
    value.as_bool().ok_or_else(|| invalid("dryRun", value, "true or false"))
}

fn level(parameters: &Map<String, Value>) -> Result<Option<Level>, ControlError> {
    let Some(value) = given(parameters, "level") else { return Ok(None) };
    let level = Level::ALL.into_iter().find(|level| Some(level.name()) == value.as_str());
    level.map(Some).ok_or_else(|| invalid("level", value, "one of \"error\", \"warn\", \"info\", \"debug\""))
}

/// As JSON; the types of replies have no maps with odd keys, which is all that could fail.
pub fn to_value(reply: &impl Serialize) -> Value {
    serde_json::to_value(reply).unwrap_or(Value::Null)
}

impl Answer {
    pub fn reply(parameters: &impl Serialize) -> Self {
        Self::Parameters(to_value(parameters))
    }

    pub fn interface_not_found(interface: &str) -> Self {
        let interface = interface.to_owned().into();
        Self::ServiceError(varlink_service::Error::InterfaceNotFound { interface })
    }

    pub fn method_not_found(method: &str) -> Self {
        Self::ServiceError(varlink_service::Error::MethodNotFound { method: method.to_owned().into() })
    }

    pub fn invalid_parameter(parameter: &str) -> Self {
        let parameter = parameter.to_owned().into();
        Self::ServiceError(varlink_service::Error::InvalidParameter { parameter })
    }
}
