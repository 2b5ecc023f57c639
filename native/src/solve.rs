//! Solutions X of X H = B with the factor of H = R Rᵀ: first Z Rᵀ = B from the last column to the first, then X R = Z from
//! the first to the last, by blocks of 64 columns.

use std::ops::Range;

use crate::factor::{Factor, invert_block};
use crate::memory::{Buffer, Disjoint, bytes_of};
use crate::packed::{Format, PANEL};
use crate::product::{BLOCK_ROWS, Context, Rows, Tile, block_rows, row_blocks};

/// What a block of columns is multiplied with in one of the two passes.
struct Panels {
    /// The columns that are known before it, side by side.
    others: Buffer,
    /// The inverse of the block on the diagonal `[width, 64]`.
    inverse: Buffer,
}

/// Both passes' panels of a block of columns.
struct Block {
    columns: Range<usize>,
    back: Panels,
    forth: Panels,
}

/// X `[rows, columns]` with X H = B, to x, which holds B. The factor has no order.
pub fn solve_gram(context: &Context, factor: &Factor, x: &mut [f32]) {
    let n = factor.columns;
    let rows = x.len() / n.max(1);
    let blocks: Vec<Block> = (0..n).step_by(PANEL).map(|first| block(factor, first..n.min(first + PANEL))).collect();
    let (tasks, size) = row_blocks(rows);
    let x = Disjoint::new(x);
    let scratch = || (Tile::default(), vec![0.0; BLOCK_ROWS * PANEL]);
    context.threads.run(tasks, scratch, |(tile, left), task| {
        let range = block_rows(task, size, rows);
        // SAFETY: each row belongs to one task.
        let x = unsafe { x.range(range.start * n, range.len() * n) };
        for Block { columns, back, .. } in blocks.iter().rev() {
            put(context, tile, left, x, n, (columns.end..n, columns), back);
        }
        for Block { columns, forth, .. } in &blocks {
            put(context, tile, left, x, n, (0..columns.start, columns), forth);
        }
    });
}

/// Replaces the columns of a block by (themselves - known columns times `others`) times `inverse`.
fn put(
    context: &Context,
    tile: &mut Tile,
    left: &mut [f32],
    x: &mut [f32],
    n: usize,
    (known, columns): (Range<usize>, &Range<usize>),
    panels: &Panels,
) {
    let rows = x.len() / n;
    let others = bytes_of(&panels.others.as_slice::<f32>()[..known.len() * PANEL]);
    // Nothing is known before the first block.
    let input = Rows::float32(&x[known.start.min(n - 1)..], n);
    tile.multiply_panel(context.cpu, Format::F32, input, 0..rows, others, known.len());
    let left_rows = left.as_chunks_mut::<PANEL>().0;
    for (i, (left, own)) in left_rows.iter_mut().zip(x.chunks_exact(n)).enumerate() {
        let own = &own[columns.clone()];
        left.iter_mut().zip(own).zip(tile.row(i)).for_each(|((left, own), sum)| *left = own - sum);
    }
    let inverse = bytes_of(&panels.inverse.as_slice::<f32>()[..columns.len() * PANEL]);
    tile.multiply_panel(context.cpu, Format::F32, Rows::float32(left, PANEL), 0..rows, inverse, columns.len());
    for (i, row) in x.chunks_exact_mut(n).enumerate() {
        row[columns.clone()].copy_from_slice(&tile.row(i)[..columns.len()]);
    }
}

fn block(factor: &Factor, columns: Range<usize>) -> Block {
    let n = factor.columns;
    let transposed = factor.transposed();
    let mut after = Buffer::of::<f32>((n - columns.end) * PANEL);
    for (k, out) in (columns.end..n).zip(after.as_mut_slice::<f32>().as_chunks_mut::<PANEL>().0) {
        out.copy_from_slice(&transposed[k * n + columns.start..][..PANEL]);
    }
    let mut before = Buffer::of::<f32>(columns.start * PANEL);
    let before_panels = before.as_mut_slice::<f32>();
    let mut own = vec![[0.0_f64; PANEL]; PANEL];
    for (k, j) in columns.clone().enumerate() {
        let row = &transposed[j * n..=j * n + j];
        (0..columns.start).for_each(|i| before_panels[i * PANEL + k] = row[i]);
        own[k].iter_mut().zip(&row[columns.start..]).for_each(|(own, &value)| *own = f64::from(value));
    }
    let width = columns.len();
    let mut back = Buffer::of::<f32>(width * PANEL);
    invert_block(&own, back.as_mut_slice());
    // The inverse of R is that of Rᵀ, transposed.
    let mut forth = Buffer::of::<f32>(width * PANEL);
    let (inverse, turned) = (back.as_slice::<f32>(), forth.as_mut_slice::<f32>());
    for i in 0..width {
        (0..width).for_each(|j| turned[i * PANEL + j] = inverse[j * PANEL + i]);
    }
    Block { columns, back: Panels { others: after, inverse: back }, forth: Panels { others: before, inverse: forth } }
}
