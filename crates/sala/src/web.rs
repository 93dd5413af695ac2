//! The meeting page, embedded at build time from `web/dist`. In debug builds the files are read when the server
//! starts. Without a built page there is a placeholder that says how to build it.

use rust_embed::RustEmbed;
use signal::{Page, Pages};

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

const PLACEHOLDER: &[u8] = include_bytes!("placeholder.html");

/// All files of the page.
pub(crate) fn pages() -> Pages {
    let built = Dist::iter().filter_map(|path| {
        let content = Dist::get(&path)?.data;
        Some(Page { path: path.into_owned(), content })
    });
    let mut pages: Vec<_> = built.collect();
    if !pages.iter().any(|page| page.path == "index.html") {
        pages.push(Page { path: "index.html".into(), content: PLACEHOLDER.into() });
    }
    Pages::new(pages)
}
