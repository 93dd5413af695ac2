//! A policy statement: `Allow <subject> to <verb> <resource-type> in <place> where <condition>`.

use super::condition::{self, Condition};
use super::language::{Reader, Token};
use super::permissions::{self, Verb};

#[derive(PartialEq, Eq, Debug)]
pub(super) enum Subject {
    AnyUser,
    /// By name or OCID.
    Groups(Vec<String>),
    DynamicGroups(Vec<String>),
    /// A service of Oracle's, which never calls here.
    Service,
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum Grant {
    Verb(Verb, String),
    Permissions(Vec<String>),
}

impl Grant {
    pub(super) fn includes(&self, permission: &str) -> bool {
        match self {
            Grant::Verb(verb, resource) => permissions::includes(*verb, resource, permission),
            Grant::Permissions(list) => list.iter().any(|item| item.eq_ignore_ascii_case(permission)),
        }
    }
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum Place {
    Tenancy,
    CompartmentId(String),
    CompartmentName(String),
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) subject: Subject,
    pub(super) grant: Grant,
    pub(super) place: Place,
    pub(super) condition: Option<Condition>,
}

/// # Errors
/// Says where it goes wrong.
pub(super) fn parse(text: &str) -> Result<Statement, String> {
    let mut reader = Reader::new(text)?;
    if reader.word("deny") {
        return Err("statements that deny are not simulated; a stack's own policies need none".into());
    }
    reader.expect_word("allow")?;
    let subject = subject(&mut reader)?;
    reader.expect_word("to")?;
    let grant = grant(&mut reader)?;
    reader.expect_word("in")?;
    let place = place(&mut reader)?;
    let condition = if reader.word("where") { Some(condition::read(&mut reader, 0)?) } else { None };
    reader.expect_end()?;
    Ok(Statement { subject, grant, place, condition })
}

fn subject(reader: &mut Reader) -> Result<Subject, String> {
    let kind = reader.next("a subject")?;
    if kind.is("any-user") {
        return Ok(Subject::AnyUser);
    }
    if kind.is("service") {
        names(reader)?;
        return Ok(Subject::Service);
    }
    match kind {
        kind if kind.is("group") => Ok(Subject::Groups(names(reader)?)),
        kind if kind.is("dynamic-group") => Ok(Subject::DynamicGroups(names(reader)?)),
        other => {
            Err(format!("`{}` is no subject; use group, dynamic-group, any-user or service", other.text()))
        }
    }
}

/// One or more names, each of them maybe `id <ocid>`, or with a domain: `Default/name`, `'Default'/'name'`.
fn names(reader: &mut Reader) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    loop {
        reader.word("id");
        let mut name = reader.next("a name")?.text().to_owned();
        while let Some(Token::Word(word)) = reader.peek() {
            let is_continued = word.starts_with('/') || name.ends_with('/');
            if !is_continued {
                break;
            }
            name.push_str(reader.next("a name")?.text());
        }
        if name.ends_with('/') {
            name.push_str(reader.next("a name")?.text());
        }
        let last = name.rsplit('/').next().unwrap_or(&name);
        all.push(last.to_owned());
        if !reader.sign(",") {
            return Ok(all);
        }
    }
}

fn grant(reader: &mut Reader) -> Result<Grant, String> {
    if reader.sign("{") {
        let mut list = Vec::new();
        loop {
            list.push(reader.next("a permission")?.text().to_owned());
            if !reader.sign(",") {
                break;
            }
        }
        reader.expect_sign("}")?;
        return Ok(Grant::Permissions(list));
    }
    let verb = reader.next("a verb")?;
    let verb = Verb::parse(verb.text())
        .ok_or_else(|| format!("`{}` is no verb; use inspect, read, use or manage", verb.text()))?;
    let resource = reader.next("a resource type")?.text().to_ascii_lowercase();
    if !permissions::is_known(&resource) {
        return Err(format!(
            "`{resource}` is no resource type that the simulator knows; add its permissions from Oracle's policy \
             reference to crates/oci-simulator/src/iam/permissions.rs"
        ));
    }
    Ok(Grant::Verb(verb, resource))
}

fn place(reader: &mut Reader) -> Result<Place, String> {
    if reader.word("tenancy") {
        return Ok(Place::Tenancy);
    }
    reader.expect_word("compartment")?;
    if reader.word("id") {
        return Ok(Place::CompartmentId(reader.next("a compartment's OCID")?.text().to_owned()));
    }
    Ok(Place::CompartmentName(reader.next("a compartment's name")?.text().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_all_forms_are_read() {
        let text = "Allow dynamic-group 'Default'/'masters', Other/media to read secret-bundles in compartment id \
                    ocid1.compartment.x where all {target.secret.name = /SALA-*/, request.permission != 'X'}";
        let statement = parse(text).unwrap();
        assert_eq!(statement.subject, Subject::DynamicGroups(vec!["masters".into(), "media".into()]));
        assert_eq!(statement.grant, Grant::Verb(Verb::Read, "secret-bundles".into()));
        assert_eq!(statement.place, Place::CompartmentId("ocid1.compartment.x".into()));
        assert!(matches!(statement.condition, Some(Condition::All(parts)) if parts.len() == 2));

        let text = "allow dynamic-group id ocid1.dynamicgroup.x to {OBJECT_READ, OBJECT_CREATE} in tenancy";
        let statement = parse(text).unwrap();
        assert_eq!(statement.subject, Subject::DynamicGroups(vec!["ocid1.dynamicgroup.x".into()]));
        assert!(statement.grant.includes("OBJECT_CREATE"));
        assert_eq!(statement.place, Place::Tenancy);
        assert!(parse("Allow any-user to use fn-invocation in compartment a:b").is_ok());
        assert!(parse("Allow service FaaS to read repos in tenancy").is_ok());
    }

    #[test]
    fn wrong_statements_are_refused_with_the_reason() {
        for (text, reason) in [
            ("Allow dynamic-group x to own objects in tenancy", "no verb"),
            ("Allow dynamic-group x to read objets in tenancy", "no resource type"),
            ("Deny group x to read objects in tenancy", "not simulated"),
            ("Allow x to read objects in tenancy", "no subject"),
            ("Allow dynamic-group x to read objects", "ends"),
            ("Allow dynamic-group x to read objects in tenancy when a = 'b'", "`when`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
