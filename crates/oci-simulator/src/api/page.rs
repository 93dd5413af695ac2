//! Lists come in pages: `limit`, `page`, and the header `opc-next-page`.

use serde_json::Value;

use super::{Answer, Context, Refusal};

/// The longest page that a client may ask for.
const MAX_LIMIT: usize = 1000;

/// The page that the request asks for. A page's token is the place where it begins.
///
/// # Errors
/// 400 when `limit` or `page` is no number.
pub(crate) fn page(
    context: &Context<'_>,
    items: Vec<Value>,
) -> Result<(Vec<Value>, Option<String>), Refusal> {
    let number = |name: &str| match context.request.query(name) {
        None => Ok(None),
        Some(text) => {
            text.parse::<usize>().map(Some).map_err(|_| Refusal::invalid(format!("{name} is no number.")))
        }
    };
    let limit = number("limit")?.unwrap_or(context.cloud.settings.page_size).clamp(1, MAX_LIMIT);
    let start = number("page")?.unwrap_or(0).min(items.len());
    let next = start + limit;
    let token = (next < items.len()).then(|| next.to_string());
    Ok((items.into_iter().skip(start).take(limit).collect(), token))
}

impl Answer {
    /// A JSON list, a page of it.
    ///
    /// # Errors
    /// As [`page`].
    pub(crate) fn list(context: &Context<'_>, items: Vec<Value>) -> Result<Answer, Refusal> {
        let (items, next) = page(context, items)?;
        let answer = Answer::json(&Value::Array(items));
        Ok(match next {
            Some(token) => answer.with("opc-next-page", token),
            None => answer,
        })
    }

    /// `{"items": […]}`, a page of it.
    ///
    /// # Errors
    /// As [`page`].
    pub(crate) fn items(context: &Context<'_>, items: Vec<Value>) -> Result<Answer, Refusal> {
        let (items, next) = page(context, items)?;
        let answer = Answer::json(&serde_json::json!({"items": items}));
        Ok(match next {
            Some(token) => answer.with("opc-next-page", token),
            None => answer,
        })
    }
}
