//! `opc-retry-token`: a creation that is sent again with its token is not done again.

use std::collections::VecDeque;

use crate::api::{Answer, Request};

/// Answers remembered.
const MAX: usize = 500;

#[derive(Default)]
pub(crate) struct Retries {
    answers: VecDeque<(&'static str, String, Answer)>,
}

impl Retries {
    /// The answer to the same request before.
    pub(crate) fn again(&self, operation: &'static str, request: &Request) -> Option<Answer> {
        let token = request.header("opc-retry-token")?;
        let mut all = self.answers.iter();
        all.find(|(known, with, _)| *known == operation && with == token).map(|(_, _, answer)| answer.clone())
    }

    pub(crate) fn remember(&mut self, operation: &'static str, request: &Request, answer: &Answer) {
        let Some(token) = request.header("opc-retry-token") else { return };
        if self.answers.len() >= MAX {
            self.answers.pop_front();
        }
        self.answers.push_back((operation, token.into(), answer.clone()));
    }
}
