//! Fuzz targets: one module for each parser of bytes that come from the network.
//!
//! Every target is a test: `cargo test -p sala-fuzz` runs each for a moment with bolero's random engine on
//! stable Rust, and `cargo bolero test -p sala-fuzz rtp::parse` runs one under libFuzzer for as long as you
//! like. A target must neither panic nor disagree with itself. Inputs are not random bytes alone: each
//! target names valid packets, and the engine's bytes say how to damage one of them (`harness::mutate`), so that
//! the code behind the first checks is reached too. A damaged packet that once broke a parser belongs into
//! that parser's own tests.

#[cfg(test)]
#[macro_use]
mod harness;

#[cfg(test)]
mod av1;
#[cfg(test)]
mod dd;
#[cfg(test)]
mod demux;
#[cfg(test)]
mod ext;
#[cfg(test)]
mod h264;
#[cfg(test)]
mod h265;
#[cfg(test)]
mod red;
#[cfg(test)]
mod rtcp;
#[cfg(test)]
mod rtp;
#[cfg(test)]
mod sdp;
#[cfg(test)]
mod signal;
#[cfg(test)]
mod srtp;
#[cfg(test)]
mod stun;
#[cfg(test)]
mod vp8;
#[cfg(test)]
mod vp9;
