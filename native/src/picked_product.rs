//! Float32 products of some rows of an array, and products that are taken from some rows of one.

use std::ops::Range;

use crate::codecs::{DType, Source};
use crate::memory::{Disjoint, bytes_of};
use crate::packed::{Format, Packed};
use crate::picked::Picked;
use crate::product::{Context, Tile, block_rows, panel_columns, row_blocks};

/// a bᵀ for rows a `[m, k]` and b `[n, k]`, to out `[m, n]`; with factors `[m, n]` each number times its own.
pub fn product_of_picked(context: &Context, a: Picked, b: &[f32], factors: Option<&[f32]>, out: &mut [f32]) {
    let n = b.len() / a.columns().max(1);
    let out = Disjoint::new(out);
    multiply(context, a, b, |row, columns, sums| {
        let place = row * n + columns.start;
        // SAFETY: each (row, columns) is given once.
        let out = unsafe { out.range(place, columns.len()) };
        match factors {
            Some(factors) => {
                out.iter_mut().zip(sums).zip(&factors[place..]).for_each(|((out, sum), factor)| *out = sum * factor);
            }
            None => out.copy_from_slice(sums),
        }
    });
}

/// Takes a bᵀ, for a `[rows, k]` and b `[n, k]`, from some rows of values `[*, n]`, no two of which are the same.
pub fn subtract_product(context: &Context, values: &mut [f32], rows: &[i32], a: &[f32], b: &[f32], k: usize) {
    let n = b.len() / k.max(1);
    let values = Disjoint::new(values);
    multiply(context, Picked::all(a, k), b, |row, columns, sums| {
        // SAFETY: rows differ, and each (row, columns) is given once.
        let values = unsafe { values.range(rows[row].cast_unsigned() as usize * n + columns.start, columns.len()) };
        values.iter_mut().zip(sums).for_each(|(value, sum)| *value -= sum);
    });
}

/// `finish(row, columns, sums)` for all pieces of rows of a bᵀ.
fn multiply(context: &Context, a: Picked, b: &[f32], finish: impl Fn(usize, Range<usize>, &[f32]) + Sync) {
    let k = a.columns();
    let n = b.len() / k.max(1);
    let source = Source::new(DType::F32, n, k, bytes_of(b)).expect("b has n rows");
    let weight = Packed::new(context.cpu, &context.threads, Format::F32, source);
    let (blocks, size) = row_blocks(a.len());
    // Blocks of one task share a panel while it is in the cache, but every thread should get some tasks.
    let groups = (4 * context.threads.count()).div_ceil(weight.panels().max(1)).clamp(1, blocks.max(1));
    let blocks_per_group = blocks.div_ceil(groups).max(1);
    let groups = blocks.div_ceil(blocks_per_group);
    context.threads.run(weight.panels() * groups, Tile::default, |tile, task| {
        let (panel, group) = (task / groups, task % groups);
        let columns = panel_columns(panel, n);
        for block in group * blocks_per_group..blocks.min((group + 1) * blocks_per_group) {
            let range = block_rows(block, size, a.len());
            tile.multiply(context.cpu, a.operand(), range.clone().map(|row| a.place(row)), &weight, panel);
            for (i, row) in range.enumerate() {
                finish(row, columns.clone(), &tile.row(i)[..columns.len()]);
            }
        }
    });
}
