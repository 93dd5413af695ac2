//! A model of the store's cluster: who is a member, who runs, whether there is a majority; and the mistakes that a
//! real one punishes, which here are panics.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use oci::boot::{Member, StoreError};

/// What a member's process is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) peer_url: String,
    pub(crate) client_url: String,
    pub(crate) cluster: String,
    pub(crate) state: String,
    pub(crate) token: String,
}

impl Settings {
    pub(crate) fn read(environment: &str) -> Settings {
        let get = |name: &str| {
            let line = environment.lines().find_map(|line| line.strip_prefix(&format!("ETCD_{name}=")));
            line.unwrap_or_else(|| panic!("no ETCD_{name} in {environment}")).to_owned()
        };
        assert_eq!(get("CLIENT_CERT_AUTH"), "true");
        assert_eq!(get("PEER_CLIENT_CERT_AUTH"), "true");
        Settings {
            name: get("NAME"),
            peer_url: get("INITIAL_ADVERTISE_PEER_URLS"),
            client_url: get("ADVERTISE_CLIENT_URLS"),
            cluster: get("INITIAL_CLUSTER"),
            state: get("INITIAL_CLUSTER_STATE"),
            token: get("INITIAL_CLUSTER_TOKEN"),
        }
    }
}

/// On a machine's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Data {
    member: u64,
    token: String,
}

#[derive(Default)]
pub(crate) struct SimEtcd {
    /// Of the one cluster, once a majority has come together.
    members: Vec<Member>,
    token: String,
    next_id: u64,
    /// Members that began as `new`, before there is a majority.
    bootstrapping: BTreeMap<Ipv4Addr, Settings>,
    running: BTreeMap<Ipv4Addr, u64>,
    pub(crate) users: Option<(String, String)>,
    pub(crate) clusters_formed: u32,
}

impl SimEtcd {
    /// A process starts. Returns the data that it leaves on the disk; an error: it exits.
    pub(crate) fn start(
        &mut self,
        at: Ipv4Addr,
        settings: &Settings,
        data: Option<&Data>,
    ) -> Result<Data, String> {
        if let Some(data) = data {
            if data.member == 0 {
                // It began, and there was no majority yet.
                self.bootstrap(at, settings);
                return Ok(data.clone());
            }
            assert_eq!(data.token, self.token, "data of another cluster was kept");
            if !self.members.iter().any(|member| member.id == data.member) {
                return Err("the member has been permanently removed from the cluster".to_owned());
            }
            self.running.insert(at, data.member);
            return Ok(data.clone());
        }
        if settings.state == "new" {
            let ours = self.members.iter().find(|member| member.peer_urls.contains(&settings.peer_url));
            return match ours {
                Some(member) if member.has_started() => {
                    Err("member has already been bootstrapped".to_owned())
                }
                _ => {
                    self.bootstrap(at, settings);
                    Ok(Data { member: 0, token: settings.token.clone() })
                }
            };
        }
        assert_eq!(settings.state, "existing");
        let known: Vec<String> = self.members.iter().flat_map(|member| member.peer_urls.clone()).collect();
        for url in &known {
            assert!(settings.cluster.contains(url.as_str()), "{} lacks {url}", settings.cluster);
        }
        assert_eq!(settings.cluster.split(',').count(), known.len(), "{}", settings.cluster);
        let ours = self.members.iter_mut().find(|member| member.peer_urls.contains(&settings.peer_url));
        let member = ours.ok_or("the cluster does not know this member")?;
        if member.has_started() {
            return Err("member has already been bootstrapped".to_owned());
        }
        member.name.clone_from(&settings.name);
        member.client_urls = vec![settings.client_url.clone()];
        self.running.insert(at, member.id);
        Ok(Data { member: member.id, token: self.token.clone() })
    }

    fn bootstrap(&mut self, at: Ipv4Addr, settings: &Settings) {
        self.bootstrapping.insert(at, settings.clone());
        if !self.members.is_empty() {
            assert_eq!(settings.token, self.token, "a second cluster begins beside the first");
            let ours = self.members.iter_mut().find(|member| member.peer_urls.contains(&settings.peer_url));
            let member = ours.expect("a member that was taken out begins a cluster of its own");
            member.client_urls = vec![settings.client_url.clone()];
            self.running.insert(at, member.id);
            return;
        }
        let all: Vec<&str> = settings.cluster.split(',').collect();
        let agreed = self.bootstrapping.values().filter(|other| other.cluster == settings.cluster).count();
        if agreed > all.len() / 2 {
            self.clusters_formed += 1;
            self.token.clone_from(&settings.token);
            for entry in all {
                let (name, url) = entry.split_once('=').unwrap();
                self.next_id += 1;
                let started = self.bootstrapping.values().find(|other| other.peer_url == url);
                self.members.push(Member {
                    id: self.next_id,
                    name: name.to_owned(),
                    peer_urls: vec![url.to_owned()],
                    client_urls: started.map(|other| vec![other.client_url.clone()]).unwrap_or_default(),
                });
            }
            for (at, settings) in &self.bootstrapping {
                let member = self.members.iter().find(|member| member.peer_urls.contains(&settings.peer_url));
                self.running.insert(*at, member.unwrap().id);
            }
        }
    }

    /// The id in `data` is only known once there is a majority.
    pub(crate) fn data_now(&self, at: Ipv4Addr, data: &Data) -> Data {
        match (data.member, self.running.get(&at)) {
            (0, Some(id)) => Data { member: *id, token: self.token.clone() },
            _ => data.clone(),
        }
    }

    pub(crate) fn stop(&mut self, at: Ipv4Addr) {
        self.running.remove(&at);
        self.bootstrapping.remove(&at);
    }

    pub(crate) fn has_leader(&self, at: Ipv4Addr) -> Result<bool, StoreError> {
        if !self.running.contains_key(&at) && !self.bootstrapping.contains_key(&at) {
            return Err(StoreError(format!("{at}: connection refused")));
        }
        Ok(self.running.contains_key(&at) && self.has_majority())
    }

    fn has_majority(&self) -> bool {
        let running = self.members.iter().filter(|member| self.runs(member)).count();
        !self.members.is_empty() && running > self.members.len() / 2
    }

    fn runs(&self, member: &Member) -> bool {
        self.running.values().any(|id| *id == member.id)
    }

    fn leader(&self, at: Ipv4Addr) -> Result<(), StoreError> {
        match self.has_leader(at)? {
            true => Ok(()),
            false => Err(StoreError("etcdserver: no leader".to_owned())),
        }
    }

    pub(crate) fn members(&self, at: Ipv4Addr) -> Result<Vec<Member>, StoreError> {
        self.leader(at).map(|()| self.members.clone())
    }

    pub(crate) fn remove(&mut self, at: Ipv4Addr, id: u64) -> Result<(), StoreError> {
        self.leader(at)?;
        let left: Vec<Member> = self.members.iter().filter(|member| member.id != id).cloned().collect();
        let running = left.iter().filter(|member| self.runs(member)).count();
        if running <= left.len() / 2 {
            return Err(StoreError(
                "etcdserver: re-configuration failed due to not enough started members".into(),
            ));
        }
        assert!(!self.running.values().any(|running| *running == id), "a member that runs was taken out");
        self.members = left;
        Ok(())
    }

    pub(crate) fn add(&mut self, at: Ipv4Addr, peer_url: &str) -> Result<(), StoreError> {
        self.leader(at)?;
        if self.members.iter().any(|member| member.peer_urls.iter().any(|url| url == peer_url)) {
            return Err(StoreError("etcdserver: Peer URLs already exists".to_owned()));
        }
        self.next_id += 1;
        self.members.push(Member {
            id: self.next_id,
            name: String::new(),
            peer_urls: vec![peer_url.to_owned()],
            client_urls: Vec::new(),
        });
        assert!(self.has_majority(), "the new member took the majority away");
        Ok(())
    }

    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn all_run(&self) -> bool {
        self.members.iter().all(|member| self.runs(member))
    }

    pub(crate) fn require_leader(&self, at: Ipv4Addr) -> Result<(), StoreError> {
        self.leader(at)
    }
}

impl SimEtcd {
    /// Once there are users, only root may see and change members.
    pub(crate) fn require_root(&self, password: &str) -> Result<(), StoreError> {
        match &self.users {
            Some((root, _)) if root != password => {
                Err(StoreError("etcdserver: authentication failed, invalid user ID or password".to_owned()))
            }
            _ => Ok(()),
        }
    }
}
