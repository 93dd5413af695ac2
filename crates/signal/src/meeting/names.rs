//! Names that people can read out: rooms like `calm-otter-42`, identities like `ana-x7k2mq`.

use aws_lc_rs::rand;

/// With two digits 64 × 64 × 90 names: enough that two meetings of a day rarely meet. The invite code is what
/// keeps a meeting private, not its name.
const ADJECTIVES: [&str; 64] = [
    "amber", "azure", "bold", "brave", "breezy", "bright", "calm", "cheerful", "clear", "clever", "cosy",
    "crisp", "curious", "daring", "dreamy", "eager", "early", "fair", "fancy", "fleet", "fond", "fresh",
    "gentle", "glad", "golden", "grand", "green", "happy", "hardy", "honest", "humble", "jolly", "keen",
    "kind", "lively", "lucky", "lunar", "mellow", "merry", "mild", "neat", "nimble", "noble", "open",
    "patient", "plucky", "polite", "proud", "quick", "quiet", "rapid", "rosy", "serene", "shiny", "silver",
    "smart", "snug", "steady", "sunny", "swift", "tidy", "vivid", "warm", "witty",
];

const ANIMALS: [&str; 64] = [
    "alpaca", "badger", "beaver", "bison", "bobcat", "camel", "condor", "coyote", "crane", "dolphin",
    "donkey", "eagle", "egret", "falcon", "ferret", "finch", "fox", "gecko", "gibbon", "giraffe", "goose",
    "hare", "hawk", "hedgehog", "heron", "ibex", "jackdaw", "jaguar", "kestrel", "koala", "lark", "lemur",
    "leopard", "llama", "lynx", "magpie", "marmot", "marten", "moose", "newt", "ocelot", "osprey", "otter",
    "owl", "panda", "panther", "pelican", "penguin", "plover", "puffin", "quail", "rabbit", "raven", "robin",
    "salmon", "seal", "sparrow", "squirrel", "stork", "swan", "tapir", "turtle", "walrus", "wren",
];

/// No look-alikes (0/o, 1/l).
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// 32⁸ ≈ 10¹²: two people of the same name in a room do not collide.
const SUFFIX_CHARS: usize = 8;

/// What of a name goes into its identity.
const MAX_SLUG_CHARS: usize = 24;

pub(super) fn random_room() -> String {
    let [adjective, animal, number] = random_bytes::<3>().map(usize::from);
    format!("{}-{}-{}", ADJECTIVES[adjective % 64], ANIMALS[animal % 64], 10 + number % 90)
}

/// A unique identity that still tells people apart in logs: what is plain of the name, and random letters.
pub(super) fn identity_for(name: &str) -> String {
    let mut identity = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            identity.push(c);
        } else if !identity.is_empty() && !identity.ends_with('-') {
            identity.push('-');
        }
    }
    let mut identity: String = identity.chars().take(MAX_SLUG_CHARS).collect();
    identity.truncate(identity.trim_end_matches('-').len());
    if identity.is_empty() {
        identity.push_str("guest");
    }
    identity.push('-');
    identity.extend(random_bytes::<SUFFIX_CHARS>().map(|byte| ALPHABET[usize::from(byte) % 32] as char));
    identity
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)
        .expect("the operating system's random generator works: nothing here is safe without");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_read_well() {
        let room = random_room();
        let parts: Vec<_> = room.split('-').collect();
        assert!(
            matches!(parts[..], [a, b, n] if ADJECTIVES.contains(&a) && ANIMALS.contains(&b) && n.len() == 2)
        );
    }

    #[test]
    fn identities_keep_what_is_plain_of_the_name_and_never_collide() {
        let (a, b) = (identity_for(" Ana  Lucía! "), identity_for(" Ana  Lucía! "));
        assert!(a.starts_with("ana-lucía-") && a != b, "{a}");
        assert!(identity_for("🎉").starts_with("guest-"));
        assert!(identity_for(&"x".repeat(500)).len() < 40);
    }
}
