//! Scaling with everything real but the cloud and the cluster: four masters, the function in its container, a drain
//! watcher, against the simulator, whose time runs thirty times faster. One story, told in order, because its parts
//! follow from each other.
//!
//! This program is the function's container, too: the simulator starts it with the argument `function`.

mod world;

use std::time::Duration;

use oci::drain_watch::state::{Look, Pace as WatchPace};
use oci::drain_watch::{Here, Watcher};
use oci::scaling::fn_server::FnServer;
use oci::scaling::function::{ScalingFunction, Settings};
use oci::scaling::lock::client::LockObject;
use oci::scaling::lock::race::Lost;
use oci::scaling::lock::{Refusal, SCALE_OUT, Terms};
use oci::scaling::wire::{Ask, Decision};
use oci::{Cloud, Ocid};

use world::{CYCLE, FakeNode, World};

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match std::env::args().nth(1).as_deref() {
        Some("function") => runtime.block_on(function()),
        // What `cargo test` asks of all test programs.
        Some("--list") => println!("scaling: test"),
        Some(filter) if !filter.starts_with('-') && !"scaling".contains(filter) => {}
        _ => runtime.block_on(story()),
    }
}

/// As `sala oci function` does.
async fn function() {
    let set = |name: &str| std::env::var(name).ok();
    let server = FnServer::bind("http-stream", &set("FN_LISTENER").expect("FN_LISTENER")).expect("a socket");
    let settings = Settings::read(set).expect("settings");
    let function = ScalingFunction::new(Cloud::in_function().expect("a resource principal"), settings);
    server
        .serve(move |call| {
            let function = function.clone();
            async move { function.call(&call).await }
        })
        .await;
}

async fn story() {
    let world = World::new().await;
    let [a, b, c] = world.members().await.try_into().expect("three media nodes");
    for (id, participants) in [(&a, 12), (&b, 2), (&c, 30)] {
        world.registry.put(id, participants, 0.3);
    }

    step("a lock is taken by one of two, with a store that makes it first");
    one_of_two_has_the_lock(&world).await;

    step("nobody is removed whom the others cannot carry, and the function says so");
    let _masters = world.masters();
    // Whoever has just started stays for that alone, and on a fast machine the first call finds them so.
    let of_grown = async || {
        let calls = world.scale_ins().await;
        calls.into_iter().find(|call| !call.answer.reason.contains("the grace period"))
    };
    world.until("a call on grown nodes", async || of_grown().await.is_some()).await;
    let call = of_grown().await.expect("just seen");
    assert_eq!(call.answer.decision, Decision::Kept, "{call:?}");
    let why = ["without one of 3 nodes CPU would be 45 %", "Monitoring has no CPU"];
    assert!(why.iter().any(|why| call.answer.reason.contains(why)), "{call:?}");
    assert_eq!(world.members().await.len(), 3);

    step("the emptiest node leaves the pool");
    for (id, participants) in [(&a, 12), (&b, 2), (&c, 30)] {
        world.registry.put(id, participants, 0.05);
    }
    world.until("one node fewer", async || world.members().await.len() == 2).await;
    assert!(!world.members().await.contains(&b));
    let instance = world.instance(&b).await;
    assert_eq!(instance["state"], "RUNNING");
    assert!(instance["freeformTags"]["sala-draining"].as_str().is_some_and(|at| at.parse::<u64>().is_ok()));

    step("nobody but itself has it ended, and no node that is in the pool");
    let foreign = world.ask_as(&c, &Ask::Terminate { instance_id: b.clone() }).await;
    assert_eq!(foreign.decision, Decision::Refused, "{foreign:?}");
    let pooled = world.ask_as(&c, &Ask::Terminate { instance_id: c.clone() }).await;
    assert_eq!(pooled.decision, Decision::Kept, "{pooled:?}");
    let sweep = world.ask_as(&c, &Ask::Sweep { instance_ids: vec![b.clone()] }).await;
    assert_eq!(sweep.decision, Decision::Refused, "{sweep:?}");
    let in_pool = world.ask_as(&world.master(0), &Ask::Sweep { instance_ids: vec![c.clone()] }).await;
    assert_eq!(in_pool.decision, Decision::Kept, "{in_pool:?}");
    for id in [&b, &c] {
        assert_eq!(world.instance(id).await["state"], "RUNNING");
    }

    step("its node drains, and the instance ends when the last room has left, not before");
    world.registry.put(&b, 2, 0.05);
    let node = FakeNode::new(world.registry.clone(), b.clone());
    let watcher = watcher(&world, &b, node.clone()).await;
    let watching =
        tokio::spawn(async move { watcher.run(WatchPace { look: Duration::from_millis(200) }).await });
    world.until("looks at the drain", async || node.looks() >= 5).await;
    assert!(world.registry.is_draining(&b));
    assert_eq!(world.instance(&b).await["state"], "RUNNING", "it still has a room");
    node.set(Look::Known { draining: true, rooms: 0, participants: 0 });
    world.until("its end", async || world.is_gone(&b).await).await;
    watching.abort();
    world.registry.remove(&b);

    step("a node that dies while it leaves is ended by the masters; the last node of the minimum stays");
    world.until("the next removal", async || world.members().await == [c.clone()]).await;
    world.registry.remove(&a);
    assert_eq!(world.instance(&a).await["state"], "RUNNING");
    world.until("the end of the orphan", async || world.is_gone(&a).await).await;
    let calls = world.scale_ins().await.len();
    world.until("two more calls", async || world.scale_ins().await.len() >= calls + 2).await;
    assert_eq!(world.members().await, std::slice::from_ref(&c));

    step("need raises the pool's size, to the maximum at most");
    world.registry.put(&c, 60, 0.95);
    world.until("a node more", async || world.pool()["size"] == 2).await;
    world.until("it", async || world.members().await.len() == 2).await;
    let calls = world.scale_ins().await.len();
    world.until("two more calls", async || world.scale_ins().await.len() >= calls + 2).await;
    assert_eq!(world.pool()["size"], 2, "the maximum");
    let held = world.scale_ins().await.last().expect("calls").clone();
    assert_eq!(held.answer.decision, Decision::Kept, "{held:?}");

    step("all the time one call per cycle");
    let calls = world.scale_ins().await;
    for pair in calls.windows(2) {
        let apart_ms = pair[1].unix_ms - pair[0].unix_ms;
        // The lock lives a cycle here, and is taken anew within jitter.
        assert!(apart_ms >= CYCLE.as_millis() as i64 - 3_000, "{apart_ms} ms between two calls: {pair:?}");
    }
    assert!(calls.iter().all(|call| call.by_instance && call.answer.decision != Decision::Refused));
    println!("test scaling ... ok");
}

fn step(what: &str) {
    println!("  {what}");
}

async fn one_of_two_has_the_lock(world: &World) {
    let lock = async |n: usize| {
        let cloud = world.cloud_of(&world.master(n)).await;
        LockObject::new(&cloud, world.bucket(), SCALE_OUT, Duration::from_secs(5))
    };
    let (one, two) = (lock(0).await, lock(1).await);
    let terms = Terms::SCALE_OUT;
    let (first, second) = tokio::join!(one.take("m1", terms), two.take("m2", terms));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    let holder = if first.is_ok() { "m1" } else { "m2" };
    let refused = one.take("m3", terms).await;
    assert!(
        matches!(&refused, Err(Lost::Refused(Refusal::HeldBy { holder: held, .. })) if held == holder),
        "{refused:?}"
    );
}

async fn watcher(world: &World, id: &Ocid, node: FakeNode) -> Watcher<FakeNode> {
    let imds = world.imds_of(id).await;
    let here = Here::read(&imds).await.expect("metadata");
    Watcher::new(world.cloud_of(id).await, imds, node, here)
}
