//! Limits and rules of a call, the same for every store and checked before anything is sent: what one store
//! would refuse, the other must not accept.

use std::collections::HashSet;
use std::time::Duration;

use crate::api::{MAX_KEY_BYTES, MAX_TXN_BYTES, MAX_TXN_OPS};
use crate::{Error, Op, Txn};

/// Refuses what etcd would refuse: too much, or one transaction that changes the same key twice.
pub(crate) fn txn(txn: &Txn) -> Result<(), Error> {
    let mut bytes = 0;
    if txn.compares.len() > MAX_TXN_OPS || txn.ops.len() > MAX_TXN_OPS {
        return Err(Error::TooLarge {
            what: format!(
                "{} compares and {} operations, {MAX_TXN_OPS} each are allowed",
                txn.compares.len(),
                txn.ops.len()
            ),
        });
    }
    for compare in &txn.compares {
        key(&compare.key)?;
        bytes += compare.key.len();
    }
    let mut puts = HashSet::new();
    for op in &txn.ops {
        match op {
            Op::Put { key: name, value, .. } => {
                key(name)?;
                bytes += name.len() + value.len();
                if !puts.insert(name.as_str()) {
                    return Err(Error::Invalid { what: format!("one transaction puts {name} twice") });
                }
            }
            Op::Delete { key: name } => {
                key(name)?;
                bytes += name.len();
            }
            Op::DeletePrefix { prefix } => bytes += prefix.len(),
        }
    }
    for op in &txn.ops {
        let clash = match op {
            Op::Put { .. } => None,
            Op::Delete { key } => puts.get(key.as_str()),
            Op::DeletePrefix { prefix } => puts.iter().find(|put| put.starts_with(prefix.as_str())),
        };
        if let Some(put) = clash {
            return Err(Error::Invalid { what: format!("one transaction puts and deletes {put}") });
        }
    }
    if bytes > MAX_TXN_BYTES {
        return Err(Error::TooLarge {
            what: format!("a transaction of {bytes} bytes, {MAX_TXN_BYTES} are allowed"),
        });
    }
    Ok(())
}

pub(crate) fn key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::Invalid { what: "a key is empty".into() });
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(Error::TooLarge {
            what: format!("a key of {} bytes, {MAX_KEY_BYTES} are allowed", key.len()),
        });
    }
    Ok(())
}

/// Longest life of a lease that nobody keeps alive, as in etcd.
const MAX_TTL_S: u64 = 9_000_000_000;

/// Seconds of a lease, rounded up.
pub(crate) fn ttl_s(ttl: Duration) -> Result<u64, Error> {
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    if !(1..=MAX_TTL_S).contains(&seconds) {
        return Err(Error::Invalid { what: format!("a lease of {ttl:?}") });
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_contradicts_itself_is_refused() {
        assert!(txn(&Txn::new().put("a", "1").put("b", "1").delete("c").delete_prefix("c")).is_ok());
        assert!(matches!(txn(&Txn::new().put("a", "1").put("a", "2")), Err(Error::Invalid { .. })));
        assert!(matches!(txn(&Txn::new().put("a", "1").delete("a")), Err(Error::Invalid { .. })));
        assert!(matches!(txn(&Txn::new().put("a/b", "1").delete_prefix("a/")), Err(Error::Invalid { .. })));
    }

    #[test]
    fn what_etcd_would_refuse_as_too_large_is_refused() {
        assert!(matches!(txn(&Txn::new().put("a", vec![0; MAX_TXN_BYTES])), Err(Error::TooLarge { .. })));
        assert!(matches!(
            txn(&Txn::new().put("k".repeat(MAX_KEY_BYTES + 1), "")),
            Err(Error::TooLarge { .. })
        ));
        let many = (0..=MAX_TXN_OPS).fold(Txn::new(), |txn, i| txn.delete(i.to_string()));
        assert!(matches!(txn(&many), Err(Error::TooLarge { .. })));
    }
}
