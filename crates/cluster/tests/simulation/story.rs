//! One seed's story: a quiet start, a time of faults, and a quiet end in which everything must come right.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::control::{Input, RequestId};

use super::clients::Where;
use super::world::{Event, MS, State, World};

const QUIET_START: Duration = Duration::from_secs(3);
const FAULTS: Duration = Duration::from_secs(15);

/// By then all must be well after the last fault: leases end within 5 s, masters that were cut off count as
/// silent for 3 s more, a client asks again every few hundred milliseconds, a drain has 20 s.
const RECOVERY: Duration = Duration::from_secs(21);

/// Tells the story of `seed`; an error says what went wrong.
pub(crate) fn tell(seed: u64, verbose: bool) -> Result<(), String> {
    let mut world = World::new(seed, verbose);
    world.at(QUIET_START, Event::Fault);
    let faults_end = world.start + QUIET_START + FAULTS;
    world.run_until(faults_end, &mut |world| {
        fault(world);
        // Some stories are calm with one fault at a time, others pile them up.
        let next = MS * world.rng.u32(100..[700, 1500, 3000][world.seed as usize % 3]);
        world.at(next, Event::Fault);
    });
    calm(&mut world);
    let mut problem = None;
    for _ in 0..RECOVERY.as_secs() {
        let next = world.now + MS * 1000;
        world.run_until(next, &mut |_| {});
        problem = check_recovery(&world);
        if problem.is_none() {
            break;
        }
    }
    if let Some(problem) = problem {
        world.fail(problem);
    }
    world.failure.map_or(Ok(()), Err)
}

fn fault(world: &mut World) {
    let process = world.rng.usize(..world.processes.len());
    match world.rng.u8(..22) {
        0..=2 => {
            world.crash(process);
            let down = MS * world.rng.u32(50..8000);
            world.at(down, Event::Start { process });
        }
        3..=5 => {
            let pause = MS * world.rng.u32(100..6000);
            world.freeze(process, pause);
        }
        // One process alone, in both directions or in one.
        6..=8 => {
            let (out, inward) = match world.rng.u8(..3) {
                0 => (true, false),
                1 => (false, true),
                _ => (true, true),
            };
            world.note(|| format!("CUT {process} out {out} in {inward}"));
            for other in (0..world.processes.len()).filter(|other| *other != process) {
                if out {
                    world.cut.insert((process, other));
                }
                if inward {
                    world.cut.insert((other, process));
                }
            }
        }
        // In two halves.
        9 => {
            let side: Vec<bool> = (0..world.processes.len()).map(|_| world.rng.bool()).collect();
            world.note(|| format!("SPLIT {side:?}"));
            for a in 0..side.len() {
                for b in (0..side.len()).filter(|b| side[a] != side[*b]) {
                    world.cut.insert((a, b));
                }
            }
        }
        // One link.
        10..=11 => {
            let other = world.rng.usize(..world.processes.len());
            world.note(|| format!("CUT LINK {process} {other}"));
            if other != process {
                world.cut.insert((process, other));
                world.cut.insert((other, process));
            }
        }
        12..=13 => {
            let slow = MS * world.rng.u32(50..1500);
            world.note(|| format!("SLOW {process} {slow:?}"));
            for other in 0..world.processes.len() {
                world.slow.insert((process, other), slow);
                world.slow.insert((other, process), slow);
            }
        }
        14 => {
            world.store_down = !world.store_down;
            let down = world.store_down;
            world.note(|| format!("STORE down {down}"));
        }
        15 => world.store_flaky = !world.store_flaky,
        16 => world.wall_skew_ms += world.rng.i64(-3_600_000..3_600_000),
        17 => world.processes[process].watch_delay = MS * world.rng.u32(0..2500),
        18 => drain(world, process),
        19 => {
            let master = world.rng.usize(..world.masters);
            let node = world.processes[process].id.clone();
            let life = world.processes[master].life;
            world.input(master, life, Input::CancelDrain { id: RequestId(0), node });
        }
        _ => {
            world.note(|| "HEAL".into());
            world.heal();
        }
    }
    for client in &mut world.clients.list {
        if world.rng.u8(..6) == 0 {
            client.wants = !client.wants;
        }
    }
}

fn drain(world: &mut World, process: usize) {
    let master = world.rng.usize(..world.masters);
    let node = world.processes[process].id.clone();
    // One at a time, as an operator would: somewhere the rooms have to go.
    let other = world.drains().iter().any(|drained| *drained != node);
    if other || process < world.masters {
        return;
    }
    world.note(|| format!("DRAIN {node}"));
    let (life, deadline) = (world.processes[master].life, MS * world.rng.u32(2000..20_000));
    world.input(master, life, Input::Drain { id: RequestId(0), node, deadline, by: "test".into() });
}

/// The end of all faults.
fn calm(world: &mut World) {
    world.note(|| "CALM".into());
    world.heal();
    world.store_down = false;
    world.store_flaky = false;
    for process in 0..world.processes.len() {
        world.processes[process].watch_delay = Duration::ZERO;
        match world.processes[process].state {
            State::Running => {}
            State::Frozen => {
                let life = world.processes[process].life;
                world.at(MS, Event::Thaw { process, life });
            }
            State::Down => world.at(MS, Event::Start { process }),
        }
    }
}

/// What is still wrong.
fn check_recovery(world: &World) -> Option<String> {
    let wanted: BTreeSet<&str> =
        world.clients.list.iter().filter(|client| client.wants).map(|client| &*client.room).collect();
    for room in wanted {
        let servers = world.servers(room);
        let [(server, _)] = servers[..] else {
            return Some(format!("room {room} has participants and is served by {servers:?}"));
        };
        let elsewhere = world.clients.list.iter().enumerate().find(|(_, client)| {
            client.wants
                && client.room == room
                && !matches!(client.at, Where::In { process, .. } if process == server)
        });
        if let Some((n, client)) = elsewhere {
            return Some(format!(
                "room {room} is served by {servers:?}, but client {n} is at {:?}",
                client.at
            ));
        }
    }
    // Every drain has ended: the longest had its deadline 20 s after the last fault at most.
    world.drains().into_iter().find_map(|node| {
        let member = world.processes[world.index(&node)?].member.as_ref()?;
        let held = member.held().count();
        (held > 0).then(|| format!("node {node} is draining and still holds {held} rooms"))
    })
}
