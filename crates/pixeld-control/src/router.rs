use std::time::Duration;

use serde_json::{Map, Value, json};
use zlink::{Call, varlink_service};

use super::{
    INTERFACE, MAX_WORKERS,
    access::Access,
    framing::AnyCall,
    handler::{Change, Claim, ControlHandler, PeerCredentials, Query},
    reply::{CallFault, interface_not_found, invalid_parameter, method_not_found, shorten, to_value},
    sanitize,
    subscription::Subscription,
    types::{ControlError, EventsReply, Level},
    well_known,
};

/// A method of [`INTERFACE`].
#[derive(Debug, Clone, Copy)]
enum Method {
    Get(Query),
    GetEvents,
    WatchStats,
    WatchEvents,
    SetWorkers,
    Reload,
    SetLogLevel,
    Drain,
    Resume,
    Identify,
}

/// The requirement of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requires {
    Nothing,
    /// The call accepts more than one reply.
    More,
    /// The call came over the admin socket.
    WriteAccess,
}

/// Each method, its parameters and its requirement.
const METHODS: [(&str, Method, &[&str], Requires); 12] = [
    ("GetStats", Method::Get(Query::Stats), &[], Requires::Nothing),
    ("GetWorkers", Method::Get(Query::Workers), &[], Requires::Nothing),
    ("GetConfig", Method::Get(Query::Config), &[], Requires::Nothing),
    ("GetEvents", Method::GetEvents, &[], Requires::Nothing),
    ("WatchStats", Method::WatchStats, &["intervalMs"], Requires::More),
    ("WatchEvents", Method::WatchEvents, &[], Requires::More),
    ("SetWorkers", Method::SetWorkers, &["count"], Requires::WriteAccess),
    ("Reload", Method::Reload, &["dryRun"], Requires::WriteAccess),
    ("SetLogLevel", Method::SetLogLevel, &["level"], Requires::WriteAccess),
    ("Drain", Method::Drain, &[], Requires::WriteAccess),
    ("Resume", Method::Resume, &[], Requires::WriteAccess),
    ("Identify", Method::Identify, &["user", "command"], Requires::WriteAccess),
];

/// The response to a call: the parameters of one reply, or an endless stream.
#[derive(Debug)]
pub enum Routed<E> {
    Reply(Value),
    Stream(Subscription<E>),
}

/// Validates calls and passes them to their handler.
#[derive(Debug)]
pub struct MethodRouter<O> {
    pub access: Access,
    pub handler: O,
}

impl<O: ControlHandler> MethodRouter<O> {
    pub async fn route(
        &self,
        call: &Call<AnyCall>,
        caller: &mut PeerCredentials,
    ) -> Result<Routed<O::Events>, CallFault> {
        let none = Map::new();
        let AnyCall { method, parameters } = call.method();
        let parameters = match parameters {
            Value::Null => &none,
            Value::Object(parameters) => parameters,
            _ => return Err(invalid_parameter("parameters")),
        };
        let Some((interface, name)) = method.rsplit_once('.') else { return Err(method_not_found(method)) };
        match interface {
            INTERFACE => self.route_control(name, parameters, call, caller).await,
            well_known::SERVICE => well_known::answer_service(name, parameters).map(Routed::Reply),
            well_known::SYSTEMD => self.route_systemd(name, parameters, caller).await.map(Routed::Reply),
            _ => Err(interface_not_found(interface)),
        }
    }

    async fn route_control(
        &self,
        name: &str,
        parameters: &Map<String, Value>,
        call: &Call<AnyCall>,
        caller: &mut PeerCredentials,
    ) -> Result<Routed<O::Events>, CallFault> {
        let Some((_, method, known, requires)) = METHODS.iter().find(|(known, ..)| *known == name) else {
            return Err(method_not_found(&format!("{INTERFACE}.{name}")));
        };
        ensure_known(parameters, known)?;
        if *requires == Requires::WriteAccess
            && let Some(refusal) = self.access.refusal()
        {
            return Err(refusal.into());
        }
        if *requires == Requires::More && !call.more() {
            return Err(varlink_service::Error::ExpectedMore.into());
        }
        if *requires != Requires::WriteAccess && call.oneway() {
            // A one-way call has no reply, so nothing is read.
            return Ok(Routed::Reply(Value::Null));
        }
        Ok(self.call(*method, parameters, caller).await?)
    }

    async fn call(
        &self,
        method: Method,
        parameters: &Map<String, Value>,
        caller: &mut PeerCredentials,
    ) -> Result<Routed<O::Events>, ControlError> {
        let change = match method {
            Method::Get(query) => {
                return Ok(Routed::Reply(to_value(&*self.handler.read(query).await?)));
            }
            Method::GetEvents => {
                let (events, _) = self.handler.events();
                return Ok(Routed::Reply(to_value(&EventsReply { events })));
            }
            Method::WatchStats => return Ok(Routed::Stream(Subscription::stats(interval(parameters)?))),
            Method::WatchEvents => {
                let (events, next) = self.handler.events();
                return Ok(Routed::Stream(Subscription::events(events, next)));
            }
            Method::SetWorkers => Change::Workers(worker_count(parameters)?),
            Method::Reload => Change::Reload { dry_run: dry_run(parameters)? },
            Method::SetLogLevel => Change::LogLevel(level(parameters)?),
            Method::Drain => Change::Drain,
            Method::Resume => Change::Resume,
            Method::Identify => {
                caller.claim = claim(parameters)?;
                return Ok(Routed::Reply(json!({})));
            }
        };
        let changed = self.handler.change(change, caller.clone()).await?;
        Ok(Routed::Reply(to_value(&changed)))
    }

    /// Routes a method of io.systemd.service.
    async fn route_systemd(
        &self,
        method: &str,
        parameters: &Map<String, Value>,
        caller: &PeerCredentials,
    ) -> Result<Value, CallFault> {
        ensure_known(parameters, if method == "SetLogLevel" { &["level"] } else { &[] })?;
        if matches!(method, "Reload" | "SetLogLevel") && self.access != Access::ReadWrite {
            return Err(varlink_service::Error::PermissionDenied.into());
        }
        let change = match method {
            "Ping" => return Ok(json!({})),
            "Reload" => Change::Reload { dry_run: false },
            "SetLogLevel" => Change::LogLevel(well_known::level(parameters.get("level"))?),
            "GetEnvironment" => return Ok(well_known::environment()),
            _ => return Err(method_not_found(&format!("{}.{method}", well_known::SYSTEMD))),
        };
        self.handler.change(change, caller.clone()).await?;
        Ok(json!({}))
    }
}

fn ensure_known(parameters: &Map<String, Value>, known: &[&str]) -> Result<(), CallFault> {
    let unknown = parameters.keys().find(|name| !known.contains(&name.as_str()));
    unknown.map_or(Ok(()), |name| Err(invalid_parameter(name)))
}

/// Returns a parameter that is set and not null. `parse` returns `None` if it is not what is `wanted`.
fn given<'p, T>(
    parameters: &'p Map<String, Value>,
    field: &str,
    wanted: &str,
    parse: impl FnOnce(&'p Value) -> Option<T>,
) -> Result<Option<T>, ControlError> {
    let Some(value) = parameters.get(field).filter(|value| !value.is_null()) else { return Ok(None) };
    parse(value).map(Some).ok_or_else(|| {
        let reason = format!("{} is not {wanted}", shorten(&value.to_string()));
        ControlError::InvalidValue { field: field.into(), reason }
    })
}

fn worker_count(parameters: &Map<String, Value>) -> Result<Option<usize>, ControlError> {
    given(parameters, "count", &format!("a number from 1 to {MAX_WORKERS}"), |value| {
        let count = usize::try_from(value.as_u64()?).ok()?;
        (1..=MAX_WORKERS).contains(&count).then_some(count)
    })
}

fn interval(parameters: &Map<String, Value>) -> Result<Duration, ControlError> {
    let interval = given(parameters, "intervalMs", "a number from 100 to 3600000", |value| {
        value.as_u64().filter(|ms| (100..=3_600_000).contains(ms)).map(Duration::from_millis)
    });
    Ok(interval?.unwrap_or(Duration::from_secs(1)))
}

fn dry_run(parameters: &Map<String, Value>) -> Result<bool, ControlError> {
    Ok(given(parameters, "dryRun", "true or false", Value::as_bool)?.unwrap_or(false))
}

fn claim(parameters: &Map<String, Value>) -> Result<Claim, ControlError> {
    /// Characters of a user's name (useradd(8)), and of a command line.
    const MAX: [usize; 2] = [32, 256];

    let text = |field: &str, max| {
        let text = given(parameters, field, "a text", Value::as_str)?.filter(|text| !text.is_empty());
        let short = |text| sanitize::shorten(&sanitize::escape(&shorten(text)), max).into_owned();
        Ok::<_, ControlError>(text.map(short))
    };
    Ok(Claim { user: text("user", MAX[0])?, command: text("command", MAX[1])? })
}

fn level(parameters: &Map<String, Value>) -> Result<Option<Level>, ControlError> {
    given(parameters, "level", "one of \"error\", \"warn\", \"info\", \"debug\"", |value| {
        Level::ALL.into_iter().find(|level| Some(level.name()) == value.as_str())
    })
}
