//! Members and users of the store, through etcd's JSON gateway over mutual TLS: one connection for each request, small
//! answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use auth::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::boot::store::CLIENT_PORT;
use crate::boot::{Member, StoreAccess, StoreError, Users};

/// What a member may take to answer; hashing a password takes a while where the machine is busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// What nobody listens at is found out sooner.
const CONNECT: Duration = Duration::from_secs(2);
/// A member that waits for a majority takes connections and does not answer; one that has it answers at once.
const LOOK: Duration = Duration::from_secs(3);
/// Far more than four members.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// The user who may do anything, and the nodes' user.
const ROOT: &str = "root";
const NODES: &str = "sala";
/// What nodes may use.
const PREFIX: (&str, &str) = ("/sala/", "/sala0");

/// One member, asked as root if the store knows users.
pub(super) struct Etcd<'a> {
    tls: Arc<ClientConfig>,
    at: Ipv4Addr,
    root_password: &'a Secret,
}

impl<'a> Etcd<'a> {
    pub(super) fn new(at: Ipv4Addr, access: &StoreAccess<'a>) -> Result<Etcd<'a>, StoreError> {
        let tls =
            super::authority::client(access.authority).map_err(|error| StoreError(error.to_string()))?;
        Ok(Etcd { tls, at, root_password: access.root_password })
    }

    pub(super) async fn has_leader(&self) -> Result<bool, StoreError> {
        let status = tokio::time::timeout(LOOK, self.call(None, "maintenance/status", &json!({}))).await;
        let status = status.map_err(|_| StoreError(format!("{} waits for a majority", self.at)))??;
        Ok(status["leader"].as_str().unwrap_or("0") != "0")
    }

    pub(super) async fn members(&self) -> Result<Vec<Member>, StoreError> {
        let token = self.root_token().await?;
        let answer = self.call(token.as_deref(), "cluster/member/list", &json!({})).await?;
        let members = answer["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        members.iter().map(member).collect()
    }

    pub(super) async fn remove(&self, id: u64) -> Result<(), StoreError> {
        let token = self.root_token().await?;
        self.call(token.as_deref(), "cluster/member/remove", &json!({ "ID": id.to_string() })).await.map(drop)
    }

    pub(super) async fn add(&self, peer_url: &str) -> Result<(), StoreError> {
        let token = self.root_token().await?;
        self.call(token.as_deref(), "cluster/member/add", &json!({ "peerURLs": [peer_url] })).await.map(drop)
    }

    pub(super) async fn users(&self, password: &Secret) -> Result<Users, StoreError> {
        match self.login(ROOT, self.root_password).await? {
            Login::NotAsked => Ok(Users::Absent),
            Login::Wrong => Ok(Users::OtherRoot),
            Login::Token(_) => match self.login(NODES, password).await? {
                Login::Token(_) => Ok(Users::Ready),
                Login::NotAsked => Ok(Users::Absent),
                Login::Wrong => Ok(Users::OtherPassword),
            },
        }
    }

    /// Each step may have been done by a boot that was killed.
    pub(super) async fn make_users(&self, password: &Secret) -> Result<(), StoreError> {
        let range = |key: &str| STANDARD.encode(key);
        let permission =
            json!({ "permType": "READWRITE", "key": range(PREFIX.0), "range_end": range(PREFIX.1) });
        let steps = [
            ("user/add", json!({ "name": ROOT, "password": self.root_password.reveal() })),
            ("role/add", json!({ "name": ROOT })),
            ("user/grant", json!({ "user": ROOT, "role": ROOT })),
            ("role/add", json!({ "name": NODES })),
            ("role/grant", json!({ "name": NODES, "perm": permission })),
            ("user/add", json!({ "name": NODES, "password": password.reveal() })),
            ("user/grant", json!({ "user": NODES, "role": NODES })),
            // A former half may have had other passwords.
            ("user/changepw", json!({ "name": ROOT, "password": self.root_password.reveal() })),
            ("user/changepw", json!({ "name": NODES, "password": password.reveal() })),
            ("enable", json!({})),
        ];
        for (step, body) in steps {
            match self.call(None, &format!("auth/{step}"), &body).await {
                Err(StoreError(text)) if text.contains("already exist") => {}
                outcome => drop(outcome?),
            }
        }
        Ok(())
    }

    pub(super) async fn change_password(&self, password: &Secret) -> Result<(), StoreError> {
        let token = self.root_token().await?;
        let body = json!({ "name": NODES, "password": password.reveal() });
        self.call(token.as_deref(), "auth/user/changepw", &body).await.map(drop)
    }

    /// `None`: nobody is asked who they are yet.
    async fn root_token(&self) -> Result<Option<String>, StoreError> {
        match self.login(ROOT, self.root_password).await? {
            Login::Token(token) => Ok(Some(token)),
            Login::NotAsked => Ok(None),
            Login::Wrong => Err(StoreError("the store does not accept SALA_STORE_ROOT_PASSWORD".to_owned())),
        }
    }

    async fn login(&self, user: &str, password: &Secret) -> Result<Login, StoreError> {
        let body = json!({ "name": user, "password": password.reveal() });
        match self.call(None, "auth/authenticate", &body).await {
            Ok(answer) => match answer["token"].as_str() {
                Some(token) => Ok(Login::Token(token.to_owned())),
                None => Err(StoreError("a log-in without a token".to_owned())),
            },
            Err(StoreError(text)) if text.contains("authentication is not enabled") => Ok(Login::NotAsked),
            Err(StoreError(text))
                if text.contains("invalid user ID or password") || text.contains("user name not found") =>
            {
                Ok(Login::Wrong)
            }
            Err(error) => Err(error),
        }
    }

    /// The answer's JSON; an error has what the member said.
    async fn call(&self, token: Option<&str>, path: &str, body: &Value) -> Result<Value, StoreError> {
        let address = SocketAddr::from((self.at, CLIENT_PORT));
        let exchange = self.exchange(address, token, path, body);
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(Ok(text)) => parse(&text).map_err(|reason| StoreError(format!("{address}: {reason}"))),
            Ok(Err(error)) => Err(StoreError(format!("{address}: {error}"))),
            Err(_) => Err(StoreError(format!("{address} did not answer within {PATIENCE:?}"))),
        }
    }

    async fn exchange(
        &self,
        address: SocketAddr,
        token: Option<&str>,
        path: &str,
        body: &Value,
    ) -> io::Result<String> {
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let name = ServerName::from(std::net::IpAddr::from(self.at));
        let mut stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        let body = body.to_string();
        let authorization = token.map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
        // HTTP/1.0: the answer comes whole and ends with the connection.
        let request = format!(
            "POST /v3/{path} HTTP/1.0\r\nHost: {address}\r\n{authorization}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        match stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await {
            // Some servers end without TLS's goodbye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
            read => drop(read?),
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

enum Login {
    Token(String),
    /// Authentication is off.
    NotAsked,
    Wrong,
}

fn parse(answer: &str) -> Result<Value, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer broke off")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    match status.ok_or("the answer is not HTTP")? {
        200..=299 if body.trim().is_empty() => Ok(Value::Null),
        200..=299 => serde_json::from_str(body).map_err(|_| "the answer is not JSON".to_owned()),
        status => Err(format!("HTTP {status}: {}", body.trim().chars().take(300).collect::<String>())),
    }
}

/// Numbers of 64 bits are texts in this JSON; an empty field is left out.
fn member(value: &Value) -> Result<Member, StoreError> {
    let texts = |name: &str| {
        let list = value[name].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let id = value["ID"].as_str().and_then(|id| id.parse().ok());
    Ok(Member {
        id: id.ok_or_else(|| StoreError("a member without an id".to_owned()))?,
        name: value["name"].as_str().unwrap_or_default().to_owned(),
        peer_urls: texts("peerURLs"),
        client_urls: texts("clientURLs"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_etcd_writes_them() {
        let list = json!({ "ID": "10501334649042878790", "name": "acme-master-node-1",
            "peerURLs": ["https://10.0.0.11:2380"], "clientURLs": ["https://10.0.0.11:2379"] });
        let read = member(&list).unwrap();
        assert_eq!(read.id, 10_501_334_649_042_878_790);
        assert!(read.has_started());
        let added = member(&json!({ "ID": "7", "peerURLs": ["https://10.0.0.12:2380"] })).unwrap();
        assert!(added.name.is_empty() && !added.has_started());
        assert!(member(&json!({ "name": "x" })).is_err());
    }

    #[test]
    fn an_answer_that_is_none_is_told_from_an_error_of_the_store() {
        assert_eq!(parse("HTTP/1.0 200 OK\r\n\r\n{}").unwrap(), json!({}));
        assert!(
            parse("HTTP/1.0 400 Bad Request\r\n\r\n{\"error\":\"no\"}").unwrap_err().contains("HTTP 400: {")
        );
        assert!(parse("HTTP/1.0 200 OK\r\n").unwrap_err().contains("broke off"));
        assert!(parse("SSH-2.0-OpenSSH\r\n\r\n").unwrap_err().contains("not HTTP"));
        assert!(parse("HTTP/1.0 200 OK\r\n\r\n<html>").unwrap_err().contains("not JSON"));
    }
}
