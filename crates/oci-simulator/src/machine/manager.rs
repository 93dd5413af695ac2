//! All units of a machine.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::dependencies::{closure, full_name, layers, order};
use super::service::{Order, Phase, Service, Status};
use super::spawn::Host;
use super::unit_file::{self, UnitFile};

/// What is asked of the machine as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Power {
    On,
    Off,
    Reboot,
}

/// Units known to a machine.
const MAX_UNITS: usize = 200;

pub(super) struct Manager {
    pub(super) host: Arc<Host>,
    /// As read last.
    files: Arc<std::sync::Mutex<BTreeMap<String, UnitFile>>>,
    services: Mutex<BTreeMap<String, Service>>,
    orders: AtomicU64,
    pub(super) power: watch::Sender<Power>,
}

impl Manager {
    pub(super) fn new(host: Arc<Host>) -> Manager {
        Manager {
            host,
            files: Arc::default(),
            services: Mutex::default(),
            orders: AtomicU64::new(0),
            power: watch::Sender::new(Power::On),
        }
    }

    /// Forgets what files said, so that they are read again.
    pub(super) fn reload_files(&self) {
        self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// What a unit's files said when they were read.
    pub(super) fn file(&self, unit: &str) -> Option<UnitFile> {
        read(&self.files, &self.host, unit)
    }

    /// The service, made if there is such a unit.
    async fn service(&self, unit: &str) -> Option<Service> {
        let mut services = self.services.lock().await;
        if let Some(service) = services.get(unit) {
            return Some(service.clone());
        }
        self.file(unit)?;
        if services.len() >= MAX_UNITS {
            return None;
        }
        let (files, host, name) = (self.files.clone(), self.host.clone(), unit.to_owned());
        let service = Service::new(self.host.clone(), unit.to_owned(), move || read(&files, &host, &name));
        services.insert(unit.to_owned(), service.clone());
        Some(service)
    }

    pub(super) async fn status(&self, unit: &str) -> Option<Status> {
        Some(self.service(unit).await?.status.borrow().clone())
    }

    /// Starts units and what they need, in order. A restart ends them first, what starts last before the others. With
    /// `wait` until that is done.
    ///
    /// # Errors
    /// As `systemctl` says them.
    pub(super) async fn start(
        self: &Arc<Self>,
        units: &[String],
        how: Order,
        wait: bool,
    ) -> Result<(), String> {
        let units: Vec<String> = units.iter().filter(|unit| !unit.ends_with(".target")).cloned().collect();
        if let Some(unit) = units.iter().find(|unit| self.file(unit).is_none()) {
            return Err(format!("Failed to start {unit}: Unit {unit} not found."));
        }
        let manager = self.clone();
        let job = tokio::spawn(async move { manager.start_all(&units, how).await });
        if !wait {
            return Ok(());
        }
        job.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn start_all(&self, asked: &[String], how: Order) -> Result<(), String> {
        let units = closure(asked, &|name| self.file(name));
        let layers = layers(order(&units));
        // Of one unit the order itself ends it.
        let how = if how == Order::Restart && asked.len() > 1 {
            for name in layers.iter().rev().flatten().filter(|name| asked.contains(name)) {
                self.tell(name, Order::Stop, true).await?;
            }
            Order::Start
        } else {
            how
        };
        let mut failed: Vec<String> = Vec::new();
        for layer in layers {
            let mut jobs = JoinSet::new();
            for name in layer {
                let needs = ["Requires", "BindsTo"].map(|key| units[&name].words("Unit", key)).concat();
                if needs.iter().any(|need| failed.contains(need)) {
                    failed.push(name);
                    continue;
                }
                let Some(service) = self.service(&name).await else { continue };
                let order = if asked.contains(&name) { how } else { Order::Start };
                let number = self.orders.fetch_add(1, Ordering::Relaxed) + 1;
                jobs.spawn(async move {
                    service.order(order, number).await;
                    (name, service.done(number).await)
                });
            }
            while let Some(Ok((name, status))) = jobs.join_next().await {
                if status.phase == Phase::Failed || status.sub == "auto-restart" {
                    failed.push(name);
                }
            }
        }
        if let Some(unit) = failed.iter().find(|name| asked.contains(name)) {
            return Err(format!(
                "Job for {unit} failed.\nSee \"systemctl status {unit}\" and \"journalctl -u {unit}\" for details."
            ));
        }
        Ok(())
    }

    /// An order to one unit alone. A unit that was never started has nothing to do.
    pub(super) async fn tell(&self, unit: &str, order: Order, wait: bool) -> Result<(), String> {
        if unit.ends_with(".target") {
            return Ok(());
        }
        let Some(service) = self.service(unit).await else {
            return Err(format!("Unit {unit} not loaded."));
        };
        let number = self.orders.fetch_add(1, Ordering::Relaxed) + 1;
        service.order(order, number).await;
        if wait {
            service.done(number).await;
        }
        Ok(())
    }

    /// Stops everything, what came last first.
    pub(super) async fn stop_all(&self) {
        let services = self.services.lock().await.clone();
        let running = services
            .into_iter()
            .filter(|(_, service)| !matches!(service.status.borrow().phase, Phase::Inactive | Phase::Failed));
        let running: BTreeMap<String, Service> = running.collect();
        let files = running.keys().filter_map(|name| Some((name.clone(), self.file(name)?))).collect();
        for layer in layers(order(&files)).into_iter().rev() {
            let mut jobs = JoinSet::new();
            for service in layer.iter().filter_map(|name| running.get(name).cloned()) {
                let number = self.orders.fetch_add(1, Ordering::Relaxed) + 1;
                jobs.spawn(async move {
                    service.order(Order::Stop, number).await;
                    service.done(number).await;
                });
            }
            jobs.join_all().await;
        }
    }

    /// Names of those that ever ran, with what they do.
    pub(super) async fn all(&self) -> Vec<(String, Status)> {
        let services = self.services.lock().await;
        services.iter().map(|(name, service)| (name.clone(), service.status.borrow().clone())).collect()
    }

    /// Links a unit into its targets.
    ///
    /// # Errors
    /// When there is no such unit, or links cannot be made.
    pub(super) fn enable(&self, unit: &str) -> Result<(), String> {
        let file = UnitFile::load(&self.host.root, unit);
        let file = file.ok_or_else(|| format!("Failed to enable unit: Unit file {unit} does not exist."))?;
        for target in file.words("Install", "WantedBy") {
            let wants = unit_file::directory(&self.host.root).join(format!("{target}.wants"));
            std::fs::create_dir_all(&wants).map_err(|error| error.to_string())?;
            let link = wants.join(unit);
            let _ = std::fs::remove_file(&link);
            symlink(format!("../{unit}"), link).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Takes a unit's links away.
    pub(super) fn disable(&self, unit: &str) {
        for wants in self.wants() {
            let _ = std::fs::remove_file(wants.join(unit));
        }
    }

    pub(super) fn is_enabled(&self, unit: &str) -> bool {
        self.wants().iter().any(|wants| wants.join(unit).symlink_metadata().is_ok())
    }

    fn wants(&self) -> Vec<std::path::PathBuf> {
        let entries =
            std::fs::read_dir(unit_file::directory(&self.host.root)).into_iter().flatten().flatten();
        let mut out: Vec<_> = entries.map(|entry| entry.path()).collect();
        out.retain(|path| path.extension().is_some_and(|extension| extension == "wants"));
        out
    }

    /// What starts with the machine.
    pub(super) fn enabled(&self) -> Vec<String> {
        let wants = unit_file::directory(&self.host.root).join("multi-user.target.wants");
        let entries = std::fs::read_dir(wants).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .map(|name| full_name(&name))
            .collect()
    }
}

fn read(files: &std::sync::Mutex<BTreeMap<String, UnitFile>>, host: &Host, unit: &str) -> Option<UnitFile> {
    let mut files = files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(file) = files.get(unit) {
        return Some(file.clone());
    }
    let file = UnitFile::load(&host.root, unit)?;
    files.insert(unit.to_owned(), file.clone());
    Some(file)
}
