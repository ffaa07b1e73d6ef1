use std::{borrow::Cow, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};
use zlink::{Call, varlink_service};

use super::{
    INTERFACE,
    handler_trait::{Change, ControlHandler, PeerCredentials, Query},
    subscription::Subscription,
    transport::AnyCall,
    types::{ControlError, EventInfo, EventsReply},
    well_known,
};
use crate::{
    config,
    log::{Level, Log},
};

/// What a socket is for. The mode of its file says who can connect to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Only for reading; changing is done over another socket.
    ReadOnly {
        /// The path of the other socket, if there is one.
        admin: Option<String>,
        /// The group whose members may connect to it, if it has one.
        group: Option<String>,
    },
    /// For reading and changing.
    ReadWrite,
}

impl Access {
    /// Which of the two sockets that is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ReadOnly { .. } => "control",
            Self::ReadWrite => "admin",
        }
    }

    /// The answer to a method that changes something, if the socket is not for that.
    pub fn refusal(&self) -> Option<ControlError> {
        match self {
            Self::ReadOnly { admin, group } => {
                Some(ControlError::NotPermitted { socket: admin.clone(), group: group.clone() })
            }
            Self::ReadWrite => None,
        }
    }
}

/// Where calls are answered.
#[derive(Debug)]
pub struct MethodRouter<O> {
    pub access: Access,
    pub handler: O,
    pub log: Log,
}

/// Any reply of a method, several of them, or an error of either interface.
#[derive(Debug)]
pub enum MethodReply {
    Parameters(Value),
    Service(varlink_service::Reply<'static>),
    Subscription(Subscription),
    Error(ControlError),
    ServiceError(varlink_service::Error<'static>),
}

impl<O: ControlHandler> MethodRouter<O> {
    pub async fn route(&self, call: &Call<AnyCall>, caller: PeerCredentials) -> MethodReply {
        let none = Map::new();
        let AnyCall { method, parameters } = call.method();
        let parameters = match parameters {
            Value::Null => &none,
            Value::Object(parameters) => parameters,
            _ => return MethodReply::invalid_parameter("parameters"),
        };
        let Some((interface, method)) = method.rsplit_once('.') else {
            return MethodReply::method_not_found(method);
        };
        match interface {
            INTERFACE => self.route_control(method, parameters, call, caller).await,
            well_known::SERVICE => well_known::answer_service(method, parameters),
            well_known::SYSTEMD => self.route_systemd(method, parameters, caller).await,
            _ => MethodReply::interface_not_found(interface),
        }
    }

    async fn route_control(
        &self,
        method: &str,
        parameters: &Map<String, Value>,
        call: &Call<AnyCall>,
        caller: PeerCredentials,
    ) -> MethodReply {
        let (known, requires): (&[&str], _) = match method {
            "GetStats" | "GetWorkers" | "GetConfig" | "GetEvents" => (&[], Requires::Nothing),
            "WatchStats" => (&["intervalMs"], Requires::More),
            "WatchEvents" => (&[], Requires::More),
            "SetWorkers" => (&["count"], Requires::WriteAccess),
            "Reload" => (&["dryRun"], Requires::WriteAccess),
            "SetLogLevel" => (&["level"], Requires::WriteAccess),
            "Drain" | "Resume" => (&[], Requires::WriteAccess),
            _ => return MethodReply::method_not_found(&format!("{INTERFACE}.{method}")),
        };
        if let Some(unknown) = parameters.keys().find(|name| !known.contains(&name.as_str())) {
            return MethodReply::invalid_parameter(unknown);
        }
        if requires == Requires::WriteAccess
            && let Some(refusal) = self.access.refusal()
        {
            return MethodReply::Error(refusal);
        }
        if requires == Requires::More && !call.more() {
            return MethodReply::ServiceError(varlink_service::Error::ExpectedMore);
        }
        if requires != Requires::WriteAccess && call.oneway() {
            // What is read would reach nobody.
            return MethodReply::Parameters(Value::Null);
        }
        self.operate(method, parameters, caller).await.unwrap_or_else(MethodReply::Error)
    }

    async fn operate(
        &self,
        method: &str,
        parameters: &Map<String, Value>,
        caller: PeerCredentials,
    ) -> Result<MethodReply, ControlError> {
        let change = match method {
            "GetStats" => return self.read(Query::Stats).await,
            "GetWorkers" => return self.read(Query::Workers).await,
            "GetConfig" => return self.read(Query::Config).await,
            "GetEvents" => {
                let (events, _) = self.log.subscribe();
                return Ok(MethodReply::reply(&EventsReply {
                    events: events.iter().map(EventInfo::from).collect(),
                }));
            }
            "WatchStats" => return Ok(MethodReply::Subscription(Subscription::stats(interval(parameters)?))),
            "SetWorkers" => Change::Workers(worker_count(parameters)?),
            "Reload" => Change::Reload { dry_run: dry_run(parameters)? },
            "SetLogLevel" => Change::LogLevel(level(parameters)?),
            "Drain" => Change::Drain,
            "Resume" => Change::Resume,
            _ => return Ok(MethodReply::Subscription(Subscription::events(&self.log))),
        };
        self.handler.change(change, caller).await.map(|changed| MethodReply::reply(&changed))
    }

    async fn read(&self, query: Query) -> Result<MethodReply, ControlError> {
        self.handler.read(query).await.map(|snapshot| MethodReply::reply(&*snapshot))
    }

    /// What systemd asks of the services that it brings along.
    async fn route_systemd(
        &self,
        method: &str,
        parameters: &Map<String, Value>,
        caller: PeerCredentials,
    ) -> MethodReply {
        let known: &[&str] = if method == "SetLogLevel" { &["level"] } else { &[] };
        if let Some(unknown) = parameters.keys().find(|name| !known.contains(&name.as_str())) {
            return MethodReply::invalid_parameter(unknown);
        }
        if matches!(method, "Reload" | "SetLogLevel") && self.access != Access::ReadWrite {
            return MethodReply::ServiceError(varlink_service::Error::PermissionDenied);
        }
        match method {
            "Ping" => MethodReply::reply(&Map::new()),
            "Reload" => self.change_for_systemd(Change::Reload { dry_run: false }, caller).await,
            "SetLogLevel" => match well_known::level(parameters.get("level")) {
                Ok(level) => self.change_for_systemd(Change::LogLevel(level), caller).await,
                Err(()) => MethodReply::invalid_parameter("level"),
            },
            "GetEnvironment" => well_known::environment(),
            _ => MethodReply::method_not_found(&format!("{}.{method}", well_known::SYSTEMD)),
        }
    }

    /// The same with an empty response.
    async fn change_for_systemd(&self, change: Change, caller: PeerCredentials) -> MethodReply {
        match self.handler.change(change, caller).await {
            Ok(_) => MethodReply::reply(&Map::new()),
            Err(error) => MethodReply::Error(error),
        }
    }
}

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requires {
    Nothing,
    /// To be ready for more than one reply.
    More,
    /// To have come over the admin socket.
    WriteAccess,
}

/// A parameter that is there and not null.
fn given<'p>(parameters: &'p Map<String, Value>, name: &str) -> Option<&'p Value> {
    parameters.get(name).filter(|value| !value.is_null())
}

fn invalid(field: &str, value: &Value, wanted: &str) -> ControlError {
    let reason = format!("{} is not {wanted}", shorten(&value.to_string()));
    ControlError::InvalidValue { field: field.into(), reason }
}

fn worker_count(parameters: &Map<String, Value>) -> Result<Option<usize>, ControlError> {
    let most = config::Workers::MAX;
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

/// Bytes of what a client sent that are repeated to it or to the log.
const MAX_ECHO: usize = 1 << 10;

/// At most [`MAX_ECHO`] bytes of it, with an ellipsis if it is longer.
pub fn shorten(text: &str) -> Cow<'_, str> {
    const ELLIPSIS: char = '…';

    if text.len() <= MAX_ECHO {
        return text.into();
    }
    let fits = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=MAX_ECHO - ELLIPSIS.len_utf8()).rev().find(fits).unwrap_or(0);
    format!("{}{ELLIPSIS}", &text[..end]).into()
}

/// As JSON; the types of replies have no maps with odd keys, which is all that could fail.
pub fn to_value(reply: &impl Serialize) -> Value {
    serde_json::to_value(reply).unwrap_or(Value::Null)
}

impl MethodReply {
    pub fn reply(parameters: &impl Serialize) -> Self {
        Self::Parameters(to_value(parameters))
    }

    pub fn interface_not_found(interface: &str) -> Self {
        let interface = shorten(interface).into_owned().into();
        Self::ServiceError(varlink_service::Error::InterfaceNotFound { interface })
    }

    pub fn method_not_found(method: &str) -> Self {
        Self::ServiceError(varlink_service::Error::MethodNotFound {
            method: shorten(method).into_owned().into(),
        })
    }

    pub fn invalid_parameter(parameter: &str) -> Self {
        let parameter = shorten(parameter).into_owned().into();
        Self::ServiceError(varlink_service::Error::InvalidParameter { parameter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_name_is_cut_at_a_character_boundary() {
        let name = "é".repeat(MAX_ECHO);
        let short = shorten(&name);
        assert!(short.len() <= MAX_ECHO && short.len() > MAX_ECHO - 8, "{}", short.len());
        assert!(short.ends_with("é…"));
        assert_eq!(shorten("é"), "é");
    }
}
