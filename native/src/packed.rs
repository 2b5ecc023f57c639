//! Weights in the order in which the kernels read them.
//!
//! A weight `[rows, columns]` is cut into panels of 64 rows, the columns of the product. A panel holds, for each step
//! of the depth, the 64 numbers side by side: `[depth][64]` float32, or `[depth / 2][64][2]` bfloat16, pairs of
//! neighbours in depth together as VDPBF16PS wants them. Missing rows and an odd last column are filled with zeros.

use crate::codecs::Source;
use crate::dispatch::{Cpu, multiversion};
use crate::math::to_bfloat16;
use crate::memory::{Buffer, Disjoint};
use crate::threads::Threads;

/// Rows of a weight in a panel.
pub const PANEL: usize = 64;
/// Columns that are decoded at a time.
const STRIP: usize = 32;

/// How both operands of a product are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Float32 both.
    F32,
    /// Panels in bfloat16 pairs, inputs in bfloat16.
    Bf16Pairs,
    /// Panels in bfloat16 pairs, inputs rounded to bfloat16 and stored as float32.
    Bf16Widened,
}

impl Format {
    /// The format of a precision on an instruction set.
    pub fn new(cpu: Cpu, bfloat16: bool) -> Self {
        match (bfloat16, cpu.has_bfloat16_products()) {
            (false, _) => Self::F32,
            (true, true) => Self::Bf16Pairs,
            (true, false) => Self::Bf16Widened,
        }
    }

    /// Bytes of a number in a panel.
    pub fn panel_bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    /// Bytes of a number of the input.
    pub fn input_bytes(self) -> usize {
        if self == Self::Bf16Pairs { 2 } else { 4 }
    }

    /// Length of the sums of products with this many columns: even, where numbers come in pairs.
    pub fn depth(self, columns: usize) -> usize {
        if self == Self::F32 { columns } else { columns.next_multiple_of(2) }
    }
}

/// A weight made ready for products.
pub struct Packed {
    /// Number of rows, the columns of a product.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// How it is stored.
    pub format: Format,
    data: Buffer,
}

impl Packed {
    /// Packs a weight.
    pub fn new(cpu: Cpu, threads: &Threads, format: Format, source: Source) -> Self {
        let row = |index: usize| (index < source.rows()).then_some((source, index));
        Self::from_rows(cpu, threads, format, source.rows(), source.columns(), row)
    }

    /// Packs two weights of one shape `[width, columns]` so that each panel holds 32 rows of `first` and the same 32
    /// of `second`: a tile of the product then has both halves of a gated unit.
    pub fn paired(cpu: Cpu, threads: &Threads, format: Format, first: Source, second: Source) -> Self {
        const HALF: usize = PANEL / 2;
        let width = first.rows();
        let row = |index: usize| {
            let unit = index / PANEL * HALF + index % HALF;
            (unit < width).then_some((if index % PANEL < HALF { first } else { second }, unit))
        };
        Self::from_rows(cpu, threads, format, width.div_ceil(HALF) * PANEL, first.columns(), row)
    }

    fn from_rows<'a>(
        cpu: Cpu,
        threads: &Threads,
        format: Format,
        rows: usize,
        columns: usize,
        row: impl Fn(usize) -> Option<(Source<'a>, usize)> + Sync,
    ) -> Self {
        let depth = format.depth(columns);
        let panels = rows.div_ceil(PANEL);
        let panel_bytes = depth * PANEL * format.panel_bytes();
        let mut data = Buffer::of::<u8>(panels * panel_bytes);
        let out = Disjoint::new(data.as_mut_slice::<u8>());
        threads.run(
            panels,
            || (),
            |(), panel| {
                // SAFETY: each task has its own panel.
                let out = unsafe { out.range(panel * panel_bytes, panel_bytes) };
                let rows: [_; PANEL] = std::array::from_fn(|r| row(panel * PANEL + r));
                pack_panel(cpu, &rows, columns, depth, format, out);
            },
        );
        Self { rows, columns, format, data }
    }

    /// Number of panels.
    pub fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Length of the sums: the columns, made even where the format needs it.
    pub fn depth(&self) -> usize {
        self.format.depth(self.columns)
    }

    /// Bytes of one panel.
    pub fn panel(&self, panel: usize) -> &[u8] {
        let bytes = self.depth() * PANEL * self.format.panel_bytes();
        assert!(panel < self.panels(), "the weight has no such panel");
        &self.data.as_slice()[panel * bytes..(panel + 1) * bytes]
    }
}

multiversion! {
    /// Packs 64 rows, or zeros where there is none, into `depth` steps of a panel.
    pub fn pack_panel(rows: &[Option<(Source, usize)>; PANEL], columns: usize, depth: usize, format: Format, out: &mut [u8]) = pack_panel_body;
}

#[inline(always)]
fn pack_panel_body(
    rows: &[Option<(Source, usize)>; PANEL],
    columns: usize,
    depth: usize,
    format: Format,
    out: &mut [u8],
) {
    let mut strip = [[0.0_f32; STRIP]; PANEL];
    for start in (0..depth).step_by(STRIP) {
        let width = STRIP.min(columns - start);
        for (values, row) in strip.iter_mut().zip(rows) {
            values[width..].fill(0.0);
            match row {
                Some((source, index)) => source.decode_row(*index, start, &mut values[..width]),
                None => values.fill(0.0),
            }
        }
        let steps = STRIP.min(depth - start);
        let out = &mut out[start * PANEL * format.panel_bytes()..][..steps * PANEL * format.panel_bytes()];
        if format == Format::F32 {
            for (k, group) in out.as_chunks_mut::<{ 4 * PANEL }>().0.iter_mut().enumerate() {
                for (bytes, values) in group.as_chunks_mut::<4>().0.iter_mut().zip(&strip) {
                    *bytes = values[k].to_ne_bytes();
                }
            }
        } else {
            let pairs = strip.map(|values| pairs_of(&values));
            for (k, group) in out.as_chunks_mut::<{ 4 * PANEL }>().0.iter_mut().enumerate() {
                for (bytes, pairs) in group.as_chunks_mut::<4>().0.iter_mut().zip(&pairs) {
                    *bytes = pairs[k].to_ne_bytes();
                }
            }
        }
    }
}

/// Neighbours rounded to bfloat16, the first in the low half.
#[inline(always)]
fn pairs_of(values: &[f32; STRIP]) -> [u32; STRIP / 2] {
    std::array::from_fn(|i| u32::from(to_bfloat16(values[2 * i])) | u32::from(to_bfloat16(values[2 * i + 1])) << 16)
}
