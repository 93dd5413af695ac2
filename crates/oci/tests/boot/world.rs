//! A tenancy with one stack in it: what the machines of a simulation share, and what each has of its own.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::rc::Rc;

use oci::boot::{ApiError, Facts, Key, Line, StoreError, Unit, boot};

use crate::cloud::SimApi;
use crate::etcd::{Data, Settings, SimEtcd};
use crate::executor::{Clock, Executor, Ran};
use crate::host::SimHost;
use crate::vault::SimVault;

pub(crate) const GENERATION: &str = "gen-2";
pub(crate) const STACK: &str = "acme";
/// A run that takes longer has stopped for good.
const HOURS_MS: u64 = 3_600_000;

/// How the cloud misbehaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Calls in a hundred that fail without effect, and as many whose answer is lost.
    pub(crate) errors: u32,
    /// Calls in a thousand after which a machine stands still for up to ten minutes.
    pub(crate) stalls: u32,
    /// Reads of the Vault show what was there up to so long ago.
    pub(crate) lag_ms: u64,
}

/// Kill a boot at its n-th call, before or after it had its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    pub(crate) at: u64,
    pub(crate) after: bool,
    /// The whole machine goes down, with its store's member.
    pub(crate) machine: bool,
}

pub(crate) struct SimMachine {
    pub(crate) facts: Facts,
    pub(crate) files: BTreeMap<String, (Vec<u8>, u32)>,
    pub(crate) data: Option<Data>,
    pub(crate) node_starts: u32,
    pub(crate) calls: u64,
    pub(crate) crash: Option<Crash>,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct State {
    pub(crate) rng: fastrand::Rng,
    pub(crate) faults: Faults,
    pub(crate) vault: SimVault,
    pub(crate) objects: BTreeMap<String, (Vec<u8>, u64)>,
    pub(crate) keys: Vec<(Key, String, u64)>,
    pub(crate) policies_ms: u64,
    pub(crate) vault_ms: u64,
    pub(crate) endpoint_ms: u64,
    pub(crate) balancer_ms: u64,
    pub(crate) etcd: SimEtcd,
    pub(crate) machines: BTreeMap<usize, SimMachine>,
    pub(crate) serial: u64,
}

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) state: Rc<RefCell<State>>,
}

/// What a machine's boots did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) succeeded: BTreeSet<usize>,
    pub(crate) failures: Vec<(usize, String)>,
}

impl World {
    /// Four masters that have not booted yet, in a cloud where everything is there at once.
    pub(crate) fn new(seed: u64) -> World {
        let machines = (1..=4).map(|number| (number, SimMachine::new(master(number)))).collect();
        let state = State {
            rng: fastrand::Rng::with_seed(seed),
            faults: Faults::default(),
            vault: SimVault::default(),
            objects: BTreeMap::new(),
            keys: Vec::new(),
            policies_ms: 0,
            vault_ms: 0,
            endpoint_ms: 0,
            balancer_ms: 0,
            etcd: SimEtcd::default(),
            machines,
            serial: 0,
        };
        World { clock: Clock::new(), state: Rc::new(RefCell::new(state)) }
    }

    /// As after `terraform apply`: everything comes some minutes late.
    pub(crate) fn with_delays(self) -> World {
        let now = self.clock.now_ms();
        let mut state = self.state.borrow_mut();
        let mut late = |most_s: u64| now + 1000 * state.rng.u64(0..most_s);
        let [policies, vault, endpoint, balancer] = [late(180), late(120), late(600), late(600)];
        state.policies_ms = policies;
        state.vault_ms = vault;
        state.endpoint_ms = endpoint;
        state.balancer_ms = balancer;
        drop(state);
        self
    }

    pub(crate) fn with_faults(self, faults: Faults) -> World {
        self.state.borrow_mut().faults = faults;
        self
    }

    pub(crate) fn random(&self, range: std::ops::Range<u64>) -> u64 {
        self.state.borrow_mut().rng.u64(range)
    }

    pub(crate) fn set(&self, machine: usize, key: &str, value: &str) {
        let mut state = self.state.borrow_mut();
        let metadata = &mut state.machines.get_mut(&machine).unwrap().facts.metadata;
        metadata.insert(key.to_owned(), value.to_owned());
    }

    pub(crate) fn set_on_masters(&self, key: &str, value: &str) {
        (1..=4).for_each(|master| self.set(master, key, value));
    }

    /// Which call of which machine kills it.
    pub(crate) fn crash(&self, machine: usize, crash: Crash) {
        let mut state = self.state.borrow_mut();
        let machine = state.machines.get_mut(&machine).unwrap();
        machine.crash = Some(Crash { at: machine.calls + crash.at, ..crash });
    }

    pub(crate) fn add_media(&self, number: usize) {
        self.state.borrow_mut().machines.insert(number, SimMachine::new(media(number)));
    }

    /// The instance is replaced by a new one of the same number and address.
    pub(crate) fn rebuild(&self, number: usize) {
        let mut state = self.state.borrow_mut();
        let facts = state.machines[&number].facts.clone();
        if let Some(address) = facts.private_address {
            state.etcd.stop(address);
        }
        state.machines.insert(number, SimMachine::new(facts));
    }

    /// Boots these machines until each has succeeded; what fails is started anew, as systemd does.
    pub(crate) fn boot(&self, machines: &[usize]) -> Outcome {
        self.boot_with(machines, 120_000, 8)
    }

    pub(crate) fn boot_once(&self, machine: usize) -> Result<(), String> {
        let outcome = self.boot_with(&[machine], 1, 0);
        match outcome.failures.into_iter().next() {
            Some((_, failure)) => Err(failure),
            None => Ok(()),
        }
    }

    fn boot_with(&self, machines: &[usize], spread_ms: u64, restarts: usize) -> Outcome {
        let mut executor = Executor::new(self.clock.clone());
        let begin = self.clock.now_ms();
        for machine in machines {
            executor.spawn(*machine, begin + self.random(0..spread_ms), self.task(*machine));
        }
        let mut outcome = Outcome::default();
        while let Some((machine, ran)) = executor.step(begin + 4 * HOURS_MS) {
            let now = self.clock.now_ms();
            match ran {
                Ran::Paused => {}
                Ran::Done(Ok(())) => drop(outcome.succeeded.insert(machine)),
                Ran::Done(Err(failure)) => {
                    outcome.failures.push((machine, failure));
                    if outcome.failures.len() <= restarts {
                        executor.spawn(machine, now + 30_000, self.task(machine));
                    }
                }
                Ran::Dead => {
                    self.after_crash(machine);
                    executor.spawn(machine, now + self.random(1_000..60_000), self.task(machine));
                }
            }
        }
        outcome
    }

    fn task(&self, machine: usize) -> impl Future<Output = Result<(), String>> + 'static {
        let api = SimApi { world: self.clone(), machine };
        let host = SimHost { world: self.clone(), machine };
        async move { boot(&api, &host).await.map_err(|error| error.to_string()) }
    }

    /// The machine comes up again; units that were enabled start.
    fn after_crash(&self, number: usize) {
        let mut state = self.state.borrow_mut();
        let crash = state.machines.get_mut(&number).unwrap().crash.take();
        if crash.is_some_and(|crash| crash.machine) {
            let address = state.machines[&number].address();
            state.keep_data(number);
            state.etcd.stop(address);
            drop(state);
            let _ = self.start_store(number);
        }
    }

    /// What systemd does with sala-etcd.service.
    pub(crate) fn start_store(&self, number: usize) -> Result<(), String> {
        let mut state = self.state.borrow_mut();
        let machine = &state.machines[&number];
        let Some((environment, _)) = machine.files.get("/etc/sala/etcd.env") else { return Ok(()) };
        let settings = Settings::read(&String::from_utf8_lossy(environment));
        let (address, data) = (machine.address(), machine.data.clone());
        let data = data.map(|data| state.etcd.data_now(address, &data));
        let started = state.etcd.start(address, &settings, data.as_ref())?;
        state.machines.get_mut(&number).unwrap().data = Some(started);
        Ok(())
    }

    /// One call of a machine to the cloud or to its own parts: takes time, may fail, may be its last.
    pub(crate) async fn call<T, E: Fault>(
        &self,
        number: usize,
        effect: impl FnOnce(&mut State, u64) -> Result<T, E>,
    ) -> Result<T, E> {
        let (crash, pause, fails, answer_lost) = {
            let mut state = self.state.borrow_mut();
            let faults = state.faults;
            let machine = state.machines.get_mut(&number).unwrap();
            machine.calls += 1;
            let crash = machine.crash.filter(|crash| crash.at == machine.calls);
            let stalls = state.rng.u32(0..1000) < faults.stalls;
            let pause = if stalls { state.rng.u64(0..600_000) } else { state.rng.u64(5..400) };
            let fails = state.rng.u32(0..100) < faults.errors;
            (crash, pause, fails, state.rng.u32(0..100) < faults.errors)
        };
        if crash.is_some_and(|crash| !crash.after) {
            self.clock.end_of_time().await;
        }
        self.clock.pause(pause).await;
        if fails && let Some(error) = E::unavailable() {
            return Err(error);
        }
        let outcome = effect(&mut self.state.borrow_mut(), self.clock.now_ms());
        if crash.is_some() {
            self.clock.end_of_time().await;
        }
        if answer_lost && let Some(error) = E::unavailable() {
            return Err(error);
        }
        outcome
    }

    pub(crate) fn file(&self, machine: usize, path: &str) -> String {
        let state = self.state.borrow();
        let machine = &state.machines[&machine];
        let (content, _) = machine.files.get(path).unwrap_or_else(|| panic!("no {path}"));
        String::from_utf8(content.clone()).unwrap()
    }

    pub(crate) fn lines(&self, machine: usize) -> Vec<String> {
        let state = self.state.borrow();
        let text = |line: &Line| match line {
            Line::Step(text) | Line::Wait(text) | Line::Warning(text) => text.clone(),
        };
        state.machines[&machine].lines.iter().map(text).collect()
    }

    pub(crate) fn node_starts(&self, machine: usize) -> u32 {
        self.state.borrow().machines[&machine].node_starts
    }

    pub(crate) fn vault_value(&self, name: &str) -> Option<String> {
        self.state.borrow().vault.value(name).map(str::to_owned)
    }

    pub(crate) fn edit(&self, name: &str, value: &str) {
        let now = self.clock.now_ms();
        self.state.borrow_mut().vault.edit(name, value, now);
    }
}

impl State {
    /// The member's id, which the disk has as soon as there is one.
    pub(crate) fn keep_data(&mut self, number: usize) {
        let machine = &self.machines[&number];
        if let Some(data) = &machine.data {
            let data = self.etcd.data_now(machine.address(), data);
            self.machines.get_mut(&number).unwrap().data = Some(data);
        }
    }

    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(crate) fn run_unit(&mut self, number: usize, unit: Unit) {
        let machine = self.machines.get_mut(&number).unwrap();
        if unit == Unit::Node {
            assert!(
                machine.files.contains_key("/etc/sala/sala.yaml"),
                "a node was started without a configuration"
            );
            machine.node_starts += 1;
        }
    }
}

impl SimMachine {
    fn new(facts: Facts) -> SimMachine {
        SimMachine {
            facts,
            files: BTreeMap::new(),
            data: None,
            node_starts: 0,
            calls: 0,
            crash: None,
            lines: Vec::new(),
        }
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.facts.private_address.unwrap()
    }
}

/// What a call fails with when the cloud does not answer; `None`: such calls do not fail.
pub(crate) trait Fault: Sized {
    fn unavailable() -> Option<Self>;
}

impl Fault for ApiError {
    fn unavailable() -> Option<ApiError> {
        Some(ApiError::Unavailable("503 ServiceUnavailable".to_owned()))
    }
}

impl Fault for StoreError {
    fn unavailable() -> Option<StoreError> {
        Some(StoreError("no answer".to_owned()))
    }
}

impl Fault for oci::boot::HostError {
    fn unavailable() -> Option<oci::boot::HostError> {
        None
    }
}

fn facts(number: usize, role: &str, more: &[(&str, &str)]) -> Facts {
    let both = [
        ("salaRole", role),
        ("stackName", STACK),
        ("deploymentGeneration", GENERATION),
        ("tenancyOcid", "ocid1.tenancy.oc1..t"),
        ("compartmentOcid", "ocid1.compartment.oc1..c"),
        ("vaultOcid", "ocid1.vault.oc1..v"),
        ("keyOcid", ""),
        ("objectStorageNamespace", "ns"),
        ("bucketAppData", "acme-appdata"),
        ("bucketClusterData", "acme-clusterdata"),
    ];
    let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Facts {
        instance: format!("ocid1.instance.oc1..machine{number}"),
        display_name: format!("{STACK}-{role}-{number}"),
        region: "eu-frankfurt-1".to_owned(),
        metadata: both.iter().chain(more).map(entry).collect(),
        vnic: format!("ocid1.vnic.oc1..{number}"),
        private_address: Some(Ipv4Addr::new(10, 0, 0, 10 + number as u8)),
    }
}

fn master(number: usize) -> Facts {
    let own = number.to_string();
    facts(
        number,
        "master",
        &[
            ("masterNodeNum", own.as_str()),
            ("nlbOcid", "ocid1.networkloadbalancer.oc1..n"),
            ("domainName", ""),
            ("certificateType", "letsencrypt"),
            ("ownPublicCertificate", ""),
            ("ownPrivateCertificate", ""),
            ("rtcEngine", "pion"),
            ("initialMeetAdminPassword", ""),
            ("initialMeetApiKey", ""),
            ("additionalInstallFlags", ""),
            ("acmeDirectoryUrl", ""),
        ],
    )
}

fn media(number: usize) -> Facts {
    facts(number, "media", &[("mastersPrivateIps", "10.0.0.11,10.0.0.12,10.0.0.13,10.0.0.14")])
}
