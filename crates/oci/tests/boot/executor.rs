//! Tasks on a virtual clock, in an order that a seed decides. A task waits only by [`Clock::pause`]; to kill one is to
//! drop it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Milliseconds since 1970, far from its beginning.
const BEGIN_MS: u64 = 1_800_000_000_000;

struct Times {
    now_ms: u64,
    /// When the task that runs now wants to run again.
    wakes: Option<u64>,
}

/// The one clock of a simulation.
#[derive(Clone)]
pub(crate) struct Clock(Rc<RefCell<Times>>);

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock(Rc::new(RefCell::new(Times { now_ms: BEGIN_MS, wakes: None })))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.0.borrow().now_ms
    }

    /// Comes back `ms` later.
    pub(crate) fn pause(&self, ms: u64) -> Pause {
        Pause { clock: self.clone(), until: self.now_ms() + ms }
    }

    /// Never comes back: for a task that is about to be killed.
    pub(crate) async fn end_of_time(&self) {
        std::future::pending::<()>().await;
    }
}

pub(crate) struct Pause {
    clock: Clock,
    until: u64,
}

impl Future for Pause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let mut times = self.clock.0.borrow_mut();
        if times.now_ms >= self.until {
            return Poll::Ready(());
        }
        times.wakes = Some(self.until);
        Poll::Pending
    }
}

type Task<T> = Pin<Box<dyn Future<Output = T>>>;

/// What became of a task when it ran.
pub(crate) enum Ran<T> {
    Done(T),
    /// It waits.
    Paused,
    /// It waits for nothing: it was told to die.
    Dead,
}

/// Tasks by number.
pub(crate) struct Executor<T> {
    clock: Clock,
    tasks: BTreeMap<usize, (u64, Task<T>)>,
}

impl<T> Executor<T> {
    pub(crate) fn new(clock: Clock) -> Executor<T> {
        Executor { clock, tasks: BTreeMap::new() }
    }

    /// Begins at `at_ms`.
    pub(crate) fn spawn(&mut self, number: usize, at_ms: u64, task: impl Future<Output = T> + 'static) {
        self.tasks.insert(number, (at_ms, Box::pin(task)));
    }

    /// Runs whoever is next, if anybody is before `end_ms`.
    pub(crate) fn step(&mut self, end_ms: u64) -> Option<(usize, Ran<T>)> {
        let (&number, &(at, _)) = self.tasks.iter().min_by_key(|(_, (at, _))| *at)?;
        if at > end_ms {
            return None;
        }
        {
            let mut times = self.clock.0.borrow_mut();
            times.now_ms = times.now_ms.max(at);
            times.wakes = None;
        }
        let (_, mut task) = self.tasks.remove(&number)?;
        match task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some((number, Ran::Done(outcome))),
            Poll::Pending => match self.clock.0.borrow().wakes {
                Some(at) => {
                    self.tasks.insert(number, (at, task));
                    Some((number, Ran::Paused))
                }
                None => Some((number, Ran::Dead)),
            },
        }
    }
}
