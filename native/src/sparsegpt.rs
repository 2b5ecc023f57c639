//! `SparseGPT` (Frantar & Alistarh 2023): see src/compress/weights/sparsegpt.ts.

use std::ops::Range;

use crate::dispatch::multiversion;
use crate::factor::Factor;
use crate::memory::{Buffer, Disjoint};
use crate::packed::PANEL;
use crate::product::{Context, Tile};
use crate::smallest::{Limit, key_of, limit};
use crate::weight_panel::{Block, Lanes, panel_rows, panels, read_block, sums_before, whole_groups};

/// Which weights become zero.
#[derive(Clone, Copy)]
pub enum Pattern<'a> {
    /// So many of all rows in each block of this many columns.
    Blocks(usize, &'a [i32]),
    /// So many in each run of this many columns of a row.
    Runs(usize, usize),
}

/// A mask of the 64 rows in a column: 0 where a weight becomes zero, else 1.
type Mask = Lanes;

/// What a task needs beside what panels keep.
struct Scratch {
    tile: Tile,
    /// `[width]`
    weights: Buffer,
    masks: Vec<Mask>,
}

/// `SparseGPT` of weight `[rows, columns]`, in place, with a factor that has no order. Returns trace(D H Dᵀ).
pub fn sparsegpt(context: &Context, weight: &mut [f32], factor: &Factor, pattern: Pattern) -> f64 {
    if weight.is_empty() {
        return 0.0;
    }
    let n = factor.columns;
    let rows = weight.len() / n;
    let width = match pattern {
        Pattern::Blocks(size, _) => size,
        Pattern::Runs(_, of) => whole_groups(of),
    };
    let width = width.min(n);
    let mut solver = Solver {
        context,
        factor,
        rows,
        width,
        taken: Buffer::of::<f32>(panels(rows) * n * PANEL),
        sums: Buffer::of::<f32>(panels(rows) * width * PANEL),
        keys: Buffer::of::<u32>(rows * width),
    };
    let mut errors = vec![0.0; panels(rows)];
    for (index, start) in (0..n).step_by(width).enumerate() {
        let block = start..n.min(start + width);
        match pattern {
            Pattern::Blocks(_, counts) => {
                solver.score(weight, block.clone());
                let limits = solver.limits(block.len(), counts[index].cast_unsigned() as usize);
                solver.prune(weight, block, Choice::Limits(&limits), &mut errors);
            }
            Pattern::Runs(zeros, of) => {
                solver.sums_before(block.clone());
                solver.prune(weight, block, Choice::Runs(zeros, of), &mut errors);
            }
        }
    }
    errors.iter().sum::<f64>().max(0.0)
}

/// How a block's mask is found.
#[derive(Clone, Copy)]
enum Choice<'a> {
    /// By the keys of all rows: the limit of each panel.
    Limits(&'a [Limit]),
    /// Run by run.
    Runs(usize, usize),
}

struct Solver<'a> {
    context: &'a Context,
    factor: &'a Factor,
    rows: usize,
    width: usize,
    /// `[panels, columns, 64]`
    taken: Buffer,
    /// `[panels, width, 64]`
    sums: Buffer,
    /// Scores of a block: `[rows, columns of the block]`.
    keys: Buffer,
}

impl Solver<'_> {
    fn scratch(&self) -> impl Fn() -> Scratch + use<> {
        let width = self.width;
        move || Scratch {
            tile: Tile::default(),
            weights: Buffer::of::<f32>(width * PANEL),
            masks: vec![[1.0; PANEL]; width],
        }
    }

    /// The products of a block with what was taken before it.
    fn sums_before(&mut self, block: Range<usize>) {
        let (n, width, factor, context) = (self.factor.columns, self.width, self.factor, self.context);
        let taken = self.taken.as_slice::<f32>().as_chunks::<PANEL>().0;
        let sums = Disjoint::new(self.sums.as_mut_slice::<f32>().as_chunks_mut::<PANEL>().0);
        context.threads.run(panels(self.rows), Tile::default, |tile, panel| {
            // SAFETY: each panel belongs to one task.
            let sums = unsafe { sums.range(panel * width, block.len()) };
            sums_before(context, tile, factor, block.clone(), &taken[panel * n..(panel + 1) * n], sums);
        });
    }

    /// Scores the updated weights of a block.
    fn score(&mut self, weight: &[f32], block: Range<usize>) {
        self.sums_before(block.clone());
        let scratch = self.scratch();
        let (n, width, factor, context) = (self.factor.columns, self.width, self.factor, self.context);
        let sums = self.sums.as_slice::<f32>().as_chunks::<PANEL>().0;
        let taken = Disjoint::new(self.taken.as_mut_slice::<f32>().as_chunks_mut::<PANEL>().0);
        let keys = Disjoint::new(self.keys.as_mut_slice::<u32>());
        context.threads.run(panels(self.rows), scratch, |scratch, panel| {
            let own = panel_rows(panel, self.rows);
            let weights = &mut scratch.weights.as_mut_slice::<f32>().as_chunks_mut::<PANEL>().0[..block.len()];
            read_block(weight, own.clone(), factor, block.clone(), weights);
            let sums = &sums[panel * width..][..block.len()];
            // SAFETY: each panel belongs to one task.
            let taken = unsafe { taken.range(panel * n + block.start, block.len()) };
            // SAFETY: as above.
            let keys = unsafe { keys.range(own.start * block.len(), own.len() * block.len()) };
            let mut columns = Block::new(context, &mut scratch.tile, factor, block.start, sums, weights, taken);
            score_block(context.cpu, &mut columns, keys);
        });
    }

    /// The limit of each panel of the `count` smallest keys of a block of `width` columns.
    fn limits(&self, width: usize, count: usize) -> Vec<Limit> {
        let keys = &self.keys.as_slice::<u32>()[..self.rows * width];
        let limit = limit(self.context, keys, count);
        let mut equal = vec![0; panels(self.rows)];
        let shared = Disjoint::new(&mut equal);
        self.context.threads.pieces(panels(self.rows), 1, |piece| {
            let own = panel_rows(piece.start, self.rows);
            // SAFETY: each panel has its own count.
            let equal = unsafe { shared.range(piece.start, 1) };
            equal[0] = limit.count_equal(self.context.cpu, &keys[own.start * width..own.end * width]);
        });
        limit.split(equal)
    }

    /// Gives the weights of a block their values.
    fn prune(&mut self, weight: &mut [f32], block: Range<usize>, choice: Choice, errors: &mut [f64]) {
        let scratch = self.scratch();
        let (n, width, factor, context) = (self.factor.columns, self.width, self.factor, self.context);
        let sums = self.sums.as_slice::<f32>().as_chunks::<PANEL>().0;
        let keys = self.keys.as_slice::<u32>();
        let taken = Disjoint::new(self.taken.as_mut_slice::<f32>().as_chunks_mut::<PANEL>().0);
        let (weight, errors) = (Disjoint::new(weight), Disjoint::new(errors));
        context.threads.run(panels(self.rows), scratch, |scratch, panel| {
            let own = panel_rows(panel, self.rows);
            // SAFETY: each panel belongs to one task, here and below.
            let weight = unsafe { weight.range(own.start * n, own.len() * n) };
            let weights = &mut scratch.weights.as_mut_slice::<f32>().as_chunks_mut::<PANEL>().0[..block.len()];
            read_block(weight, 0..own.len(), factor, block.clone(), weights);
            let masks = &mut scratch.masks[..block.len()];
            if let Choice::Limits(limits) = choice {
                let keys = &keys[own.start * block.len()..own.end * block.len()];
                read_masks(keys, limits[panel], masks);
            }
            let sums = &sums[panel * width..][..block.len()];
            // SAFETY: as above.
            let taken = unsafe { taken.range(panel * n + block.start, block.len()) };
            let mut columns = Block::new(context, &mut scratch.tile, factor, block.start, sums, weights, taken);
            let runs = if let Choice::Runs(zeros, of) = choice { Some((zeros, of)) } else { None };
            // The masks become the values.
            prune_block(context.cpu, &mut columns, runs, masks);
            // SAFETY: as above.
            let error = unsafe { errors.range(panel, 1) };
            error[0] += columns.error();
            for (lane, row) in weight.chunks_exact_mut(n).enumerate() {
                row[block.clone()].iter_mut().zip(&*masks).for_each(|(out, values)| *out = values[lane]);
            }
        });
    }
}

/// The masks of a panel from the keys of its rows `[rows, width]`.
fn read_masks(keys: &[u32], mut limit: Limit, masks: &mut [Mask]) {
    for (lane, keys) in keys.chunks_exact(masks.len()).enumerate() {
        for (mask, &key) in masks.iter_mut().zip(keys) {
            mask[lane] = if limit.takes(key) { 0.0 } else { 1.0 };
        }
    }
}

multiversion! {
    /// Keys of a block's scores, to keys `[rows, width]`.
    fn score_block(block: &mut Block<'_>, keys: &mut [u32]) = score_block_body;
    /// Prunes a block by its masks, which it finds itself where it is told the zeros and length of runs, and replaces by
    /// the values.
    fn prune_block(block: &mut Block<'_>, runs: Option<(usize, usize)>, masks: &mut [Mask]) = prune_block_body;
}

#[inline(always)]
fn score_block_body(block: &mut Block<'_>, keys: &mut [u32]) {
    let width = block.width();
    for k in 0..width {
        let updated = block.foresee(k);
        let importance = block.factor().importance[block.position(k)];
        for (keys, value) in keys.chunks_exact_mut(width).zip(updated) {
            keys[k] = key_of(value * importance);
        }
    }
}

#[inline(always)]
fn prune_block_body(block: &mut Block<'_>, runs: Option<(usize, usize)>, masks: &mut [Mask]) {
    for k in 0..block.width() {
        if let Some((zeros, of)) = runs
            && k.is_multiple_of(of)
        {
            choose_run(block, k, zeros, &mut masks[k..k + of]);
        }
        let updated = block.updated(k);
        let values = std::array::from_fn(|lane| if masks[k][lane] == 0.0 { 0.0 } else { updated[lane] });
        block.put(k, &values, &updated);
        masks[k] = values;
    }
}

/// The masks of a run that starts at column `first`.
#[inline(always)]
fn choose_run(block: &mut Block<'_>, first: usize, zeros: usize, masks: &mut [Mask]) {
    let mut keys = vec![[0_u32; PANEL]; masks.len()];
    for (k, keys) in keys.iter_mut().enumerate() {
        let updated = block.foresee(first + k);
        let importance = block.factor().importance[block.position(first + k)];
        *keys = std::array::from_fn(|lane| key_of(updated[lane] * importance));
    }
    for (i, mask) in masks.iter_mut().enumerate() {
        let mut before = [0_u32; PANEL];
        for (k, other) in keys.iter().enumerate() {
            for lane in 0..PANEL {
                let first = other[lane] < keys[i][lane] || (other[lane] == keys[i][lane] && k < i);
                before[lane] += u32::from(first);
            }
        }
        *mask = before.map(|count| if (count as usize) < zeros { 0.0 } else { 1.0 });
    }
}
