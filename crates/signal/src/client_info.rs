//! What is known of a client: its query parameters (two-peer-connection clients) or the proto in its join
//! request, completed from the User-Agent and the headers that proxies add (livekit.md §1.5).

use std::net::SocketAddr;

use axum::http::{HeaderMap, header};
use livekit_protocol as proto;
use proto::ClientInfo;
use proto::client_info::{Capability, Sdk};

use crate::query::Query;

/// A User-Agent is a hundred bytes or two; what comes after this is not looked at.
const MAX_USER_AGENT_BYTES: usize = 1024;

/// Reads the parameters of a client without join request.
pub(crate) fn from_query(query: &Query) -> ClientInfo {
    let text = |key: &str| query.get(key).to_owned();
    let number = |key: &str| query.get(key).parse().unwrap_or(0);
    let mut info = ClientInfo {
        sdk: sdk_by_name(query.get("sdk")).into(),
        version: text("version"),
        protocol: number("protocol"),
        client_protocol: number("client_protocol"),
        os: text("os"),
        os_version: text("os_version"),
        device_model: text("device_model"),
        browser: text("browser"),
        browser_version: text("browser_version"),
        network: text("network"),
        other_sdks: text("other_sdks"),
        ..ClientInfo::default()
    };
    let names = query.get("capabilities").split(',').map(str::trim);
    info.capabilities = names.filter_map(Capability::from_str_name).map(i32::from).collect();
    info
}

/// Fills in the address, and browser and system where the SDK runs in a browser and did not say.
pub(crate) fn complete(info: &mut ClientInfo, headers: &HeaderMap, peer: SocketAddr) {
    info.address = client_address(headers, peer);
    let may_be_browser = [Sdk::Js, Sdk::ReactNative, Sdk::Flutter, Sdk::Unity, Sdk::Unknown];
    if !may_be_browser.contains(&info.sdk()) {
        return;
    }
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let agent = agent.get(..MAX_USER_AGENT_BYTES).unwrap_or(agent);
    if info.browser.is_empty()
        && let Some((name, version)) = browser(agent)
    {
        (info.browser, info.browser_version) = (name.into(), version.into());
    }
    if info.os.is_empty()
        && let Some((name, version)) = system(agent)
    {
        (info.os, info.os_version) = (name.into(), version);
    }
}

/// The client's address as the nearest trustworthy-looking proxy tells it. For display, never for access.
fn client_address(headers: &HeaderMap, peer: SocketAddr) -> String {
    let told = ["cf-connecting-ip", "x-forwarded-for", "x-real-ip"]
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .find(|value| !value.is_empty());
    told.map_or_else(|| peer.ip().to_canonical().to_string(), str::to_owned)
}

fn sdk_by_name(name: &str) -> Sdk {
    match name {
        "js" => Sdk::Js,
        "ios" | "swift" => Sdk::Swift,
        "android" => Sdk::Android,
        "flutter" => Sdk::Flutter,
        "go" => Sdk::Go,
        "unity" => Sdk::Unity,
        "reactnative" => Sdk::ReactNative,
        "rust" => Sdk::Rust,
        "python" => Sdk::Python,
        "cpp" => Sdk::Cpp,
        "unityweb" => Sdk::UnityWeb,
        "node" => Sdk::Node,
        "esp32" => Sdk::Esp32,
        _ => Sdk::Unknown,
    }
}

/// Name and version of the browser. Order matters: most agents also claim to be their ancestors.
fn browser(agent: &str) -> Option<(&'static str, &str)> {
    const MARKS: [(&str, &str); 8] = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("FxiOS/", "Firefox iOS"),
        ("CriOS/", "Chrome Mobile iOS"),
        ("Firefox/", "Firefox"),
        ("HeadlessChrome/", "HeadlessChrome"),
        ("Chrome/", "Chrome"),
    ];
    let mobile = agent.contains("Mobile");
    for (mark, name) in MARKS {
        if let Some(version) = version_after(agent, mark) {
            let name = match name {
                "Chrome" if mobile => "Chrome Mobile",
                "Firefox" if agent.contains("Android") => "Firefox Mobile",
                _ => name,
            };
            return Some((name, version));
        }
    }
    let version = version_after(agent, "Version/").filter(|_| agent.contains("Safari/"))?;
    Some((if mobile { "Mobile Safari" } else { "Safari" }, version))
}

/// Name and version of the operating system.
fn system(agent: &str) -> Option<(&'static str, String)> {
    let dotted = |version: Option<&str>| version.unwrap_or_default().replace('_', ".");
    if agent.contains("Windows NT 10.0") {
        return Some(("Windows", "10".into()));
    }
    if agent.contains("Windows") {
        return Some(("Windows", dotted(version_after(agent, "Windows NT "))));
    }
    if agent.contains("Android") {
        return Some(("Android", dotted(version_after(agent, "Android "))));
    }
    if agent.contains("iPhone") || agent.contains("iPad") {
        return Some(("iOS", dotted(version_after(agent, " OS "))));
    }
    if agent.contains("Mac OS X") {
        return Some(("Mac OS X", dotted(version_after(agent, "Mac OS X "))));
    }
    if agent.contains("CrOS") {
        return Some(("Chrome OS", String::new()));
    }
    agent.contains("Linux").then(|| ("Linux", String::new()))
}

fn version_after<'a>(agent: &'a str, mark: &str) -> Option<&'a str> {
    let rest = &agent[agent.find(mark)? + mark.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like \
                          Gecko) Version/18.3 Safari/605.1.15";
    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, \
                          like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                          Chrome/126.0.0.0 Safari/537.36";
    const EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                        Chrome/126.0.0.0 Safari/537.36 Edg/126.0.2592.87";

    fn completed(mut info: ClientInfo, headers: &[(&'static str, &str)]) -> ClientInfo {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        complete(&mut info, &map, "[::ffff:127.0.0.1]:5".parse().unwrap());
        info
    }

    #[test]
    fn browsers_are_told_apart_though_they_claim_to_be_each_other() {
        let seen = |agent| {
            let info = completed(ClientInfo::default(), &[("user-agent", agent)]);
            (info.browser, info.browser_version, info.os, info.os_version)
        };
        let row = |a: &str, b: &str, c: &str, d: &str| (a.into(), b.into(), c.into(), d.into());
        assert_eq!(seen(FIREFOX), row("Firefox", "128.0", "Linux", ""));
        assert_eq!(seen(SAFARI), row("Safari", "18.3", "Mac OS X", "10.15.7"));
        assert_eq!(seen(IPHONE), row("Mobile Safari", "17.5", "iOS", "17.5"));
        assert_eq!(seen(CHROME), row("Chrome", "126.0.0.0", "Windows", "10"));
        assert_eq!(seen(EDGE), row("Edge", "126.0.2592.87", "Windows", "10"));
        assert_eq!(seen("curl/8"), row("", "", "", ""));
    }

    #[test]
    fn what_the_client_says_wins_over_the_user_agent() {
        let query = Query::parse("sdk=js&protocol=16&browser=Vivaldi&capabilities=CAP_PACKET_TRAILER,NEW,");
        let info = completed(from_query(&query), &[("user-agent", CHROME)]);
        assert_eq!((info.sdk(), info.protocol, info.browser.as_str()), (Sdk::Js, 16, "Vivaldi"));
        assert_eq!(info.capabilities, [i32::from(Capability::CapPacketTrailer)]);
        assert_eq!(info.os, "Windows");
    }

    #[test]
    fn native_clients_are_not_taken_for_browsers() {
        let info = completed(from_query(&Query::parse("sdk=go")), &[("user-agent", CHROME)]);
        assert_eq!(info.browser, "");
    }

    #[test]
    fn the_address_comes_from_the_nearest_proxy_or_the_socket() {
        let address = |headers| completed(ClientInfo::default(), headers).address;
        assert_eq!(address(&[]), "127.0.0.1");
        assert_eq!(address(&[("x-real-ip", "10.0.0.1")]), "10.0.0.1");
        assert_eq!(address(&[("x-real-ip", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")]), "10.0.0.2");
    }
}
