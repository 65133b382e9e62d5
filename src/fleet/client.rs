//! A client of etcd: members are asked in turn, a login is made where one is asked for, each call has a bound. It knows
//! no rows.
//!
//! Calls share a connection; a watch has one of its own, since in older versions of etcd heavy reads starve a watch on
//! the same connection.

use super::connection::{EtcdConnection, EtcdError, EtcdStream};
use super::messages::{
    EtcdMember, MemberStatus, RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchResponse,
    authenticate_request, lease, lease_grant_request, lease_keep_alive_request, member_status, members,
    range_response, token, txn_response, watch_request, watch_response,
};
use super::protobuf::ProtoFault;
use super::tls::FleetTls;
use crate::base::file;
use crate::config::{EtcdEndpoint, Fleet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a call may take.
const CALL: Duration = Duration::from_secs(5);

/// How long a page of rows may take.
const PAGE: Duration = Duration::from_secs(20);

/// Octets of the largest password file.
const PASSWORD: u64 = 4096;

/// A client.
pub struct EtcdClient {
    fleet: Fleet,
    /// In the order of this client: another for each, so that not all sit on the first member.
    endpoints: Vec<EtcdEndpoint>,
    tls: Mutex<FleetTls>,
    state: Mutex<ClientState>,
}

#[derive(Default)]
struct ClientState {
    /// The place of the member that is asked.
    turn: usize,
    calls: Option<EtcdConnection>,
    token: Option<Arc<str>>,
}

impl fmt::Debug for EtcdClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdClient").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// A number that cannot be foretold; 0 where the system has none to give.
pub(super) fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// A time between nothing and this.
pub(super) fn up_to(most: Duration) -> Duration {
    most.mul_f64((random() >> 11) as f64 / (1u64 << 53) as f64)
}

impl EtcdClient {
    /// A client that has connected to no member yet.
    pub fn new(fleet: Fleet) -> Self {
        let mut endpoints = fleet.endpoints.clone();
        for place in (1..endpoints.len()).rev() {
            endpoints.swap(place, (random() % (place as u64 + 1)) as usize);
        }
        Self { fleet, endpoints, tls: Mutex::default(), state: Mutex::default() }
    }

    /// Rows.
    ///
    /// # Errors
    /// No member answered, or the request was refused.
    pub async fn range(&self, request: &RangeRequest) -> Result<RangeResponse, EtcdError> {
        let within = if request.end.is_empty() { CALL } else { PAGE };
        let decode = |answer: &[u8]| {
            let found = range_response(answer)?;
            if found.header.is_valid() { Ok(found) } else { Err(ProtoFault) }
        };
        self.read("/etcdserverpb.KV/Range", &request.encode(), within, decode).await
    }

    /// A transaction that only reads.
    ///
    /// # Errors
    /// As for [`Self::range`].
    pub async fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, EtcdError> {
        let decode = |answer: &[u8]| valid_txn(answer, request);
        self.read("/etcdserverpb.KV/Txn", &request.encode(), PAGE, decode).await
    }

    /// A transaction that writes: sent once, so that an error tells whether it may have been carried out.
    ///
    /// # Errors
    /// No member answered, or the request was refused.
    pub async fn txn(&self, request: &TxnRequest) -> Result<TxnResponse, EtcdError> {
        let answer = self.call("/etcdserverpb.KV/Txn", &request.encode(), CALL).await?;
        valid_txn(&answer, request).map_err(|ProtoFault| {
            self.turn();
            odd()
        })
    }

    /// A new lease.
    ///
    /// # Errors
    /// As for [`Self::range`].
    pub async fn grant_lease(&self, seconds: i64) -> Result<i64, EtcdError> {
        let request = lease_grant_request(seconds);
        self.read("/etcdserverpb.Lease/LeaseGrant", &request, CALL, lease).await.map(|(id, _)| id)
    }

    /// A lease lives on; false for one that has ended.
    ///
    /// # Errors
    /// As for [`Self::range`].
    pub async fn keep_lease(&self, id: i64) -> Result<bool, EtcdError> {
        let (mut connection, token) = self.connection().await?;
        let work = async {
            let path = "/etcdserverpb.Lease/LeaseKeepAlive";
            let request = lease_keep_alive_request(id);
            let mut stream = connection.stream(path, token.as_deref(), &request, true).await?;
            let answer = stream.next().await?.ok_or_else(odd)?;
            let (_, seconds) = lease(&answer).map_err(|ProtoFault| odd())?;
            Ok(seconds > 0)
        };
        let done = tokio::time::timeout(CALL, work).await;
        let done = done.unwrap_or_else(|_| Err(EtcdError::lost("no answer in time")));
        if let Err(error) = &done {
            self.after_failure(error, token.as_deref());
        }
        done
    }

    /// How one member is.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status_of(&self, endpoint: &EtcdEndpoint) -> Result<MemberStatus, EtcdError> {
        let mut connection = EtcdConnection::open(endpoint, &self.fleet, &self.tls).await?;
        let token = self.token().await.ok().flatten();
        let path = "/etcdserverpb.Maintenance/Status";
        let answer = connection.call(path, token.as_deref(), &[], CALL).await?;
        member_status(&answer).map_err(|ProtoFault| odd())
    }

    /// The members, as they know each other.
    ///
    /// # Errors
    /// As for [`Self::range`].
    pub async fn members(&self) -> Result<Vec<EtcdMember>, EtcdError> {
        self.read("/etcdserverpb.Cluster/MemberList", &[], CALL, members).await
    }

    /// The endpoints, in the order of the configuration.
    pub fn endpoints(&self) -> &[EtcdEndpoint] {
        &self.fleet.endpoints
    }

    /// Watches keys from a revision on, over a connection of its own to the next member.
    ///
    /// # Errors
    /// The member cannot be reached, or refuses.
    pub(super) async fn watch(&self, key: &[u8], end: &[u8], from: i64) -> Result<WatchStream, EtcdError> {
        let endpoint = self.endpoint();
        let token = self.token().await?;
        let work = async {
            let mut connection = EtcdConnection::open(&endpoint, &self.fleet, &self.tls).await?;
            let request = watch_request(key, end, from);
            let stream =
                connection.stream("/etcdserverpb.Watch/Watch", token.as_deref(), &request, true).await?;
            Ok(WatchStream { stream, _connection: connection })
        };
        let opened = tokio::time::timeout(2 * CALL, work).await;
        let opened = opened.unwrap_or_else(|_| Err(EtcdError::lost("the watch did not begin in time")));
        if let Err(error) = &opened {
            self.after_failure(error, token.as_deref());
        }
        opened
    }

    /// Another member is asked from here on.
    pub(super) fn turn(&self) {
        let mut state = self.lock();
        state.turn = (state.turn + 1) % self.endpoints.len().max(1);
        state.calls = None;
    }

    /// The token is of no use any more.
    pub(super) fn forget_token(&self) {
        self.lock().token = None;
    }

    /// A call that may be made twice: every member is tried, and a login made if one is asked for.
    async fn read<T>(
        &self,
        path: &str,
        request: &[u8],
        within: Duration,
        decode: impl Fn(&[u8]) -> Result<T, ProtoFault>,
    ) -> Result<T, EtcdError> {
        let mut tries = 0;
        loop {
            let failure = match self.call(path, request, within).await {
                Ok(answer) => match decode(&answer) {
                    Ok(answer) => return Ok(answer),
                    Err(ProtoFault) => {
                        self.turn();
                        odd()
                    }
                },
                Err(failure) => failure,
            };
            tries += 1;
            // What etcd refuses with a reason it refuses everywhere.
            let is_final = failure.code.is_some_and(|code| code != 14) && !failure.asks_for_login();
            if is_final || tries > self.endpoints.len() {
                return Err(failure);
            }
        }
    }

    /// One call of the member whose turn it is. A request that was refused for its token is made again once.
    async fn call(
        &self,
        path: &str,
        request: &[u8],
        within: Duration,
    ) -> Result<hyper::body::Bytes, EtcdError> {
        let (mut connection, token) = self.connection().await?;
        let failure = match connection.call(path, token.as_deref(), request, within).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        self.after_failure(&failure, token.as_deref());
        if !(failure.asks_for_login() && self.fleet.user.is_some()) {
            return Err(failure);
        }
        let (mut connection, token) = self.connection().await?;
        let answer = connection.call(path, token.as_deref(), request, within).await;
        if let Err(failure) = &answer {
            self.after_failure(failure, token.as_deref());
        }
        answer
    }

    /// What follows from a failure.
    fn after_failure(&self, failure: &EtcdError, token: Option<&str>) {
        let mut state = self.lock();
        if failure.asks_for_login() {
            // Another call may have made a new one meanwhile.
            if state.token.as_deref() == token {
                state.token = None;
            }
        } else if failure.code.is_none_or(|code| code == 14) {
            state.turn = (state.turn + 1) % self.endpoints.len().max(1);
            state.calls = None;
        }
    }

    /// The connection for calls, and the token.
    async fn connection(&self) -> Result<(EtcdConnection, Option<Arc<str>>), EtcdError> {
        let mut failure = None;
        for _ in 0..self.endpoints.len() {
            match self.connected().await {
                Ok(connection) => return Ok((connection, self.token().await?)),
                Err(error) => {
                    self.turn();
                    failure = Some(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| EtcdError::unsent("there is no endpoint")))
    }

    async fn connected(&self) -> Result<EtcdConnection, EtcdError> {
        let open = self.lock().calls.clone().filter(|connection| !connection.is_closed());
        if let Some(connection) = open {
            return Ok(connection);
        }
        let connection = EtcdConnection::open(&self.endpoint(), &self.fleet, &self.tls).await?;
        self.lock().calls = Some(connection.clone());
        Ok(connection)
    }

    /// The token of a user with a password; made if there is none.
    async fn token(&self) -> Result<Option<Arc<str>>, EtcdError> {
        let (Some(user), Some(file)) = (&self.fleet.user, &self.fleet.password_file) else { return Ok(None) };
        let known = self.lock().token.clone();
        if let Some(token) = known {
            return Ok(Some(token));
        }
        let password = file::read_text(file, PASSWORD)
            .map_err(|error| EtcdError::unsent(format!("{} cannot be read: {error}", file.display())))?;
        let request = authenticate_request(user, password.trim_end_matches(['\r', '\n']));
        let mut connection = self.connected().await?;
        match connection.call("/etcdserverpb.Auth/Authenticate", None, &request, CALL).await {
            Ok(answer) => {
                let token: Arc<str> = token(&answer).map_err(|ProtoFault| odd())?.into();
                self.lock().token = Some(token.clone());
                Ok(Some(token))
            }
            // Users are known and not asked for.
            Err(error) if error.message.contains("authentication is not enabled") => Ok(None),
            Err(error) => {
                let failure = EtcdError {
                    message: format!("user `{user}` of etcd: {}", error.message),
                    uncertain: false, // the request itself did not leave
                    ..error
                };
                self.after_failure(&failure, None);
                Err(failure)
            }
        }
    }

    fn endpoint(&self) -> EtcdEndpoint {
        let turn = self.lock().turn;
        self.endpoints[turn % self.endpoints.len().max(1)].clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ClientState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a transaction, with a result for each of its steps: one that is missing must not count as a missing
/// key.
fn valid_txn(answer: &[u8], request: &TxnRequest) -> Result<TxnResponse, ProtoFault> {
    let answer = txn_response(answer)?;
    let steps = if answer.succeeded { &request.then } else { &request.otherwise };
    if answer.header.is_valid() && answer.found.len() == steps.len() { Ok(answer) } else { Err(ProtoFault) }
}

fn odd() -> EtcdError {
    EtcdError::lost("the answer is not one of etcd")
}

/// A watch.
pub(super) struct WatchStream {
    stream: EtcdStream,
    /// Kept as long as the watch: it ends with its last handle.
    _connection: EtcdConnection,
}

impl WatchStream {
    /// The next answer. Its end is an error.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, EtcdError> {
        let message = self.stream.next().await?;
        let message = message.ok_or_else(|| EtcdError::lost("the watch has ended"))?;
        watch_response(&message).map_err(|ProtoFault| odd())
    }
}
