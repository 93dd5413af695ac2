//! The members of the etcd cluster: their connections, which of them is asked, and the token that they ask for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{Instant, timeout};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::messages::{AuthenticateRequest, AuthenticateResponse};
use super::status::{Verdict, verdict};
use super::{Credentials, EtcdConfig};
use crate::{Error, LeaseId};

/// Largest answer. A page of a range is 1000 entries; they are a few hundred bytes each, but may be larger.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Pause when every member has failed once: an election takes about a second.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether a call may be sent again when it is unknown if it was done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// A second time changes nothing.
    Safe,
    /// A compare-and-set that has won would find itself the loser.
    Never,
}

/// See the module.
pub(super) struct Cluster {
    members: Vec<Member>,
    /// The one to ask. Stays with a member that answers.
    current: AtomicUsize,
    ca_certificate_pem: Option<Vec<u8>>,
    credentials: Option<Credentials>,
    token: Mutex<Option<MetadataValue<Ascii>>>,
    pub(super) deadline: Duration,
}

struct Member {
    /// Its URL.
    name: String,
    /// Changes with our certificate.
    channel: RwLock<Channel>,
}

impl Cluster {
    /// Prepares the connections; they are made when needed. Must run inside a tokio runtime.
    pub(super) fn new(config: EtcdConfig) -> Result<Arc<Cluster>, Error> {
        if config.endpoints.is_empty() {
            let what = "no etcd endpoints; name all members, such as https://10.0.0.1:2379".into();
            return Err(Error::Config { what });
        }
        let tls = tls(&config.ca_certificate_pem, &config.client_certificate_pem, config.deadline);
        let members = config.endpoints.iter().map(|url| {
            let channel = RwLock::new(channel(url, &tls, config.deadline)?);
            Ok(Member { name: url.clone(), channel })
        });
        Ok(Arc::new(Cluster {
            members: members.collect::<Result<_, Error>>()?,
            current: AtomicUsize::new(0),
            ca_certificate_pem: config.ca_certificate_pem,
            credentials: config.credentials,
            token: Mutex::new(None),
            deadline: config.deadline,
        }))
    }

    /// Connects with another certificate from now on. What is under way goes on with the old one.
    pub(super) fn set_client_certificate(&self, pem: (Vec<u8>, Vec<u8>)) -> Result<(), Error> {
        let tls = tls(&self.ca_certificate_pem, &Some(pem), self.deadline);
        for member in &self.members {
            let fresh = channel(&member.name, &tls, self.deadline)?;
            *member.channel.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }

    /// One question and its answer, asked of one member after the other until the deadline.
    pub(super) async fn unary<Q, A>(
        &self,
        path: &'static str,
        question: Q,
        repeat: Repeat,
        lease: Option<LeaseId>,
    ) -> Result<A, Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.persist(repeat, lease, |member, token| {
            let question = question.clone();
            async move {
                let mut client = client(member);
                client.ready().await.map_err(|error| Status::from_error(error.into()))?;
                let path = PathAndQuery::from_static(path);
                Ok(client.unary(request(question, token), path, ProstCodec::default()).await?.into_inner())
            }
        })
        .await
    }

    /// One question and the first answer on a stream, which then ends.
    pub(super) async fn first_of_stream<Q, A>(
        &self,
        path: &'static str,
        question: Q,
        lease: Option<LeaseId>,
    ) -> Result<A, Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.persist(Repeat::Safe, lease, |member, token| {
            let question = question.clone();
            async move {
                let questions = futures_util::stream::once(std::future::ready(question));
                let mut answers = stream::<_, Q, A>(member, path, questions, token).await?.into_inner();
                answers
                    .message()
                    .await?
                    .ok_or_else(|| Status::unavailable("the stream ended without an answer"))
            }
        })
        .await
    }

    /// A stream to one member. On an error, the caller asks the next one with [`Cluster::pass_over`].
    pub(super) async fn open_stream<S, Q, A>(
        &self,
        at: usize,
        path: &'static str,
        questions: S,
    ) -> Result<Streaming<A>, Verdict>
    where
        S: futures_util::Stream<Item = Q> + Send + 'static,
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let member = &self.members[at];
        let opened = async {
            let token = self.token(member).await?;
            stream::<_, Q, A>(member, path, questions, token).await
        };
        match timeout(self.attempt(), opened).await {
            Ok(Ok(answers)) => Ok(answers.into_inner()),
            Ok(Err(status)) => Err(verdict(&status, None)),
            Err(_elapsed) => Err(Verdict::Unknown(format!("{} does not answer", member.name))),
        }
    }

    /// Which member to ask.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// `at` does not answer: the next is asked from now on, unless somebody noticed it before.
    pub(super) fn pass_over(&self, at: usize) {
        let next = self.after(at);
        let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The member after `at`.
    pub(super) fn after(&self, at: usize) -> usize {
        (at + 1) % self.members.len()
    }

    pub(super) fn forget_token(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// How long one member may take before the next is asked: three fit into the deadline.
    fn attempt(&self) -> Duration {
        self.deadline / 3
    }

    async fn persist<'s, A, F>(
        &'s self,
        repeat: Repeat,
        lease: Option<LeaseId>,
        ask: impl Fn(&'s Member, Option<MetadataValue<Ascii>>) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<A, Status>> + Send,
    {
        let end = Instant::now() + self.deadline;
        let (mut failures, mut tokens, mut last) = (0, 0, String::new());
        loop {
            let at = self.current();
            let member = &self.members[at];
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::unavailable(format!(
                    "no answer within {:?}; last: {last}",
                    self.deadline
                )));
            }
            // etcd takes its time over a password on purpose.
            let token = timeout(left.min(self.deadline / 2), self.token(member)).await;
            let failure = match token {
                Ok(Ok(token)) => {
                    let patience = if repeat == Repeat::Safe { self.attempt() } else { self.deadline / 2 };
                    match timeout(left.min(patience), ask(member, token)).await {
                        Ok(Ok(answer)) => return Ok(answer),
                        Ok(Err(status)) => verdict(&status, lease),
                        Err(_elapsed) => Verdict::Unknown("it does not answer".into()),
                    }
                }
                Ok(Err(status)) => not_done(verdict(&status, None)),
                Err(_elapsed) => Verdict::NotDone("it does not answer".into()),
            };
            match failure {
                Verdict::Final(error) => return Err(error),
                Verdict::StaleToken(reason) if tokens > 0 || !self.has_credentials() => {
                    return Err(Error::Denied { reason });
                }
                Verdict::StaleToken(_) => {
                    tokens += 1;
                    self.forget_token();
                    continue;
                }
                Verdict::Unknown(reason) if repeat == Repeat::Never => {
                    self.pass_over(at);
                    return Err(Error::unavailable(format!("{}: {reason}", member.name)));
                }
                Verdict::Unknown(reason) | Verdict::NotDone(reason) => {
                    self.pass_over(at);
                    last = format!("{}: {reason}", member.name);
                }
            }
            failures += 1;
            if failures % self.members.len() == 0 {
                tokio::time::sleep(PAUSE.min(end.saturating_duration_since(Instant::now()))).await;
            }
        }
    }

    /// The token to ask with, got by user and password when there is none.
    async fn token(&self, member: &Member) -> Result<Option<MetadataValue<Ascii>>, Status> {
        let Some(credentials) = &self.credentials else { return Ok(None) };
        if let Some(token) = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(Some(token));
        }
        let question = AuthenticateRequest {
            name: credentials.username.clone(),
            password: credentials.password.clone(),
        };
        let mut client = client(member);
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static("/etcdserverpb.Auth/Authenticate");
        let answer: AuthenticateResponse =
            client.unary(request(question, None), path, ProstCodec::default()).await?.into_inner();
        let token = MetadataValue::try_from(answer.token)
            .map_err(|_| Status::internal("etcd's token cannot be sent in a header"))?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Some(token))
    }
}

fn tls(
    ca_pem: &Option<Vec<u8>>,
    client_pem: &Option<(Vec<u8>, Vec<u8>)>,
    deadline: Duration,
) -> ClientTlsConfig {
    let mut tls = ClientTlsConfig::new().timeout(deadline);
    if let Some(pem) = ca_pem {
        tls = tls.ca_certificate(Certificate::from_pem(pem));
    }
    if let Some((certificate, key)) = client_pem {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    tls
}

fn channel(url: &str, tls: &ClientTlsConfig, deadline: Duration) -> Result<Channel, Error> {
    let wrong = |error: tonic::transport::Error| Error::Config {
        what: match std::error::Error::source(&error) {
            Some(cause) => format!("etcd endpoint {url}: {error}: {cause}"),
            None => format!("etcd endpoint {url}: {error}"),
        },
    };
    let mut endpoint =
        Endpoint::from_shared(url.to_owned()).map_err(wrong)?.connect_timeout(deadline / 3).tcp_nodelay(true);
    if url.starts_with("https://") {
        endpoint = endpoint.tls_config(tls.clone()).map_err(wrong)?;
    }
    Ok(endpoint.connect_lazy())
}

/// While no token could be got, what was asked was not done.
fn not_done(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Unknown(reason) => Verdict::NotDone(reason),
        other => other,
    }
}

fn client(member: &Member) -> Grpc<Channel> {
    let channel = member.channel.read().unwrap_or_else(PoisonError::into_inner).clone();
    Grpc::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)
}

fn request<T>(body: T, token: Option<MetadataValue<Ascii>>) -> Request<T> {
    let mut request = Request::new(body);
    // A member without a leader says so at once, instead of waiting for one.
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    if let Some(token) = token {
        request.metadata_mut().insert("token", token);
    }
    request
}

async fn stream<S, Q, A>(
    member: &Member,
    path: &'static str,
    questions: S,
    token: Option<MetadataValue<Ascii>>,
) -> Result<Response<Streaming<A>>, Status>
where
    S: futures_util::Stream<Item = Q> + Send + 'static,
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut client = client(member);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.streaming(request(questions, token), PathAndQuery::from_static(path), ProstCodec::default()).await
}
