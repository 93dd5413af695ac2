//! What all targets share: inputs made from seeds, and the number of them.

/// Inputs for each target in an ordinary test run: about a second for all targets together.
pub(crate) const ITERATIONS: usize = 100_000;

/// Longest input in bytes: a datagram, and room for what the mutation inserts.
pub(crate) const MAX_INPUT: usize = 2048;

/// Feeds `$target` the seeds themselves and damaged copies of them. A macro, because bolero names the
/// target after the function that calls it.
macro_rules! fuzz {
    ($seeds:expr, $target:expr) => {{
        let seeds: &[&[u8]] = $seeds;
        let target = $target;
        seeds.iter().for_each(|seed| target(seed));
        bolero::check!()
            .with_iterations($crate::harness::ITERATIONS)
            .with_max_len(256)
            .for_each(|input: &[u8]| target(&$crate::harness::mutate(seeds, input)));
    }};
}

/// Damages the seed that the first byte of `input` picks, by the steps that its other bytes tell; the pick
/// beyond the last seed is the rest of `input` itself.
pub(crate) fn mutate(seeds: &[&[u8]], input: &[u8]) -> Vec<u8> {
    let Some((&pick, mut steps)) = input.split_first() else { return Vec::new() };
    let Some(seed) = seeds.get(pick as usize % (seeds.len() + 1)) else { return steps.to_vec() };
    let mut bytes = seed.to_vec();
    while let [action, high, low, value, rest @ ..] = steps {
        steps = rest;
        let at = u16::from_be_bytes([*high, *low]) as usize % (bytes.len() + 1);
        match action % 6 {
            0 if at < bytes.len() => bytes[at] ^= 1 << (value % 8),
            1 if at < bytes.len() => bytes[at] = *value,
            2 if bytes.len() < MAX_INPUT => bytes.insert(at, *value),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 => bytes.truncate(at.max(1)),
            5 if bytes.len() < MAX_INPUT / 2 => {
                let end = bytes.len().min(at + *value as usize);
                bytes.extend_from_within(at..end);
            }
            _ => {}
        }
    }
    bytes
}

#[test]
fn seeds_are_damaged_as_told() {
    let seeds: &[&[u8]] = &[b"abc"];
    assert_eq!(mutate(seeds, &[0]), b"abc");
    assert_eq!(mutate(seeds, &[0, 1, 0, 1, b'x']), b"axc");
    assert_eq!(mutate(seeds, &[0, 3, 0, 0, 0, 2, 0, 2, b'd']), b"bcd");
    assert_eq!(mutate(seeds, &[1, 9, 9]), [9, 9]);
}
