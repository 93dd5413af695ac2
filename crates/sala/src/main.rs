//! The `sala` binary: command line, configuration and wiring. What the commands do lives in the crates below.

mod admin;
mod cli;
mod cluster_up;
mod config;
mod dev;
mod load_test;
mod log;
mod node;
mod notify;
mod oci;
mod operator;
mod server;
mod token;
mod web;
mod webhooks;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, KeysCommand, TokenCommand};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Dev(args) => dev::run(args),
        Command::Serve(args) => server::serve(args),
        Command::Token { command: TokenCommand::Create(args) } => token::create(*args),
        Command::Room { command } => admin::run(command),
        Command::Cluster { command } => cluster_up::run(command),
        Command::Nodes(args) => operator::nodes(args),
        Command::Drain(args) => operator::drain(args),
        Command::UpgradePlan(args) => operator::upgrade_plan(args),
        Command::LoadTest(args) => load_test::run(*args),
        Command::Oci { command } => oci::run(command),
        Command::Keys { command: KeysCommand::Generate } => {
            let (key, secret) = auth::random_key_pair();
            println!("{key}: {}", secret.reveal());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sala: {error:#}");
            ExitCode::FAILURE
        }
    }
}
