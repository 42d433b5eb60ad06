//! Connections to Redis: to a server, to the master that Sentinels name, or to a Cluster.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, Pipeline,
    RedisError, RedisFuture, RedisResult, TlsCertificates, Value,
};
use tokio::sync::Mutex;

use crate::config::{RedisConfig, RedisForm, RedisUrl};
use crate::foundation::error::{Error, Result, ResultExt};

/// How often a Cluster's client tries a command that was redirected or whose node is gone.
const CLUSTER_RETRIES: u32 = 4;

/// How connections are opened. Nothing is opened before the first use, which needs a Tokio runtime.
pub(super) enum RedisConnector {
    Server {
        client: Client,
        config: ConnectionManagerConfig,
        /// It connects in the background, and again after a failure.
        connection: OnceLock<ConnectionManager>,
    },
    Sentinel(Box<Sentinels>),
    Cluster {
        client: ClusterClient,
        /// It follows the cluster's changes.
        connection: Mutex<Option<ClusterConnection>>,
    },
}

/// The Sentinels of a master, and a connection to it.
pub(super) struct Sentinels {
    clients: Vec<Client>,
    master_name: String,
    /// Of the master, but for its address.
    master: ConnectionInfo,
    certificates: Option<TlsCertificates>,
    config: AsyncConnectionConfig,
    /// The open connection with its number.
    connection: Mutex<(u64, Option<MultiplexedConnection>)>,
}

/// An open connection. Cheap to clone.
#[derive(Clone)]
pub(super) enum RedisConnection {
    Server(ConnectionManager),
    /// With its number.
    Master(u64, MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl RedisConnector {
    /// # Errors
    /// 500 for an invalid URL, which the configuration rejects, and for certificates that cannot be used.
    pub(super) fn new(config: &RedisConfig) -> Result<RedisConnector> {
        let url = RedisUrl::parse(&config.url).ok_or_else(|| Error::internal("[redis] url is invalid"))?;
        let password = config.password.as_ref().map(|password| password.reveal());
        let with_password = |node: &ConnectionInfo| match password {
            Some(password) => node.clone().set_redis_settings(node.redis_settings().clone().set_password(password)),
            None => node.clone(),
        };
        let certificates = url.has_tls().then(|| certificates(config)).transpose()?;
        let (connect, response) = (config.connect_timeout, config.response_timeout);
        match url.form {
            RedisForm::Server => Ok(RedisConnector::Server {
                client: client(with_password(&url.nodes[0]), certificates.as_ref())?,
                config: ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(connect))
                    .set_response_timeout(Some(response))
                    .set_number_of_retries(1),
                connection: OnceLock::new(),
            }),
            RedisForm::Sentinel(master_name) => {
                // The user and the password of the URL are those of the master.
                let sentinel =
                    |node: &ConnectionInfo| node.clone().set_redis_settings(redis::RedisConnectionInfo::default());
                let clients = url.nodes.iter().map(|node| client(sentinel(node), certificates.as_ref()));
                Ok(RedisConnector::Sentinel(Box::new(Sentinels {
                    clients: clients.collect::<Result<_>>()?,
                    master_name,
                    master: with_password(&url.nodes[0]),
                    certificates,
                    config: AsyncConnectionConfig::new()
                        .set_connection_timeout(Some(connect))
                        .set_response_timeout(Some(response)),
                    connection: Mutex::default(),
                })))
            }
            RedisForm::Cluster => {
                let mut builder = ClusterClientBuilder::new(url.nodes.iter().map(with_password))
                    .connection_timeout(connect)
                    .response_timeout(response)
                    .retries(CLUSTER_RETRIES);
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates);
                }
                Ok(RedisConnector::Cluster { client: builder.build().or_internal()?, connection: Mutex::default() })
            }
        }
    }

    /// The open connection, or a new one.
    pub(super) async fn connection(&self) -> RedisResult<RedisConnection> {
        match self {
            RedisConnector::Server { client, config, connection } => {
                if connection.get().is_none() {
                    let opened = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())?;
                    connection.get_or_init(|| opened);
                }
                let connection = connection.get().expect("it was just set");
                Ok(RedisConnection::Server(connection.clone()))
            }
            RedisConnector::Sentinel(sentinels) => sentinels.connection().await,
            RedisConnector::Cluster { client, connection } => {
                let mut open = connection.lock().await;
                if open.is_none() {
                    *open = Some(client.get_async_connection().await?);
                }
                Ok(RedisConnection::Cluster(open.as_ref().expect("it is open").clone()))
            }
        }
    }

    /// Drops a failed connection, so that the next call asks the Sentinels again. The other kinds reconnect by themselves.
    pub(super) async fn discard(&self, failed: &RedisConnection) {
        if let (RedisConnector::Sentinel(sentinels), RedisConnection::Master(number, _)) = (self, failed) {
            let mut connection = sentinels.connection.lock().await;
            if connection.0 == *number {
                connection.1 = None;
            }
        }
    }

    /// Why the server cannot serve the brand by this kind of URL, as a message that says what to do; `None` when it can.
    ///
    /// # Errors
    /// That of the server.
    pub(super) async fn find_problem(&self) -> RedisResult<Option<String>> {
        let RedisConnection::Server(mut server) = self.connection().await? else { return Ok(None) };
        let ServerInfo { mode, role } = ServerInfo::read(&mut server).await?;
        Ok(match (mode.as_deref(), role.as_deref()) {
            (Some("cluster"), _) => {
                Some("is a node of a Redis Cluster: write [redis] url as redis+cluster://HOST:PORT,HOST:PORT".to_owned())
            }
            (Some("sentinel"), _) => Some(
                "is a Sentinel: write [redis] url as redis+sentinel://HOST:PORT,HOST:PORT/MASTER, with the name of the master"
                    .to_owned(),
            ),
            (_, Some("replica" | "slave")) => Some(
                "is a read-only replica: set [redis] url to the primary, or to its Sentinels: \
                 redis+sentinel://HOST:PORT,HOST:PORT/MASTER"
                    .to_owned(),
            ),
            _ => None,
        })
    }

    pub(super) fn is_sentinel(&self) -> bool {
        matches!(self, RedisConnector::Sentinel(_))
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, RedisConnector::Cluster { .. })
    }
}

/// What a server says of itself in its reply to HELLO, which every user may run.
struct ServerInfo {
    /// `standalone`, `cluster` or `sentinel`.
    mode: Option<String>,
    /// `master` or `replica`.
    role: Option<String>,
}

impl ServerInfo {
    async fn read(connection: &mut impl ConnectionLike) -> RedisResult<ServerInfo> {
        let reply: HashMap<String, Value> = redis::cmd("HELLO").query_async(connection).await?;
        let word = |key: &str| reply.get(key).and_then(|value| redis::from_redis_value_ref(value).ok());
        Ok(ServerInfo { mode: word("mode"), role: word("role") })
    }
}

impl Sentinels {
    async fn connection(&self) -> RedisResult<RedisConnection> {
        let mut open = self.connection.lock().await;
        if let (number, Some(connection)) = &*open {
            return Ok(RedisConnection::Master(*number, connection.clone()));
        }
        // An unreachable Sentinel must not delay the others, and an outdated one names a former master.
        let mut attempts = Vec::new();
        for sentinel in &self.clients {
            attempts.push(Box::pin(self.connect_through(sentinel)));
        }
        let (connection, _) = future::select_ok(attempts).await?;
        *open = (open.0 + 1, Some(connection.clone()));
        Ok(RedisConnection::Master(open.0, connection))
    }

    /// Connects to the server that one Sentinel names, if it is a master.
    async fn connect_through(&self, sentinel: &Client) -> RedisResult<MultiplexedConnection> {
        let mut sentinel = sentinel.get_multiplexed_async_connection_with_config(&self.config).await?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(&self.master_name);
        let address: Option<(String, u16)> = ask.query_async(&mut sentinel).await?;
        let (host, port) = address.ok_or((ErrorKind::Client, "the Sentinel knows no master of the URL's name"))?;
        let address = match self.master.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            _ => ConnectionAddr::Tcp(host, port),
        };
        let master = self.master.clone().set_addr(address);
        let master = match &self.certificates {
            Some(certificates) => Client::build_with_tls(master, certificates.clone())?,
            None => Client::open(master)?,
        };
        let mut connection = master.get_multiplexed_async_connection_with_config(&self.config).await?;
        match ServerInfo::read(&mut connection).await?.role.as_deref() {
            Some("master") => Ok(connection),
            _ => Err(RedisError::from((ErrorKind::Client, "the server that the Sentinel names is not the master yet"))),
        }
    }
}

fn client(node: ConnectionInfo, certificates: Option<&TlsCertificates>) -> Result<Client> {
    match certificates {
        Some(certificates) => Client::build_with_tls(node, certificates.clone()).or_internal(),
        None => Client::open(node).or_internal(),
    }
}

/// Reads the certificates that the brand's file names.
fn certificates(config: &RedisConfig) -> Result<TlsCertificates> {
    let read = |key: &str, path: &std::path::Path| {
        std::fs::read(path).map_err(|error| Error::internal(format!("[redis] {key} {}: {error}", path.display())))
    };
    let root_cert = config.ca_file.as_deref().map(|path| read("authority", path)).transpose()?;
    let client_tls = match &config.client_files {
        Some((certificate, key)) => {
            Some(ClientTlsConfig { client_cert: read("certificate", certificate)?, client_key: read("key", key)? })
        }
        None => None,
    };
    Ok(TlsCertificates { client_tls, root_cert })
}

/// The time limit of a call, including the connection and the query for the master.
pub(super) fn time_limit(config: &RedisConfig) -> Duration {
    config.connect_timeout + config.response_timeout
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            RedisConnection::Server(connection) => connection.req_packed_command(command),
            RedisConnection::Master(_, connection) => connection.req_packed_command(command),
            RedisConnection::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            RedisConnection::Server(connection) => connection.req_packed_commands(pipeline, offset, count),
            RedisConnection::Master(_, connection) => connection.req_packed_commands(pipeline, offset, count),
            RedisConnection::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            RedisConnection::Server(connection) => connection.get_db(),
            RedisConnection::Master(_, connection) => connection.get_db(),
            RedisConnection::Cluster(connection) => connection.get_db(),
        }
    }
}
