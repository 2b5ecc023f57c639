//! Rows laid out as operands of float32 products, by the thread that calls.

use crate::packed::PANEL;

/// A cache line of numbers.
pub const LINE: usize = 16;

/// Number `[row, column]` of rows to place `column * stride + row`, a cache line of both at a time.
pub fn transpose_rows<'a>(
    row: impl Fn(usize) -> &'a [f32],
    rows: usize,
    columns: usize,
    stride: usize,
    out: &mut [f32],
) {
    for first in (0..rows).step_by(LINE) {
        let height = LINE.min(rows - first);
        for column in (0..columns).step_by(LINE) {
            let width = LINE.min(columns - column);
            let mut block = [[0.0; LINE]; LINE];
            for (r, block) in block.iter_mut().take(height).enumerate() {
                block[..width].copy_from_slice(&row(first + r)[column..][..width]);
            }
            for c in 0..width {
                let out = &mut out[(column + c) * stride + first..][..height];
                out.iter_mut().zip(&block).for_each(|(out, row)| *out = row[c]);
            }
        }
    }
}

/// Rows of up to 64 numbers to a panel `[rows, 64]`, missing columns zero.
pub fn fill_panel<'a>(row: impl Fn(usize) -> &'a [f32], rows: usize, out: &mut [f32]) {
    for (index, out) in out.as_chunks_mut::<PANEL>().0.iter_mut().take(rows).enumerate() {
        let own = row(index);
        let (values, rest) = out.split_at_mut(own.len());
        values.copy_from_slice(own);
        rest.fill(0.0);
    }
}
