//! URLs of Redis: a server, the Sentinels of a master, or the nodes of a Cluster.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::is_loopback;

/// A parsed URL of Redis.
#[derive(Debug, Clone)]
pub struct RedisUrl {
    pub form: RedisForm,
    /// The server, the Sentinels or some nodes of the cluster; at least one. Each has the user, password and database of the URL.
    pub nodes: Vec<ConnectionInfo>,
}

/// What the addresses of a URL are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisForm {
    Server,
    /// Sentinels, which know the address of the master of this name.
    Sentinel(String),
    Cluster,
}

const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl RedisUrl {
    /// Parses `redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://host:port,…/master?db=0` or `redis+cluster://host:port,…`;
    /// the last two also with `rediss`. `None` for any other text.
    pub fn parse(url: &str) -> Option<RedisUrl> {
        let (scheme, rest) = url.split_once("://")?;
        if matches!(scheme, "redis" | "rediss" | "unix" | "redis+unix") {
            return Some(RedisUrl { form: RedisForm::Server, nodes: vec![url.into_connection_info().ok()?] });
        }
        let (base @ ("redis" | "rediss"), form) = scheme.split_once('+')? else { return None };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let (form, port, database) = match form {
            "sentinel" if !path.is_empty() => {
                let database = if query.is_empty() { "0" } else { query.strip_prefix("db=")? };
                (RedisForm::Sentinel(path.to_owned()), SENTINEL_PORT, database.parse::<u32>().ok()?)
            }
            "cluster" if path.is_empty() && query.is_empty() => (RedisForm::Cluster, SERVER_PORT, 0),
            _ => return None,
        };
        let node = |host: &str| {
            let names_port = host.rsplit_once(']').map_or(host, |(_, rest)| rest).contains(':');
            let host = if names_port { host.to_owned() } else { format!("{host}:{port}") };
            format!("{base}://{user}{host}/{database}").into_connection_info().ok()
        };
        Some(RedisUrl { form, nodes: hosts.split(',').map(node).collect::<Option<Vec<_>>>()? })
    }

    /// The addresses, without the other parts of the URL: `127.0.0.1:6379`, `/run/redis/redis-server.sock`.
    pub fn address(&self) -> String {
        self.nodes.iter().map(|node| node.addr().to_string()).collect::<Vec<_>>().join(" or ")
    }

    pub fn has_tls(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.addr(), ConnectionAddr::TcpTls { .. }))
    }

    /// Whether a connection without TLS leaves this machine.
    pub(super) fn is_plaintext_to_another_machine(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.addr(), ConnectionAddr::Tcp(host, _) if !is_loopback(host)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> RedisUrl {
        RedisUrl::parse(url).unwrap_or_else(|| panic!("{url} was not understood"))
    }

    #[test]
    fn a_url_names_a_server_sentinels_or_a_cluster() {
        for (url, form, address, has_tls) in [
            ("redis://127.0.0.1:6379", RedisForm::Server, "127.0.0.1:6379", false),
            ("unix:///run/redis.sock", RedisForm::Server, "/run/redis.sock", false),
            ("rediss://redis.example:6380/1", RedisForm::Server, "redis.example:6380", true),
            ("redis+sentinel://a,b:7000/shop?db=3", RedisForm::Sentinel("shop".to_owned()), "a:26379 or b:7000", false),
            ("rediss+sentinel://a/shop", RedisForm::Sentinel("shop".to_owned()), "a:26379", true),
            ("redis+cluster://a,[::1]:7001,[::1]", RedisForm::Cluster, "a:6379 or ::1:7001 or ::1:6379", false),
            ("rediss+cluster://a:7000", RedisForm::Cluster, "a:7000", true),
        ] {
            let parsed = parsed(url);
            assert_eq!((&parsed.form, parsed.has_tls()), (&form, has_tls), "{url}");
            assert_eq!(parsed.address(), address, "{url}");
        }
    }

    #[test]
    fn user_password_and_database_belong_to_every_node() {
        let url = parsed("redis+sentinel://brandgate:secret@a,b/shop?db=3");
        for node in &url.nodes {
            let redis = node.redis_settings();
            assert_eq!((redis.username(), redis.password(), redis.db()), (Some("brandgate"), Some("secret"), 3));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for url in [
            "redis:",
            "http://a",
            "redis+sentinel://a",
            "redis+sentinel://a/shop?x=1",
            "redis+cluster://a/1",
            "redis+x://a",
        ] {
            assert!(RedisUrl::parse(url).is_none(), "{url}");
        }
    }
}
