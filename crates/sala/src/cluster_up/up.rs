//! The running cluster: owns the processes, the network and the balancer, and does what commands ask.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::balancer::{Balancer, Front};
use super::control::{Answer, Asked, Request};
use super::home::Home;
use super::https::Https;
use super::journal::Journal;
use super::network::{Fault, Network};
use super::observe::{Observer, Seen};
use super::plan::{
    ETCD_CLIENT_PORT, GATEWAY_HTTP_PORT, Host, HostKind, INTERNAL_PORT, Plan, ProcessName, Program, Target,
};
use super::process::{Exit, Processes};
use super::snapshot::EventKind;
use super::usage::Usage;
use super::{etcd, node_config, ready};

/// What a node may take from its start until it takes connections, on a busy machine.
const NODE_START_TIMEOUT: Duration = Duration::from_secs(30);
/// Lines of a log that are shown when a node does not start.
const LOG_TAIL_LINES: usize = 8;

/// The cluster while it runs.
pub(crate) struct Up {
    pub(crate) plan: Plan,
    pub(crate) home: Home,
    pub(crate) journal: Journal,
    pub(crate) processes: Processes,
    pub(crate) network: Option<Network>,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) seen: watch::Receiver<Seen>,
    pub(crate) usage: Usage,
    pub(crate) started: Instant,
    observer: Observer,
    /// The binary that nodes run.
    sala: PathBuf,
    /// Whether what ends by itself is started again.
    restart: bool,
    /// Ended with us.
    tasks: JoinSet<()>,
}

impl Up {
    /// Starts everything in order, each as soon as what it needs is ready.
    ///
    /// # Errors
    /// When a part does not start; what had started is stopped.
    pub(crate) async fn start(
        plan: Plan,
        home: Home,
        sala: PathBuf,
        restart: bool,
    ) -> anyhow::Result<(Up, mpsc::Receiver<Exit>)> {
        etcd::program()?;
        let fronts = listen(&plan).await?;
        let https = Https::new(&home, &plan.id)?;
        let network = match plan.namespaces {
            true => Some(Network::create(plan.subnet, &plan.hosts).await?),
            false => None,
        };
        let (processes, mut exits) = Processes::new();
        let (seen_by, seen) = watch::channel(Seen::default());
        let mut up = Up {
            journal: Journal::create(&home.file("events.jsonl"))?,
            processes,
            network,
            balancer: Balancer::new(plan.masters()),
            seen,
            usage: Usage::default(),
            started: Instant::now(),
            observer: Observer::new(https.clone(), plan.masters()),
            sala,
            restart,
            tasks: JoinSet::new(),
            plan,
            home,
        };
        let started = tokio::select! {
            started = up.start_all(&https, &mut exits) => started,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped before it had started")),
        };
        if let Err(error) = started {
            up.stop(&mut exits).await;
            return Err(error);
        }
        for (listener, front) in fronts {
            up.tasks.spawn(up.balancer.clone().serve(listener, front));
        }
        up.tasks.spawn(up.balancer.clone().check());
        up.tasks.spawn(https.keep_fresh());
        up.tasks.spawn(up.observer.clone().watch(seen_by));
        Ok((up, exits))
    }

    async fn start_all(&mut self, https: &Https, exits: &mut mpsc::Receiver<Exit>) -> anyhow::Result<()> {
        let masters: Vec<Host> = self.plan.masters().cloned().collect();
        let media: Vec<Host> = self.plan.media().cloned().collect();
        let members: Vec<SocketAddr> = masters.iter().map(|host| host.socket(ETCD_CLIENT_PORT)).collect();

        for host in &masters {
            self.start_program(host, Program::Etcd)?;
        }
        self.unless_one_ends(exits, etcd::ready(https, &members)).await??;
        etcd::set_up_users(https, members[0], &self.home).await?;
        self.journal.note(EventKind::Command, format!("etcd is ready: {} members", members.len()));

        for (hosts, what) in [(&masters, "masters"), (&media, "media nodes")] {
            for host in hosts {
                self.start_program(host, Program::Sala)?;
            }
            self.unless_one_ends(exits, all_ready(hosts)).await??;
            self.journal.note(EventKind::Command, format!("{} {what} are ready", hosts.len()));
        }
        Ok(())
    }

    /// Waits for something, and gives up when a process ends meanwhile.
    async fn unless_one_ends<T>(
        &mut self,
        exits: &mut mpsc::Receiver<Exit>,
        wait: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        tokio::pin!(wait);
        loop {
            tokio::select! {
                done = &mut wait => return Ok(done),
                Some(exit) = exits.recv() => {
                    let Some(ended) = self.processes.ended(exit) else { continue };
                    let log = self.log_of(&ended.name);
                    bail!("{} ended: {}. The end of {}:\n{}", ended.name, ended.how, log.display(), tail(&log));
                }
            }
        }
    }

    fn start_program(&mut self, host: &Host, program: Program) -> anyhow::Result<()> {
        let spec = match program {
            Program::Etcd => etcd::spec(&self.plan, host, &self.home)?,
            Program::Sala => node_config::spec(&self.plan, host, &self.home, &self.sala)?,
        };
        self.processes.start(ProcessName { host: host.name.clone(), program }, spec)
    }

    fn log_of(&self, name: &ProcessName) -> PathBuf {
        self.home.file(&format!("logs/{name}.log"))
    }

    /// Books the end of a process, and starts it again if that was wished.
    pub(crate) fn ended(&mut self, exit: Exit) {
        let Some(ended) = self.processes.ended(exit) else { return };
        let name = ended.name;
        if ended.expected {
            self.journal.note(EventKind::Fault, format!("{name} has ended: {}", ended.how));
            return;
        }
        let log = self.log_of(&name);
        self.journal
            .note(EventKind::Fault, format!("{name} ended by itself: {} ({})", ended.how, log.display()));
        if self.restart {
            match self.processes.restart(&name) {
                Ok(()) => self.journal.note(EventKind::Command, format!("{name} is started again")),
                Err(error) => self.journal.note(EventKind::Fault, format!("{error:#}")),
            }
        }
    }

    /// Takes news from the masters into the journal.
    pub(crate) fn take_news(&mut self) {
        let cluster = self.seen.borrow_and_update().cluster.clone();
        if let Some(cluster) = cluster {
            self.journal.merge(&cluster.events);
        }
    }

    /// Does what is asked, and answers: at once, or when it is done.
    pub(crate) async fn execute(&mut self, asked: Asked) {
        let Asked { request, answer } = asked;
        match self.begin(request).await {
            Ok(Step::Done(message)) => reply(answer, Ok(message)),
            Ok(Step::Status) => {
                let status = Some(Box::new(self.snapshot()));
                let _ = answer.send(Answer { ok: true, message: String::new(), status });
            }
            Ok(Step::Later(rest)) => {
                // Ended tasks are taken out here, so that the set does not grow.
                while self.tasks.try_join_next().is_some() {}
                self.tasks.spawn(async move { reply(answer, rest.await) });
            }
            Err(error) => reply(answer, Err(error)),
        }
    }

    async fn begin(&mut self, request: Request) -> anyhow::Result<Step> {
        Ok(match request {
            Request::Status => Step::Status,
            Request::Down => bail!("only the main loop ends the cluster"),
            Request::Kill { target } => {
                let done = self.signal(&target, Signal::KILL, "killed")?;
                // So that a restart that follows at once finds its ports free.
                let gone = self.processes.killed_are_gone();
                Step::later(async move {
                    gone.await;
                    Ok(done)
                })
            }
            Request::Stop { target } => {
                Step::Done(self.signal(&target, Signal::STOP, "stopped (SIGSTOP)")?)
            }
            Request::Cont { target } => {
                Step::Done(self.signal(&target, Signal::CONT, "running again (SIGCONT)")?)
            }
            Request::Term { target } => {
                Step::Done(self.signal(&target, Signal::TERM, "asked to end (SIGTERM)")?)
            }
            Request::Restart { target } => self.restart(&target)?,
            Request::AddMedia => self.add_media().await?,
            Request::Partition { host, from } => Step::Done(self.partition(&host, &from).await?),
            Request::Loss { host, percent } => Step::Done(self.lose(&host, percent).await?),
            Request::Heal { host } => {
                self.set_fault(&host, None).await?;
                Step::Done(format!("{host} is connected as it was"))
            }
            Request::Drain { node, deadline_ms } => {
                self.plan.host(&node)?;
                self.journal.note(EventKind::Command, format!("drain of {node}"));
                let observer = self.observer.clone();
                Step::later(async move {
                    observer.drain(&node, deadline_ms).await?;
                    Ok(format!("{node} drains; `sala cluster status` shows how far it is"))
                })
            }
            Request::DrainCancel { node } => {
                self.plan.host(&node)?;
                self.journal.note(EventKind::Command, format!("drain of {node} is cancelled"));
                let observer = self.observer.clone();
                Step::later(async move {
                    observer.drain_cancel(&node).await?;
                    Ok(format!("{node} drains no more"))
                })
            }
        })
    }

    fn signal(&mut self, target: &str, signal: Signal, done: &str) -> anyhow::Result<String> {
        let target: Target = target.parse()?;
        let names = self.plan.resolve(&target, self.seen.borrow().leader())?;
        let mut hit = Vec::new();
        let mut failed = None;
        for name in &names {
            match self.processes.signal(name, signal) {
                Ok(()) => hit.push(name.to_string()),
                Err(error) => failed = Some(error),
            }
        }
        if let (true, Some(error)) = (hit.is_empty(), failed) {
            return Err(error);
        }
        let text = format!("{} {done}", hit.join(", "));
        self.journal.note(EventKind::Fault, text.as_str());
        Ok(text)
    }

    fn restart(&mut self, target: &str) -> anyhow::Result<Step> {
        let names = self.plan.resolve(&target.parse()?, None)?;
        let mut started = Vec::new();
        for name in names {
            if self.processes.end_of(&name).is_some() {
                self.processes.restart(&name)?;
                started.push(name);
            }
        }
        if started.is_empty() {
            bail!("nothing of {target} has ended; `sala cluster kill {target}` ends it");
        }
        let text = started.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.journal.note(EventKind::Command, format!("{text} started again"));
        let mut hosts = Vec::new();
        for name in started.iter().filter(|name| name.program == Program::Sala) {
            hosts.push(self.plan.host(&name.host)?.clone());
        }
        Ok(Step::later(async move {
            all_ready(&hosts).await?;
            Ok(format!("{text} started again"))
        }))
    }

    async fn add_media(&mut self) -> anyhow::Result<Step> {
        let host = self.plan.add_media()?.clone();
        if let Some(network) = &mut self.network {
            network.add(&host).await?;
        }
        self.start_program(&host, Program::Sala)?;
        let text = format!("media node {} added", host.name);
        self.journal.note(EventKind::Command, text.as_str());
        Ok(Step::later(async move {
            all_ready(std::slice::from_ref(&host)).await?;
            Ok(text)
        }))
    }

    async fn partition(&mut self, host: &str, from: &[String]) -> anyhow::Result<String> {
        let mut addresses = Vec::new();
        for name in from {
            match name.as_str() {
                "nodes" => {
                    addresses.extend(self.plan.hosts.iter().filter(|h| h.name != host).map(|h| h.address))
                }
                "masters" => {
                    addresses.extend(self.plan.masters().filter(|h| h.name != host).map(|h| h.address))
                }
                "clients" => addresses.extend(self.network.as_ref().map(Network::our_address)),
                name => addresses.push(self.plan.host(name)?.address),
            }
        }
        self.set_fault(host, Some(Fault::Partition { from: addresses })).await?;
        let from = if from.is_empty() { "everybody".into() } else { from.join(", ") };
        let text = format!("{host} is cut off from {from}");
        self.journal.note(EventKind::Fault, text.as_str());
        Ok(text)
    }

    async fn lose(&mut self, host: &str, percent: u8) -> anyhow::Result<String> {
        if !(1..=100).contains(&percent) {
            bail!("a loss of {percent} %: choose 1 to 100; `sala cluster heal {host}` ends it");
        }
        self.set_fault(host, Some(Fault::Loss { percent })).await?;
        let text = format!("{host} loses {percent} % of its packets, each way");
        self.journal.note(EventKind::Fault, text.as_str());
        Ok(text)
    }

    async fn set_fault(&mut self, host: &str, fault: Option<Fault>) -> anyhow::Result<()> {
        self.plan.host(host)?;
        let network = self.network.as_mut().context(
            "the nodes share one loopback network, which cannot be cut; start the cluster as root with --netns, \
             or use `stop` instead",
        )?;
        if fault.is_none() && network.fault(host).is_some() {
            self.journal.note(EventKind::Command, format!("{host} is connected as it was"));
        }
        network.set_fault(host, fault).await
    }

    /// Ends everything and leaves nothing behind but the directory.
    pub(crate) async fn stop(&mut self, exits: &mut mpsc::Receiver<Exit>) {
        self.tasks.shutdown().await;
        self.processes.stop_all(exits).await;
        if let Some(network) = self.network.take() {
            network.remove().await;
        }
    }
}

/// What is left to do of a request.
enum Step {
    Done(String),
    Status,
    Later(std::pin::Pin<Box<dyn Future<Output = anyhow::Result<String>> + Send>>),
}

impl Step {
    fn later(rest: impl Future<Output = anyhow::Result<String>> + Send + 'static) -> Step {
        Step::Later(Box::pin(rest))
    }
}

fn reply(answer: oneshot::Sender<Answer>, outcome: anyhow::Result<String>) {
    let (ok, message) = match outcome {
        Ok(message) => (true, message),
        Err(error) => (false, format!("{error:#}")),
    };
    // Who asked may have gone.
    let _ = answer.send(Answer { ok, message, status: None });
}

async fn listen(plan: &Plan) -> anyhow::Result<Vec<(TcpListener, Front)>> {
    let mut listeners = Vec::new();
    for (address, front, option) in
        [(plan.front_http, Front::Http, "--port"), (plan.front_https, Front::Https, "--https-port")]
    {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!(
                "cannot listen on {address}; stop what does (`ss -ltnp` shows it), or choose another {option}"
            )
        })?;
        listeners.push((listener, front));
    }
    Ok(listeners)
}

/// Waits until each takes connections.
async fn all_ready(hosts: &[Host]) -> anyhow::Result<()> {
    for host in hosts {
        let ports: &[u16] = match host.kind {
            HostKind::Master => &[INTERNAL_PORT, GATEWAY_HTTP_PORT],
            HostKind::Media => &[INTERNAL_PORT],
        };
        for port in ports {
            let address = host.socket(*port);
            let waited =
                tokio::time::timeout(NODE_START_TIMEOUT, ready::until(|| ready::accepts(address))).await;
            waited.ok().with_context(|| {
                format!(
                    "{} does not take connections on {address} after {NODE_START_TIMEOUT:?}; see its log",
                    host.name
                )
            })?;
        }
    }
    Ok(())
}

fn tail(log: &std::path::Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}
