//! Who calls the function. Oracle's service checks the caller's signature and writes who it was into the headers
//! `oci-subject-type` and `oci-subject-id` of the call; a caller cannot set them.

use std::fmt;

use http::HeaderMap;

use crate::Ocid;

const TYPE: &str = "oci-subject-type";
const ID: &str = "oci-subject-id";

/// An authenticated caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    Instance(Ocid),
    /// A user, a service, another resource.
    Other {
        kind: String,
        id: String,
    },
}

/// Why a caller may not have what it asks for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    #[error(
        "the call has no single {0} header; call the function through Oracle's service, which writes who calls"
    )]
    Unknown(&'static str),
    #[error(
        "{caller} asked to end {asked}; a media node can only end itself, and users end instances with Oracle's own tools"
    )]
    NotItself { caller: Subject, asked: Ocid },
    #[error(
        "{0} is none of the masters that MASTER_INSTANCE_OCIDS names; only they may ask for this. \
         After masters were replaced run `terraform apply`"
    )]
    NotAMaster(Subject),
}

impl Subject {
    /// Reads the headers.
    pub fn of(headers: &HeaderMap) -> Result<Subject, Denied> {
        let one = |name: &'static str| {
            let mut values = headers.get_all(name).iter();
            match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
                (Some(value), None) if !value.trim().is_empty() => Ok(value.trim()),
                _ => Err(Denied::Unknown(name)),
            }
        };
        let (kind, id) = (one(TYPE)?, one(ID)?);
        Ok(match kind {
            "instance" => Subject::Instance(Ocid::new(id)),
            _ => Subject::Other { kind: shortened(kind), id: shortened(id) },
        })
    }

    /// Whether the caller is the instance that it wants to end.
    pub fn may_terminate(&self, instance: &Ocid) -> Result<(), Denied> {
        match self {
            Subject::Instance(id) if id == instance => Ok(()),
            _ => Err(Denied::NotItself { caller: self.clone(), asked: instance.clone() }),
        }
    }

    /// Whether the caller is one of the masters.
    pub fn must_be_master(&self, masters: &[Ocid]) -> Result<(), Denied> {
        match self {
            Subject::Instance(id) if masters.contains(id) => Ok(()),
            _ => Err(Denied::NotAMaster(self.clone())),
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(255).collect()
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Instance(id) => write!(f, "instance {id}"),
            Subject::Other { kind, id } => write!(f, "{kind} {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_node_ends_only_itself() {
        let me = Ocid::new("ocid1.instance.me");
        let caller = |pairs: &[(&'static str, &'static str)]| Subject::of(&headers(pairs));
        let itself = caller(&[("Oci-Subject-Type", "instance"), ("Oci-Subject-Id", "ocid1.instance.me")]);
        assert_eq!(itself.unwrap().may_terminate(&me), Ok(()));
        let other = caller(&[("oci-subject-type", "instance"), ("oci-subject-id", "ocid1.instance.other")]);
        assert!(matches!(other.unwrap().may_terminate(&me), Err(Denied::NotItself { .. })));
        // Even a user or a resource with the same id as text.
        for kind in ["user", "resource", "Instance", "service"] {
            let subject = Subject::Other { kind: kind.into(), id: me.to_string() };
            assert!(subject.may_terminate(&me).is_err(), "{kind}");
            let read = headers(&[("oci-subject-id", "ocid1.instance.me")]);
            let mut read = read.clone();
            read.insert("oci-subject-type", HeaderValue::from_static(kind));
            assert!(Subject::of(&read).unwrap().may_terminate(&me).is_err(), "{kind}");
        }
    }

    #[test]
    fn without_both_headers_once_nobody_is_anybody() {
        for pairs in [
            &[][..],
            &[("oci-subject-id", "ocid1.instance.me")],
            &[("oci-subject-type", "instance")],
            &[("oci-subject-type", "instance"), ("oci-subject-id", "")],
            &[
                ("oci-subject-type", "instance"),
                ("oci-subject-id", "ocid1.instance.me"),
                ("oci-subject-id", "ocid1.instance.other"),
            ],
        ] {
            assert!(matches!(Subject::of(&headers(pairs)), Err(Denied::Unknown(_))), "{pairs:?}");
        }
    }

    #[test]
    fn only_masters_ask_for_scaling() {
        let masters = [Ocid::new("ocid1.instance.m1"), Ocid::new("ocid1.instance.m2")];
        assert_eq!(Subject::Instance(masters[1].clone()).must_be_master(&masters), Ok(()));
        let media = Subject::Instance(Ocid::new("ocid1.instance.a"));
        assert_eq!(media.must_be_master(&masters), Err(Denied::NotAMaster(media.clone())));
        assert!(Subject::Instance(masters[0].clone()).must_be_master(&[]).is_err());
        let user = Subject::Other { kind: "user".into(), id: masters[0].to_string() };
        assert!(user.must_be_master(&masters).is_err());
    }
}
