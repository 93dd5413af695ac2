//! `sala cluster up`: a whole cluster on one machine, to try it, to show it, and to break it in tests.
//!
//! A [`plan`] gives every host an address of its own (with `--netns` a network namespace). [`up`] starts etcd and
//! `sala` on them as child [`process`]es with generated certificates and configurations, puts a [`balancer`]
//! before the masters, and does what [`control`] or the [`screen`] asks: kill, stop, partition, drain, add.
//! [`observe`] asks the masters and the store how they are; [`view`] shows it.

mod balancer;
mod command_line;
mod control;
mod etcd;
mod home;
mod https;
mod journal;
mod network;
mod node_config;
mod observe;
mod picture;
mod plan;
mod process;
mod proxy_protocol;
mod ready;
mod screen;
mod snapshot;
mod table;
mod up;
mod usage;
mod view;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

pub(crate) use command_line::ClusterCommand;

use command_line::UpArgs;
use control::{Answer, Asked, REQUEST_QUEUE, Request};
use home::Home;
use plan::Plan;
use process::Exit;
use screen::{Screen, Wish};
use up::Up;

/// Between two pictures of the view: often enough to look alive.
const FRAME: Duration = Duration::from_millis(250);

/// Runs one command.
pub(crate) fn run(command: ClusterCommand) -> anyhow::Result<()> {
    // One thread: children that are killed with their parent are killed with the *thread* that started them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let command = match command.into_request() {
        Ok((place, request)) => {
            let answer = runtime.block_on(control::ask(&place.path(), &request))?;
            println!("{}", answer.message);
            return Ok(());
        }
        Err(command) => command,
    };
    match command {
        ClusterCommand::Up(args) => runtime.block_on(up(args)),
        ClusterCommand::Ca { dir, id } => {
            cluster::security::write_ca(&dir, &id)?;
            println!("wrote {} and {}", dir.join("ca.pem").display(), dir.join("ca.key").display());
            Ok(())
        }
        ClusterCommand::Status { place, json } => {
            let answer = runtime.block_on(control::ask(&place.path(), &Request::Status))?;
            let snapshot = answer.status.context("the cluster did not say how it is")?;
            if json {
                println!("{}", serde_json::to_string_pretty(&snapshot)?);
            } else {
                print!("{}", table::text(&snapshot));
            }
            Ok(())
        }
        ClusterCommand::Env { place } => {
            let file = place.path().join("environment");
            let text = std::fs::read_to_string(&file).with_context(|| {
                format!("no cluster has written {}; say where with --dir", file.display())
            })?;
            print!("{text}");
            Ok(())
        }
        other => {
            drop(other);
            anyhow::bail!("this command is for a running cluster")
        }
    }
}

async fn up(args: UpArgs) -> anyhow::Result<()> {
    let mut plan = Plan::new(args.masters, args.media, args.netns, args.subnet)?;
    plan.front_http = SocketAddr::from(([127, 0, 0, 1], args.port));
    plan.front_https = SocketAddr::from(([127, 0, 0, 1], args.https_port));
    plan.webhooks = args.webhooks;
    let home = Home::create(&args.place.path(), &plan)?;
    let sala = std::env::current_exe().context("cannot find the program that nodes shall run")?;
    let socket = control::listen(&home::socket_path(home.path()))?;
    println!(
        "starting {} masters with etcd and {} media nodes in {}",
        args.masters,
        args.media,
        home.path().display()
    );

    let (mut up, mut exits) = Up::start(plan, home, sala, args.restart).await?;
    println!("{}", start_up_block(&up));
    let (asked, mut requests) = mpsc::channel(REQUEST_QUEUE);
    let serving = tokio::spawn(control::serve(socket, asked));
    let live = !args.plain && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let outcome = attend(&mut up, &mut exits, &mut requests, live).await;
    serving.abort();
    println!("stopping everything");
    up.stop(&mut exits).await;
    outcome
}

/// What a newcomer wants to know, in one look.
fn start_up_block(up: &Up) -> String {
    let secrets = &up.home.secrets;
    format!(
        "\n  Meet         http://{http}\n  with TLS     https://{https}   (trust {ca})\n  \
         admin login  admin / {password}\n  API key      {key}\n  API secret   {secret}\n  \
         shell        eval \"$(sala cluster env)\"\n  logs         {logs}\n",
        http = up.plan.front_http,
        https = up.plan.front_https,
        ca = up.home.ca_file().display(),
        password = secrets.admin_password.reveal(),
        key = secrets.api_key,
        secret = secrets.api_secret.reveal(),
        logs = up.home.file("logs").display(),
    )
}

/// The main loop: until somebody wants the end.
async fn attend(
    up: &mut Up,
    exits: &mut mpsc::Receiver<Exit>,
    requests: &mut mpsc::Receiver<Asked>,
    live: bool,
) -> anyhow::Result<()> {
    let mut screen = None;
    let mut pressed = None;
    if live {
        let (opened, keys) = Screen::open()?;
        (screen, pressed) = (Some(opened), Some(keys));
        up.journal.echo = false;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The answer to the last key.
    let mut answered: Option<oneshot::Receiver<Answer>> = None;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            Some(exit) = exits.recv() => up.ended(exit),
            Some(asked) = requests.recv() => {
                if asked.request == Request::Down {
                    let message = "the cluster ends".into();
                    let _ = asked.answer.send(Answer { ok: true, message, status: None });
                    return Ok(());
                }
                up.execute(asked).await;
            }
            Ok(()) = up.seen.changed() => up.take_news(),
            Some(event) = next(&mut pressed) => {
                let Some(screen) = &mut screen else { continue };
                let hosts: Vec<_> = up.plan.masters().chain(up.plan.media()).map(|host| host.name.clone()).collect();
                match screen::wish(&mut screen.desk, &event, &hosts) {
                    Some(Wish::Quit) => return Ok(()),
                    Some(Wish::Request(request)) => {
                        let (answer, receiver) = oneshot::channel();
                        screen.desk.message = "…".into();
                        answered = Some(receiver);
                        up.execute(Asked { request, answer }).await;
                    }
                    Some(Wish::Draw) => frames.reset_immediately(),
                    None => {}
                }
            }
            Some(answer) = arrived(&mut answered) => {
                answered = None;
                if let Some(screen) = &mut screen {
                    screen.desk.message = answer.message;
                }
            }
            _ = frames.tick(), if screen.is_some() => {
                let snapshot = up.snapshot();
                if let Some(screen) = &mut screen {
                    screen.draw(&snapshot)?;
                }
            }
        }
    }
}

/// The next event at the terminal; never, where there is none.
async fn next<T>(receiver: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

/// The answer that is waited for; never, where none is.
async fn arrived(receiver: &mut Option<oneshot::Receiver<Answer>>) -> Option<Answer> {
    match receiver {
        Some(receiver) => Some(receiver.await.unwrap_or_default()),
        None => std::future::pending().await,
    }
}
