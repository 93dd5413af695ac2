//! Both stores: the same suite on each, then the faults that only one of them can have. The etcd tests start
//! real members; they need `etcd` and `etcdctl` (`apt-get install etcd-server etcd-client`).

mod embedded;
mod embedded_faults;
mod etcd;
mod etcd_faults;
mod suite;
mod support;
