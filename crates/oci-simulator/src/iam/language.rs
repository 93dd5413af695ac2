//! The words of a policy.

/// A word, a quoted text, or a sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token {
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

impl Token {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(text) if text.eq_ignore_ascii_case(word))
    }

    /// For messages.
    pub(super) fn text(&self) -> &str {
        match self {
            Token::Word(text) | Token::Quoted(text) => text,
            Token::Sign(sign) => sign,
        }
    }
}

/// A statement is no longer than that.
const MAX_LENGTH: usize = 8192;

/// # Errors
/// When a quote has no end, or the text is too long.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("it is longer than {MAX_LENGTH} bytes"));
    }
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let sign = ["!=", "=", "{", "}", ",", "(", ")"].into_iter().find(|sign| rest.starts_with(sign));
        if let Some(sign) = sign {
            out.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if first == '\'' || first == '"' {
            let (quoted, after) = rest[1..]
                .split_once(first)
                .ok_or_else(|| format!("the quote before `{}` has no end", &rest[1..]))?;
            out.push(Token::Quoted(quoted.into()));
            rest = after;
        } else {
            let ends = |c: char| c.is_whitespace() || "={},()'\"!".contains(c);
            let end = rest.find(ends).unwrap_or(rest.len()).max(first.len_utf8());
            out.push(Token::Word(rest[..end].into()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(out)
}

/// Reads tokens one by one.
pub(super) struct Reader {
    tokens: std::vec::IntoIter<Token>,
}

impl Reader {
    /// # Errors
    /// As [`tokens`].
    pub(super) fn new(text: &str) -> Result<Reader, String> {
        Ok(Reader { tokens: tokens(text)?.into_iter() })
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.as_slice().first()
    }

    /// # Errors
    /// At the end.
    pub(super) fn next(&mut self, expected: &str) -> Result<Token, String> {
        self.tokens.next().ok_or_else(|| format!("it ends where {expected} should follow"))
    }

    /// Takes the sign if it is next.
    pub(super) fn sign(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        if is_next {
            self.tokens.next();
        }
        is_next
    }

    /// Takes the word if it is next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let is_next = self.peek().is_some_and(|next| next.is(word));
        if is_next {
            self.tokens.next();
        }
        is_next
    }

    /// # Errors
    /// When another token is next.
    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), String> {
        let next = self.next(&format!("`{word}`"))?;
        if next.is(word) { Ok(()) } else { Err(format!("`{}` stands where `{word}` should", next.text())) }
    }

    /// # Errors
    /// When another token is next.
    pub(super) fn expect_sign(&mut self, sign: &str) -> Result<(), String> {
        let next = self.next(&format!("`{sign}`"))?;
        match next {
            Token::Sign(found) if found == sign => Ok(()),
            other => Err(format!("`{}` stands where `{sign}` should", other.text())),
        }
    }

    /// # Errors
    /// When something is left.
    pub(super) fn expect_end(&mut self) -> Result<(), String> {
        match self.tokens.next() {
            None => Ok(()),
            Some(token) => Err(format!("nothing should follow at `{}`", token.text())),
        }
    }
}
