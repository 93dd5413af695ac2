use mio::{Poll, Token};

use super::*;
use crate::session::{SendFailure, Session, SessionGuard};

fn ends() -> (Arc<Mailbox>, Inbox, Poll) {
    let poll = Poll::new().unwrap();
    let (mailbox, inbox) = mailbox(Waker::new(poll.registry(), Token(0)).unwrap());
    (Arc::new(mailbox), inbox, poll)
}

fn session(mailbox: &Arc<Mailbox>) -> (Session, mpsc::Sender<SessionOutput>) {
    let (outputs, receiver) = mpsc::channel(4);
    let guard = SessionGuard { session: SessionId(7), mailbox: mailbox.clone() };
    (Session::new(guard, receiver), outputs)
}

fn fill(mailbox: &Mailbox) {
    while mailbox.try_send(Command::SessionClosed(SessionId(0))).is_ok() {}
}

#[test]
fn one_flooding_client_cannot_fill_the_shards_queue() {
    let (mailbox, mut inbox, _poll) = ends();
    let (session, _outputs) = session(&mailbox);
    let accepted = (0..1_000).filter(|_| session.send(Default::default()).is_ok()).count();
    assert!(accepted < MAX_COMMANDS / 10);
    assert_eq!(session.send(Default::default()), Err(SendFailure::Overloaded));
    let Some(Command::Signal { in_flight, .. }) = inbox.take() else { panic!("a signal waits") };
    in_flight.fetch_sub(1, Ordering::AcqRel);
    assert_eq!(session.send(Default::default()), Ok(()));
}

#[test]
fn a_full_queue_refuses_instead_of_growing() {
    let (mailbox, mut inbox, _poll) = ends();
    fill(&mailbox);
    let (session, _outputs) = session(&mailbox);
    assert_eq!(session.send(Default::default()), Err(SendFailure::Overloaded));
    let waiting = std::iter::from_fn(|| inbox.take()).count();
    assert_eq!(waiting, MAX_COMMANDS);
    assert_eq!(session.send(Default::default()), Ok(()));
}

#[test]
fn the_end_of_a_session_is_not_lost_in_a_full_queue() {
    let (mailbox, inbox, _poll) = ends();
    fill(&mailbox);
    let (session, outputs) = session(&mailbox);
    drop(session);
    assert!(inbox.take_sweep());
    assert!(outputs.is_closed());
    assert!(!inbox.take_sweep());
}

#[test]
fn the_end_of_the_receiver_alone_ends_the_session() {
    let (mailbox, mut inbox, _poll) = ends();
    let (session, _outputs) = session(&mailbox);
    let (_sender, receiver) = session.split();
    assert!(inbox.take().is_none());
    drop(receiver);
    assert!(matches!(inbox.take(), Some(Command::SessionClosed(SessionId(7)))));
}

#[test]
fn a_command_after_the_acknowledgement_wakes_the_loop_again() {
    let (mailbox, mut inbox, mut poll) = ends();
    let mut events = mio::Events::with_capacity(4);
    let mut woken = || {
        poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
        !events.is_empty()
    };
    assert!(mailbox.try_send(Command::SessionClosed(SessionId(1))).is_ok());
    assert!(woken());
    inbox.acknowledge();
    assert!(inbox.take().is_some());
    assert!(mailbox.try_send(Command::SessionClosed(SessionId(2))).is_ok());
    assert!(woken());
}

#[tokio::test]
async fn a_session_whose_shard_lets_go_of_it_reads_an_abort_and_then_the_end() {
    let (mailbox, _inbox, _poll) = ends();
    let (mut session, outputs) = session(&mailbox);
    drop(outputs);
    assert!(matches!(session.recv().await, Some(SessionOutput::Abort)));
    assert!(session.recv().await.is_none());
}
