//! The dependency descriptor (AV1 RTP specification, appendix A): layers, decode targets and chains of a
//! frame, told in a header extension so that the payload may stay opaque.
//!
//! A key frame brings a [`Structure`]: templates of frames, which later descriptors refer to by number. So
//! parsing needs the structure that is in force; the caller keeps the latest one and passes it in. A
//! *decode target* is a choice of layers that a receiver may want; its *indication* ([`Dti`]) in a frame
//! says whether the target needs the frame. A *chain* is the sequence of frames that must all arrive for
//! its targets to stay decodable.

mod bits;
mod structure;

use std::sync::Arc;

use bits::{BitReader, BitWriter};
pub use structure::{ChainDiffs, Dtis, FrameDiffs, LayerId, Structure, Template};

use super::MediaInfo;

/// Most decode targets, and chains, of a structure: five bits of count.
pub const MAX_TARGETS: usize = 32;
/// Most templates of a structure: six bits of template id.
pub const MAX_TEMPLATES: usize = 64;
/// Most spatial layers: the width of the layer's number in an AV1 OBU.
pub const MAX_SPATIAL: usize = 4;
/// Most temporal layers.
pub const MAX_TEMPORAL: usize = 8;
/// Most frames that one frame refers to: AV1 keeps eight reference frames.
pub const MAX_FRAME_DIFFS: usize = 8;
/// Most bytes of a descriptor: an element of the two-byte form.
pub const MAX_LEN: usize = 255;

/// Bits of the mandatory fields, after which the flags of the extended ones follow.
const MANDATORY_BITS: usize = 24;
const FLAG_BITS: usize = 5;

/// Why bytes are not a dependency descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DdError {
    #[error("the dependency descriptor ends too early; drop the packet")]
    Truncated,
    #[error("no structure is known yet; wait for a key frame")]
    NoStructure,
    #[error("the frame's template is not in the structure; wait for a key frame")]
    UnknownTemplate,
    #[error("the dependency descriptor exceeds what its format allows; drop the packet")]
    Limits,
}

/// The fields that every descriptor has (§A.8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mandatory {
    pub start_of_frame: bool,
    pub end_of_frame: bool,
    /// Template id, 0..=63.
    pub template_id: u8,
    /// Counts frames, wrapping; the same for all packets of a frame.
    pub frame_number: u16,
}

impl Mandatory {
    /// Parses the first three bytes; needs no structure.
    pub fn parse(descriptor: &[u8]) -> Result<Mandatory, DdError> {
        let (&[first, high, low], _) = descriptor.split_first_chunk().ok_or(DdError::Truncated)?;
        Ok(Mandatory {
            start_of_frame: first & 0x80 != 0,
            end_of_frame: first & 0x40 != 0,
            template_id: first & 0x3F,
            frame_number: u16::from_be_bytes([high, low]),
        })
    }
}

/// How one frame depends on others: its template with the frame's own amendments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameDependencies {
    pub layer: LayerId,
    /// For each decode target, what the frame is to it.
    pub dtis: Dtis,
    /// The frames referred to, as distances back in frame numbers.
    pub frame_diffs: FrameDiffs,
    /// For each chain, the distance back to its previous frame; zero where the chain begins anew.
    pub chain_diffs: ChainDiffs,
}

/// A descriptor, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyDescriptor {
    pub mandatory: Mandatory,
    /// Present with key frames; it is in force from this frame on.
    pub attached_structure: Option<Arc<Structure>>,
    /// Which decode targets the sender still produces, by bit. When present it is in force from this
    /// frame on; a structure without it activates all targets.
    pub active_targets: Option<u32>,
    pub frame: FrameDependencies,
    /// Width and height of the frame's spatial layer in pixels, if the structure tells.
    pub size: Option<(u16, u16)>,
    layout: Layout,
}

/// Where things lie in the descriptor, in bits, for rewriting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    /// Where the active targets stand or would stand.
    active_at: usize,
    /// Zero when they are absent.
    active_len: usize,
    /// Where the zero padding begins.
    end: usize,
}

impl DependencyDescriptor {
    /// Parses a descriptor; `in_force` is the latest structure attached to an earlier frame.
    ///
    /// Allocates only where a structure is attached.
    pub fn parse(descriptor: &[u8], in_force: Option<&Arc<Structure>>) -> Result<Self, DdError> {
        if descriptor.len() > MAX_LEN {
            return Err(DdError::Limits);
        }
        let mandatory = Mandatory::parse(descriptor)?;
        let mut bits = BitReader::new(descriptor, MANDATORY_BITS);
        let extended = descriptor.len() > 3;
        let mut flag = || if extended { bits.flag() } else { Ok(false) };
        let [has_structure, has_active, custom_dtis, custom_frame_diffs, custom_chains] =
            [flag()?, flag()?, flag()?, flag()?, flag()?];
        let attached_structure =
            if has_structure { Some(Arc::new(Structure::parse(&mut bits)?)) } else { None };
        let structure = attached_structure.as_ref().or(in_force).ok_or(DdError::NoStructure)?;
        let targets = structure.target_count();
        let active_at = bits.position();
        let active_len = if has_active { targets } else { 0 };
        let active_targets = if has_active {
            Some(bits.read(targets)?)
        } else {
            has_structure.then(|| structure.all_targets())
        };
        let template = structure.template(mandatory.template_id).ok_or(DdError::UnknownTemplate)?;
        let mut frame = template.dependencies;
        if custom_dtis {
            frame.dtis = Dtis::parse(&mut bits, targets)?;
        }
        if custom_frame_diffs {
            frame.frame_diffs = FrameDiffs::parse_custom(&mut bits)?;
        }
        if custom_chains {
            frame.chain_diffs = ChainDiffs::parse(&mut bits, structure.chain_count(), 8)?;
        }
        let size = structure.size(frame.layer.spatial);
        let end = if extended { bits.position() } else { MANDATORY_BITS };
        let layout = Layout { active_at: active_at.max(MANDATORY_BITS), active_len, end };
        Ok(Self { mandatory, attached_structure, active_targets, frame, size, layout })
    }

    /// Copies `descriptor`, which this was parsed from, to `out` with other active decode targets, adding
    /// the field where it is absent. `structure` is the one in force. Returns the new length, at most
    /// six bytes more; `None` when `out` is too short or the result would exceed [`MAX_LEN`].
    pub fn write_active_targets(
        &self,
        descriptor: &[u8],
        structure: &Structure,
        active_targets: u32,
        out: &mut [u8],
    ) -> Option<usize> {
        let Layout { active_at, active_len, end } = self.layout;
        let room = out.len().min(MAX_LEN);
        let mut writer = BitWriter::new(&mut out[..room]);
        let mut reader = BitReader::new(descriptor, 0);
        writer.write(MANDATORY_BITS, reader.read(MANDATORY_BITS).ok()?)?;
        let flags = if end > MANDATORY_BITS { reader.read(FLAG_BITS).ok()? } else { 0 };
        // The flags are: structure, active targets, and the three custom fields.
        writer.write(FLAG_BITS, flags | 0b01000)?;
        writer.copy(&mut reader, active_at.saturating_sub(MANDATORY_BITS + FLAG_BITS))?;
        writer.write(structure.target_count(), active_targets & structure.all_targets())?;
        reader.skip(active_len);
        let rest = end.saturating_sub(reader.position());
        writer.copy(&mut reader, rest)?;
        Some(writer.finish())
    }

    /// The codec-independent summary. `keyframe` says that a structure is attached.
    pub fn media_info(&self) -> MediaInfo {
        let keyframe = self.attached_structure.is_some();
        let frame = &self.frame;
        MediaInfo {
            keyframe,
            frame_start: self.mandatory.start_of_frame,
            frame_end: self.mandatory.end_of_frame,
            spatial: frame.layer.spatial,
            temporal: frame.layer.temporal,
            switching_up: keyframe || frame.dtis.iter().any(|dti| dti == Dti::Switch),
            intra: keyframe || frame.frame_diffs.as_slice().is_empty(),
            discardable: frame.dtis.iter().all(|dti| matches!(dti, Dti::NotPresent | Dti::Discardable)),
            size: self.size,
        }
    }
}

/// Decode target indication: what a frame is to a decode target (§A.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dti {
    /// The target does not use the frame.
    NotPresent,
    /// No later frame of the target refers to it.
    Discardable,
    /// A receiver that has the frame can decode the target from here on.
    Switch,
    /// The target needs it.
    Required,
}

#[cfg(test)]
mod tests;
