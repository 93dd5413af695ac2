//! Who may do what: dynamic groups and policy statements in Oracle's own words, evaluated for each request.
//!
//! What it knows of verbs, resource types and permissions is in [`permissions`]; what each operation needs is beside
//! the operation. A change counts after a delay, as in the cloud.

mod condition;
mod language;
pub(crate) mod permissions;
mod statement;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::auth::Principal;
use crate::config::{Compartment, DynamicGroup, IamDocument};
use condition::Condition;
use statement::{Place, Statement, Subject};

/// A statement or matching rule that cannot be understood, with its text.
#[derive(thiserror::Error, Debug)]
#[error("cannot understand `{text}`: {reason}")]
pub struct IamError {
    text: String,
    reason: String,
}

/// What a request is about, for conditions.
#[derive(Default, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) compartment: &'a str,
    /// Such as `target.bucket.name`.
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// What is asked.
pub(crate) struct Question<'a> {
    pub(crate) principal: &'a Principal,
    /// Such as `GetObject`.
    pub(crate) operation: &'a str,
    pub(crate) permission: &'a str,
    pub(crate) target: &'a Target<'a>,
    /// Facts of the caller for matching rules, such as `instance.compartment.id`; empty while the cloud does not know
    /// it yet.
    pub(crate) facts: &'a [(String, String)],
    /// The cloud's time.
    pub(crate) now: Duration,
}

/// Something that counts from a moment until another.
struct Live<T> {
    text: String,
    what: T,
    from: Duration,
    until: Option<Duration>,
}

impl<T> Live<T> {
    fn counts(&self, now: Duration) -> bool {
        now >= self.from && self.until.is_none_or(|until| now < until)
    }
}

struct Group {
    name: String,
    id: String,
    rule: Condition,
}

/// All of it.
pub(crate) struct Iam {
    tenancy: String,
    compartments: Vec<Compartment>,
    groups: Vec<Live<Group>>,
    statements: Vec<Live<Statement>>,
    document: IamDocument,
}

/// Groups and statements kept, those that just ceased included.
const MAX_ENTRIES: usize = 2000;

impl Iam {
    /// Nothing is allowed yet, but to the tenancy's administrators.
    pub(crate) fn new(tenancy: &str, compartments: &[Compartment]) -> Iam {
        let (groups, statements, document) = (Vec::new(), Vec::new(), IamDocument::default());
        Iam { tenancy: tenancy.into(), compartments: compartments.to_vec(), groups, statements, document }
    }

    /// What it was last told.
    pub(crate) fn document(&self) -> &IamDocument {
        &self.document
    }

    /// Puts these in the place of the former ones. What is in both goes on counting.
    ///
    /// # Errors
    /// When one cannot be understood; then nothing has changed.
    pub(crate) fn replace(
        &mut self,
        document: &IamDocument,
        now: Duration,
        delay: Duration,
    ) -> Result<(), IamError> {
        let group = |group: &DynamicGroup| -> Result<(String, Group), IamError> {
            let text = format!("{} {}", group.name, group.matching_rule);
            let rule = condition::rule(&group.matching_rule)
                .map_err(|reason| IamError { text: group.matching_rule.clone(), reason })?;
            Ok((text, Group { name: group.name.clone(), id: group.id.clone(), rule }))
        };
        let statement = |text: &String| -> Result<(String, Statement), IamError> {
            let parsed = statement::parse(text).map_err(|reason| IamError { text: text.clone(), reason })?;
            Ok((text.clone(), parsed))
        };
        let groups = document.dynamic_groups.iter().map(group).collect::<Result<Vec<_>, _>>()?;
        let texts = document.policies.iter().flat_map(|policy| &policy.statements);
        let statements = texts.map(statement).collect::<Result<Vec<_>, _>>()?;
        if groups.len() + statements.len() > MAX_ENTRIES {
            let reason = format!("there are more than {MAX_ENTRIES} groups and statements");
            return Err(IamError { text: "…".into(), reason });
        }
        exchange(&mut self.groups, groups, now, delay);
        exchange(&mut self.statements, statements, now, delay);
        self.document = document.clone();
        Ok(())
    }

    /// Whether the caller has that permission on that target now.
    pub(crate) fn allows(&self, question: &Question<'_>) -> bool {
        if matches!(question.principal, Principal::User { groups, .. } if groups.iter().any(|g| g == "Administrators"))
        {
            return true;
        }
        let mut counting = self.statements.iter().filter(|live| live.counts(question.now));
        counting.any(|live| self.applies(&live.what, question))
    }

    fn applies(&self, statement: &Statement, question: &Question<'_>) -> bool {
        statement.grant.includes(question.permission)
            && self.covers(&statement.place, question.target.compartment)
            && self.is_subject(&statement.subject, question)
            && statement
                .condition
                .as_ref()
                .is_none_or(|condition| condition.holds(&|variable| self.variable(variable, question)))
    }

    fn is_subject(&self, subject: &Subject, question: &Question<'_>) -> bool {
        match subject {
            Subject::AnyUser => true,
            Subject::Groups(names) => match question.principal {
                Principal::User { groups, .. } => names.iter().any(|name| groups.contains(name)),
                _ => false,
            },
            Subject::DynamicGroups(names) => self.groups_of(question).any(|group| {
                names.iter().any(|name| name.eq_ignore_ascii_case(&group.name) || *name == group.id)
            }),
            Subject::Service => false,
        }
    }

    fn groups_of<'a>(&'a self, question: &'a Question<'_>) -> impl Iterator<Item = &'a Group> {
        let fact = |variable: &str| {
            let fact = question.facts.iter().find(|(name, _)| name.eq_ignore_ascii_case(variable));
            fact.map(|(_, value)| value.clone())
        };
        let counting = self.groups.iter().filter(|live| live.counts(question.now));
        counting.filter(move |live| live.what.rule.holds(&fact)).map(|live| &live.what)
    }

    /// Whether a place holds a compartment, itself or further down.
    fn covers(&self, place: &Place, compartment: &str) -> bool {
        let mut here = compartment;
        for _ in 0..=self.compartments.len() {
            let is_it = match place {
                Place::Tenancy => true,
                Place::CompartmentId(id) => id == here,
                Place::CompartmentName(name) => {
                    // `a:b` names b within a.
                    let last = name.rsplit(':').next().unwrap_or(name);
                    let named = self.compartments.iter().find(|compartment| compartment.id == here);
                    named.is_some_and(|compartment| compartment.name.eq_ignore_ascii_case(last))
                }
            };
            if is_it {
                return true;
            }
            let Some(found) = self.compartments.iter().find(|compartment| compartment.id == here) else {
                return false;
            };
            here = if found.parent.is_empty() { &self.tenancy } else { &found.parent };
        }
        false
    }

    /// A condition's variable, if the request has it.
    fn variable(&self, name: &str, question: &Question<'_>) -> Option<String> {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "request.permission" => Some(question.permission.into()),
            "request.operation" => Some(question.operation.into()),
            "request.principal.id" => Some(question.principal.id().into()),
            "request.principal.type" => Some(match question.principal {
                Principal::User { .. } => "user".into(),
                Principal::Instance { .. } => "instance".into(),
                Principal::Resource { kind, .. } => kind.clone(),
            }),
            "request.principal.compartment.id" => {
                let names = ["instance.compartment.id", "resource.compartment.id"];
                let fact = question.facts.iter().find(|(name, _)| names.contains(&name.as_str()));
                fact.map(|(_, value)| value.clone())
            }
            "request.user.id" => match question.principal {
                Principal::User { id, .. } => Some(id.clone()),
                _ => None,
            },
            "target.compartment.id" => Some(question.target.compartment.into()),
            "target.compartment.name" => {
                let mut all = self.compartments.iter();
                let found = all.find(|compartment| compartment.id == question.target.compartment);
                found.map(|compartment| compartment.name.clone())
            }
            _ => {
                let mut all = question.target.variables.iter();
                all.find(|(variable, _)| *variable == name).map(|(_, value)| value.clone())
            }
        }
    }

    /// Compartments from one on downwards, for lists that go into the subtree.
    pub(crate) fn is_within(&self, compartment: &str, root: &str) -> bool {
        root == self.tenancy || self.covers(&Place::CompartmentId(root.into()), compartment)
    }

    /// Text of each statement, and whether it counts yet.
    pub(crate) fn overview(&self, now: Duration) -> BTreeMap<String, bool> {
        self.statements.iter().map(|live| (live.text.clone(), live.counts(now))).collect()
    }
}

fn exchange<T>(all: &mut Vec<Live<T>>, wanted: Vec<(String, T)>, now: Duration, delay: Duration) {
    all.retain(|live| live.until.is_none_or(|until| now < until));
    for live in all.iter_mut() {
        if live.until.is_none() && !wanted.iter().any(|(text, _)| *text == live.text) {
            live.until = Some(now + delay);
        }
    }
    for (text, what) in wanted {
        if !all.iter().any(|live| live.until.is_none() && live.text == text) {
            all.push(Live { text, what, from: now + delay, until: None });
        }
    }
}

#[cfg(test)]
mod tests;
