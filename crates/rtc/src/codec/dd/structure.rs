//! The template dependency structure that comes with a key frame (§A.8.3).

use super::bits::BitReader;
use super::{
    DdError, Dti, FrameDependencies, MAX_FRAME_DIFFS, MAX_SPATIAL, MAX_TARGETS, MAX_TEMPLATES, MAX_TEMPORAL,
};

/// Spatial and temporal layer of a frame or of a decode target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LayerId {
    /// 0..=3.
    pub spatial: u8,
    /// 0..=7.
    pub temporal: u8,
}

/// Templates of frames and what is known of the decode targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    template_id_offset: u8,
    templates: Vec<Template>,
    targets: Vec<Target>,
    chain_count: usize,
    /// By spatial layer, if told.
    sizes: Option<Vec<(u16, u16)>>,
}

/// What a frame that names this template looks like, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    pub dependencies: FrameDependencies,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    /// The highest layers that the target contains.
    layer: LayerId,
    /// The chain that protects it, if there are chains.
    chain: Option<u8>,
}

impl Structure {
    pub(super) fn parse(bits: &mut BitReader<'_>) -> Result<Structure, DdError> {
        let template_id_offset = bits.read(6)? as u8;
        let target_count = bits.read(5)? as usize + 1;
        let layers = parse_layers(bits)?;
        let mut templates = Vec::with_capacity(layers.len());
        for layer in layers {
            let dtis = Dtis::parse(bits, target_count)?;
            let (frame_diffs, chain_diffs) = (FrameDiffs::default(), ChainDiffs::default());
            let dependencies = FrameDependencies { layer, dtis, frame_diffs, chain_diffs };
            templates.push(Template { dependencies });
        }
        for template in &mut templates {
            template.dependencies.frame_diffs = FrameDiffs::parse_template(bits)?;
        }
        let chain_count = bits.read_below(target_count as u32 + 1)? as usize;
        let mut targets = Vec::with_capacity(target_count);
        for target in 0..target_count {
            let chain = if chain_count > 0 { Some(bits.read_below(chain_count as u32)? as u8) } else { None };
            targets.push(Target { layer: highest_layer(&templates, target), chain });
        }
        if chain_count > 0 {
            for template in &mut templates {
                template.dependencies.chain_diffs = ChainDiffs::parse(bits, chain_count, 4)?;
            }
        }
        let sizes = if bits.flag()? {
            let layers = templates.iter().map(|template| template.dependencies.layer.spatial).max();
            let mut sizes = Vec::with_capacity(MAX_SPATIAL);
            for _ in 0..=layers.unwrap_or(0) {
                // The wire has both less one; 65536 pixels read as 65535.
                let mut side = || Ok((bits.read(16)? as u16).saturating_add(1));
                sizes.push((side()?, side()?));
            }
            Some(sizes)
        } else {
            None
        };
        Ok(Structure { template_id_offset, templates, targets, chain_count, sizes })
    }

    /// The template of a frame that names `template_id`.
    pub fn template(&self, template_id: u8) -> Option<&Template> {
        let at = (template_id + MAX_TEMPLATES as u8 - self.template_id_offset) % MAX_TEMPLATES as u8;
        self.templates.get(at as usize)
    }

    /// Decode targets, 1..=32. They are numbered from zero; a higher number is not always a higher layer.
    pub fn target_count(&self) -> usize {
        self.targets.len()
    }

    /// The bitmask of all decode targets.
    pub fn all_targets(&self) -> u32 {
        u32::MAX >> (MAX_TARGETS - self.targets.len())
    }

    /// The highest layers that decode target `target` contains.
    pub fn target_layer(&self, target: usize) -> Option<LayerId> {
        self.targets.get(target).map(|target| target.layer)
    }

    /// The chain that protects decode target `target`; `None` if the stream has no chains.
    pub fn target_chain(&self, target: usize) -> Option<usize> {
        self.targets.get(target)?.chain.map(usize::from)
    }

    /// Chains, 0..=32.
    pub fn chain_count(&self) -> usize {
        self.chain_count
    }

    /// Width and height of a spatial layer in pixels, if told.
    pub fn size(&self, spatial: u8) -> Option<(u16, u16)> {
        self.sizes.as_ref()?.get(spatial as usize).copied()
    }

    /// The highest spatial and the highest temporal layer of any frame.
    pub fn max_layer(&self) -> LayerId {
        let layers = self.templates.iter().map(|template| template.dependencies.layer);
        layers.fold(LayerId::default(), max_of_each)
    }
}

/// The layers of the templates, in order (`template_layers`).
fn parse_layers(bits: &mut BitReader<'_>) -> Result<Vec<LayerId>, DdError> {
    let mut layers = Vec::new();
    let mut layer = LayerId::default();
    loop {
        if layers.len() == MAX_TEMPLATES {
            return Err(DdError::Limits);
        }
        layers.push(layer);
        match bits.read(2)? {
            0 => {}
            1 => layer.temporal += 1,
            2 => layer = LayerId { spatial: layer.spatial + 1, temporal: 0 },
            _ => return Ok(layers),
        }
        if layer.temporal as usize >= MAX_TEMPORAL || layer.spatial as usize >= MAX_SPATIAL {
            return Err(DdError::Limits);
        }
    }
}

/// The highest layers among the templates that `target` uses.
fn highest_layer(templates: &[Template], target: usize) -> LayerId {
    let used = templates.iter().map(|template| &template.dependencies);
    let used = used.filter(|template| template.dtis.get(target) != Dti::NotPresent);
    used.map(|template| template.layer).fold(LayerId::default(), max_of_each)
}

fn max_of_each(a: LayerId, b: LayerId) -> LayerId {
    LayerId { spatial: a.spatial.max(b.spatial), temporal: a.temporal.max(b.temporal) }
}

/// A frame's indication for each decode target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtis {
    /// Two bits for each target, the first target lowest.
    packed: u64,
    count: u8,
}

impl Dtis {
    pub(super) fn parse(bits: &mut BitReader<'_>, count: usize) -> Result<Dtis, DdError> {
        let mut packed = 0;
        for target in 0..count {
            packed |= u64::from(bits.read(2)?) << (2 * target);
        }
        Ok(Dtis { packed, count: count as u8 })
    }

    /// What the frame is to `target`; [`Dti::NotPresent`] to targets that do not exist.
    pub fn get(&self, target: usize) -> Dti {
        if target >= self.count as usize {
            return Dti::NotPresent;
        }
        match self.packed >> (2 * target) & 3 {
            0 => Dti::NotPresent,
            1 => Dti::Discardable,
            2 => Dti::Switch,
            _ => Dti::Required,
        }
    }

    /// All targets in order.
    pub fn iter(&self) -> impl Iterator<Item = Dti> + '_ {
        (0..self.count as usize).map(|target| self.get(target))
    }
}

/// Distances back to the frames that a frame refers to, in frame numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameDiffs {
    diffs: [u16; MAX_FRAME_DIFFS],
    count: u8,
}

impl FrameDiffs {
    fn parse_template(bits: &mut BitReader<'_>) -> Result<FrameDiffs, DdError> {
        let mut diffs = FrameDiffs::default();
        while bits.flag()? {
            diffs.push(bits.read(4)?)?;
        }
        Ok(diffs)
    }

    pub(super) fn parse_custom(bits: &mut BitReader<'_>) -> Result<FrameDiffs, DdError> {
        let mut diffs = FrameDiffs::default();
        loop {
            match bits.read(2)? {
                0 => return Ok(diffs),
                nibbles => diffs.push(bits.read(4 * nibbles as usize)?)?,
            }
        }
    }

    fn push(&mut self, minus_one: u32) -> Result<(), DdError> {
        *self.diffs.get_mut(self.count as usize).ok_or(DdError::Limits)? = minus_one as u16 + 1;
        self.count += 1;
        Ok(())
    }

    /// 1..=4096 each; empty for a frame that refers to none.
    pub fn as_slice(&self) -> &[u16] {
        &self.diffs[..self.count as usize]
    }
}

/// Distances back to the previous frame of each chain, in frame numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChainDiffs {
    diffs: [u8; MAX_TARGETS],
    count: u8,
}

impl ChainDiffs {
    pub(super) fn parse(bits: &mut BitReader<'_>, count: usize, width: usize) -> Result<ChainDiffs, DdError> {
        let mut chains = ChainDiffs { count: count as u8, ..ChainDiffs::default() };
        for diff in &mut chains.diffs[..count] {
            *diff = bits.read(width)? as u8;
        }
        Ok(chains)
    }

    /// By chain; zero where the chain begins anew with this frame.
    pub fn as_slice(&self) -> &[u8] {
        &self.diffs[..self.count as usize]
    }
}
