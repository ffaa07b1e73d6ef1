use std::{cell::Cell, fmt, io, rc::Rc, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::{
    net::{UnixListener, UnixStream},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use zlink::{
    Reply,
    varlink_service::{self, Info, InterfaceDescription},
};

use super::{
    INTERFACE,
    interface::DESCRIPTION,
    message::{AnyCall, Bounded, BoundedConnection},
    types::{ControlError, Reloaded, Stats, Workers, WorkersSet},
};
use crate::{
    config,
    log::{Event, Log},
};

/// What the interface does, whoever does it.
pub trait Operator {
    /// GetStats.
    fn stats(&self) -> Stats;
    /// GetWorkers.
    fn workers(&self) -> Workers;
    /// SetWorkers; `None` means as configured.
    ///
    /// # Errors
    /// When the daemon is stopping, or the operating system has no more threads.
    fn set_workers(&self, count: Option<usize>, caller: &Caller) -> Result<WorkersSet, ControlError>;
    /// Reload.
    ///
    /// # Errors
    /// When the configuration has faults, or the daemon is stopping.
    fn reload(&self, caller: &Caller) -> Result<Reloaded, ControlError>;
}

/// What a socket is for. The mode of its file says who can connect to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Only for reading; changing is done over the socket at this path.
    Read {
        /// The path of the other socket.
        admin: String,
    },
    /// For reading and changing.
    Change,
}

/// Who called, as far as it can be seen: in a user namespace others' users are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The process.
    pub pid: i32,
    /// The user.
    pub uid: u32,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// What a user outside the daemon's namespace looks like (user_namespaces(7)).
        const OVERFLOW_UID: u32 = 65534;

        match self.uid {
            OVERFLOW_UID => write!(f, "pid {}", self.pid),
            uid => write!(f, "uid {uid} (pid {})", self.pid),
        }
    }
}

/// Clients that are served at once. One more takes the place of the one that has done nothing for
/// longest, so that nobody can keep others out by neither asking nor reading.
const MOST_CLIENTS: usize = 64;
/// A client that says nothing for so long is let go.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// A client has so long to take a reply.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the clients of one socket, each in a task of its own, for ever.
pub async fn serve(listener: UnixListener, access: Access, operator: Rc<dyn Operator>, log: Log) {
    let mut clients = Clients::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let active = Rc::new(Cell::new(Instant::now()));
                    let session = Session {
                        access: access.clone(),
                        operator: operator.clone(),
                        active: active.clone(),
                    };
                    let log = log.clone();
                    clients.add(active, async move {
                        if let Err(error) = session.run(stream).await {
                            log.send(Event::ControlFailed { client: "control".into(), reason: error.to_string() });
                        }
                    });
                }
                // Out of descriptors, most likely: the clients that are there are served on.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
            Some(_) = clients.tasks.join_next() => {}
        }
    }
}

/// The clients that are served.
#[derive(Default)]
struct Clients {
    tasks: JoinSet<()>,
    known: Vec<(AbortHandle, LastActive)>,
}

/// When a client last asked something, or took a reply.
type LastActive = Rc<Cell<Instant>>;

impl Clients {
    fn add(&mut self, active: LastActive, session: impl Future<Output = ()> + 'static) {
        self.known.retain(|(task, _)| !task.is_finished());
        if self.known.len() >= MOST_CLIENTS
            && let Some((task, _)) = self.known.iter().min_by_key(|(_, active)| active.get())
        {
            task.abort();
        }
        self.known.push((self.tasks.spawn_local(session), active));
    }
}

struct Session {
    access: Access,
    operator: Rc<dyn Operator>,
    active: LastActive,
}

/// Any reply of a method, or an error of either interface.
enum Answer {
    Parameters(Value),
    Service(varlink_service::Reply<'static>),
    Error(ControlError),
    ServiceError(varlink_service::Error<'static>),
}

impl Session {
    async fn run(&self, stream: UnixStream) -> zlink::Result<()> {
        let credentials = stream.peer_cred()?;
        let caller = Caller { pid: credentials.pid().unwrap_or(0), uid: credentials.uid() };
        let mut connection = BoundedConnection::new(Bounded(stream.try_into()?));
        loop {
            let received = timeout(IDLE_TIMEOUT, connection.receive_call::<AnyCall>()).await;
            self.active.set(Instant::now());
            let call = match received.map_err(|_| timed_out("the client said nothing for too long"))? {
                Ok((call, _)) => call,
                Err(zlink::Error::UnexpectedEof) => return Ok(()),
                Err(error) => return Err(error),
            };
            let answer = self.answer(call.method(), &caller);
            if !call.oneway() {
                timeout(WRITE_TIMEOUT, send(&mut connection, answer))
                    .await
                    .map_err(|_| timed_out("the client did not take a reply in time"))??;
                self.active.set(Instant::now());
            }
        }
    }

    fn answer(&self, call: &AnyCall, caller: &Caller) -> Answer {
        let no_parameters = Map::new();
        let parameters = call.parameters.as_ref().unwrap_or(&no_parameters);
        let Some((interface, method)) = call.method.rsplit_once('.') else {
            return Answer::method_not_found(&call.method);
        };
        match interface {
            "org.varlink.service" => answer_service(method, parameters),
            INTERFACE => self.answer_control(method, parameters, caller),
            _ => Answer::interface_not_found(interface),
        }
    }

    fn answer_control(&self, method: &str, parameters: &Map<String, Value>, caller: &Caller) -> Answer {
        let (known, changes): (&[&str], _) = match method {
            "GetStats" | "GetWorkers" => (&[], false),
            "SetWorkers" => (&["count"], true),
            "Reload" => (&[], true),
            _ => return Answer::method_not_found(&format!("{INTERFACE}.{method}")),
        };
        if let Some(unknown) = parameters.keys().find(|name| !known.contains(&name.as_str())) {
            return Answer::invalid_parameter(unknown);
        }
        if changes && let Access::Read { admin } = &self.access {
            return Answer::Error(ControlError::NotPermitted { socket: admin.clone() });
        }
        match method {
            "GetStats" => Answer::reply(&self.operator.stats()),
            "GetWorkers" => Answer::reply(&self.operator.workers()),
            "SetWorkers" => {
                let count = worker_count(parameters.get("count"));
                Answer::from_result(count.and_then(|count| self.operator.set_workers(count, caller)))
            }
            _ => Answer::from_result(self.operator.reload(caller)),
        }
    }
}

/// The parameter of SetWorkers.
fn worker_count(value: Option<&Value>) -> Result<Option<usize>, ControlError> {
    let most = config::Workers::MOST;
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| (1..=most).contains(count))
            .map(Some)
            .ok_or_else(|| ControlError::InvalidValue {
                field: "count".into(),
                reason: format!("{value} is not a number from 1 to {most}"),
            }),
    }
}

/// org.varlink.service, which every Varlink service has.
fn answer_service(method: &str, parameters: &Map<String, Value>) -> Answer {
    match method {
        "GetInfo" => {
            let interfaces = ["org.varlink.service", INTERFACE];
            let version = env!("CARGO_PKG_VERSION");
            match Info::new("pixeld", "pixeld", version, "man:pixeld(8)", interfaces) {
                Ok(info) => Answer::Service(varlink_service::Reply::Info(info)),
                Err(error) => Answer::Error(ControlError::Failed { reason: error.to_string() }),
            }
        }
        "GetInterfaceDescription" => match parameters.get("interface").and_then(Value::as_str) {
            Some(INTERFACE) => Answer::Parameters(json!({ "description": DESCRIPTION })),
            Some("org.varlink.service") => Answer::Service(varlink_service::Reply::InterfaceDescription(
                InterfaceDescription::from(varlink_service::DESCRIPTION),
            )),
            Some(unknown) => Answer::interface_not_found(unknown),
            None => Answer::invalid_parameter("interface"),
        },
        _ => Answer::method_not_found(&format!("org.varlink.service.{method}")),
    }
}

impl Answer {
    fn reply(parameters: &impl Serialize) -> Self {
        match serde_json::to_value(parameters) {
            Ok(value) => Self::Parameters(value),
            Err(error) => Self::Error(ControlError::Failed { reason: error.to_string() }),
        }
    }

    fn from_result(result: Result<impl Serialize, ControlError>) -> Self {
        result.map_or_else(Self::Error, |reply| Self::reply(&reply))
    }

    fn interface_not_found(interface: &str) -> Self {
        let interface = interface.to_owned().into();
        Self::ServiceError(varlink_service::Error::InterfaceNotFound { interface })
    }

    fn method_not_found(method: &str) -> Self {
        Self::ServiceError(varlink_service::Error::MethodNotFound { method: method.to_owned().into() })
    }

    fn invalid_parameter(parameter: &str) -> Self {
        let parameter = parameter.to_owned().into();
        Self::ServiceError(varlink_service::Error::InvalidParameter { parameter })
    }
}

async fn send(connection: &mut BoundedConnection, answer: Answer) -> zlink::Result<()> {
    match answer {
        Answer::Parameters(parameters) => connection.send_reply(&Reply::new(Some(parameters)), vec![]).await,
        Answer::Service(reply) => connection.send_reply(&Reply::new(Some(reply)), vec![]).await,
        Answer::Error(error) => connection.send_error(&error, vec![]).await,
        Answer::ServiceError(error) => connection.send_error(&error, vec![]).await,
    }
}

fn timed_out(reason: &'static str) -> zlink::Error {
    zlink::Error::Io(io::Error::new(io::ErrorKind::TimedOut, reason))
}
