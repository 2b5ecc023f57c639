//! 64 rows of a weight on their way through the columns, side by side as the lanes of a product's panel.
//!
//! With H = R Rᵀ the squared change of a row's outputs by d = w - q is ||d R||², whose term k is the square of the sum over
//! i <= k of `d_i R_ik`. It is 0 for the weight `w_k` + (sum over i < k of `d_i R_ik`) / `R_kk`: what the updates of the
//! published loops make of column k (docs/weight-pruning.md). Terms from columns before a block come as a product for the
//! whole block, those inside it as small products and column by column.

use std::ops::Range;

use crate::dispatch::Cpu;
use crate::factor::Factor;
use crate::memory::bytes_of;
use crate::packed::{Format, PANEL};
use crate::product::{BLOCK_ROWS, Context, Rows, Tile};

/// A number of each of the 64 rows.
pub type Lanes = [f32; PANEL];

/// Columns of a block, unless the groups ask for others.
pub const BLOCK: usize = 128;

/// The widest block that has whole groups of `size` columns: about 128, or one group.
pub fn whole_groups(size: usize) -> usize {
    if size >= BLOCK { size } else { BLOCK - BLOCK % size }
}

/// Number of panels of a weight.
pub fn panels(rows: usize) -> usize {
    rows.div_ceil(PANEL)
}

/// The rows of a panel that exist.
pub fn panel_rows(panel: usize, rows: usize) -> Range<usize> {
    panel * PANEL..rows.min((panel + 1) * PANEL)
}

/// Sums over i before the block of `d_i R_ik`, for the block's columns k: sums `[width]`. `taken` `[columns]` is d.
pub fn sums_before(
    context: &Context,
    tile: &mut Tile,
    factor: &Factor,
    block: Range<usize>,
    taken: &[Lanes],
    sums: &mut [Lanes],
) {
    let panel = bytes_of(taken[..block.start].as_flattened());
    let input = Rows::float32(factor.transposed(), factor.columns);
    for first in block.clone().step_by(BLOCK_ROWS) {
        let rows = first..block.end.min(first + BLOCK_ROWS);
        let out = sums[first - block.start..][..rows.len()].as_flattened_mut();
        tile.multiply_panel(context.cpu, Format::F32, input, rows, panel, block.start);
        out.copy_from_slice(&tile.sums()[..out.len()]);
    }
}

/// The weights of a panel's rows in a block of positions, to out `[width]`; 0 for rows that do not exist.
pub fn read_block(weight: &[f32], rows: Range<usize>, factor: &Factor, block: Range<usize>, out: &mut [Lanes]) {
    out.fill([0.0; PANEL]);
    for (lane, row) in rows.enumerate() {
        let row = &weight[row * factor.columns..][..factor.columns];
        for (out, position) in out.iter_mut().zip(block.clone()) {
            out[lane] = row[factor.column(position)];
        }
    }
}

/// Columns that take each other's terms one by one; those of earlier columns of the block come as a product.
const STEP: usize = 16;

/// Sums of a step's columns, from all columns before it, aligned as vectors are.
#[repr(align(64))]
struct Near([Lanes; STEP]);

/// A block of columns of a panel.
pub struct Block<'a> {
    /// The factor.
    factor: &'a Factor,
    /// First position.
    start: usize,
    /// Of `sums_before`.
    sums: &'a [Lanes],
    /// The weights as given.
    weights: &'a [Lanes],
    /// What was taken from them: d, from the block's first position on.
    taken: &'a mut [Lanes],
    cpu: Cpu,
    tile: &'a mut Tile,
    /// Columns of the step, and their sums.
    step: Range<usize>,
    near: Near,
    /// Sum of the terms of ||d R||².
    damped: Lanes,
    /// Sum of `d_k²` times what was added to `H_kk`: the part of it that is not of the outputs.
    added: Lanes,
}

impl<'a> Block<'a> {
    /// The block from `start` on, of which nothing is taken yet. `taken` `[width]` is its part.
    pub fn new(
        context: &Context,
        tile: &'a mut Tile,
        factor: &'a Factor,
        start: usize,
        sums: &'a [Lanes],
        weights: &'a [Lanes],
        taken: &'a mut [Lanes],
    ) -> Self {
        let (near, zeros) = (Near([[0.0; PANEL]; STEP]), [0.0; PANEL]);
        let cpu = context.cpu;
        Self { factor, start, sums, weights, taken, cpu, tile, step: 0..0, near, damped: zeros, added: zeros }
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.weights.len()
    }

    /// The factor's position of column k.
    pub fn position(&self, k: usize) -> usize {
        self.start + k
    }

    /// The factor.
    pub fn factor(&self) -> &'a Factor {
        self.factor
    }

    /// Starts a step at column k.
    fn reach(&mut self, k: usize) {
        let n = self.factor.columns;
        self.step = k..self.width().min(k + STEP);
        let rows = self.start + self.step.start..self.start + self.step.end;
        let input = Rows::float32(&self.factor.transposed()[self.start..], n);
        let panel = bytes_of(self.taken[..k].as_flattened());
        self.tile.multiply_panel(self.cpu, Format::F32, input, rows, panel, k);
        let sums = self.sums[self.step.clone()].as_flattened().iter().zip(self.tile.sums());
        self.near
            .0
            .as_flattened_mut()
            .iter_mut()
            .zip(sums)
            .for_each(|(near, (before, inside))| *near = before + inside);
    }

    /// The weights of column k that make its term 0, given what was taken before it.
    #[inline(always)]
    pub fn updated(&mut self, k: usize) -> Lanes {
        if !self.step.contains(&k) {
            self.reach(k);
        }
        let (position, first) = (self.start + k, self.step.start);
        let before = &self.factor.transposed()[position * self.factor.columns + self.start..][first..k];
        let mut sums = self.near.0[k - first];
        for (factor, taken) in before.iter().zip(&self.taken[first..k]) {
            sums.iter_mut().zip(taken).for_each(|(sum, taken)| *sum += factor * taken);
        }
        let inverse = 1.0 / self.factor.diagonal[position];
        std::array::from_fn(|lane| self.weights[k][lane] + sums[lane] * inverse)
    }

    /// As `updated`, and takes what makes the term 0, so that later columns can be asked. `put` comes after all.
    #[inline(always)]
    pub fn foresee(&mut self, k: usize) -> Lanes {
        let updated = self.updated(k);
        self.taken[k] = std::array::from_fn(|lane| self.weights[k][lane] - updated[lane]);
        updated
    }

    /// Gives column k its values, in place of its updated ones.
    #[inline(always)]
    pub fn put(&mut self, k: usize, values: &Lanes, updated: &Lanes) {
        let position = self.start + k;
        // An input that was always 0 has only what was added, and no part in the error.
        let diagonal = self.factor.importance[position];
        let added = if diagonal == 0.0 { 0.0 } else { self.factor.added[position] as f32 };
        for lane in 0..PANEL {
            let taken = self.weights[k][lane] - values[lane];
            let term = (updated[lane] - values[lane]) * diagonal;
            self.taken[k][lane] = taken;
            self.damped[lane] += term * term;
            self.added[lane] += added * taken * taken;
        }
    }

    /// trace(D H Dᵀ) of the block's columns.
    pub fn error(&self) -> f64 {
        let sum = |lanes: &Lanes| lanes.iter().map(|&value| f64::from(value)).sum::<f64>();
        sum(&self.damped) - sum(&self.added)
    }
}
