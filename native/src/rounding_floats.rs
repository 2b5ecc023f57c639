//! Weights rounded to nearest in formats of floats, as in `rounding`.

use crate::codecs::{DType, Source, from_e4m3, to_e2m1, to_e4m3};
use crate::dispatch::multiversion;
use crate::memory::Disjoint;
use crate::product::Context;
use crate::quantise::scale_of;
use crate::rounding::{largest_blocks, largest_of, pack_halves, store, task_rows};

/// The largest E4M3 number.
const E4M3_LARGEST: f32 = 448.0;
/// The largest E2M1 number.
const E2M1_LARGEST: f32 = 6.0;

/// Rounds to E4M3: codes `[rows, columns]`, and scales in bytes of `scale_dtype`, one for each block of so many rows and
/// columns, the last ones partial; with `powers_of_two` each is rounded up to one.
pub fn e4m3(
    context: &Context,
    source: Source,
    block: (usize, usize),
    scale_dtype: DType,
    powers_of_two: bool,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    let (rows, columns) = (source.rows(), source.columns());
    let blocks = columns.div_ceil(block.1.max(1));
    let scale_bytes = blocks * scale_dtype.bytes();
    let (codes, scales) = (Disjoint::new(codes), Disjoint::new(scales));
    let size = task_rows(columns).div_ceil(block.0.max(1));
    context.threads.pieces(rows.div_ceil(block.0.max(1)), size, |piece| {
        let mut values = vec![0.0; columns];
        let mut block_scales = vec![0.0; blocks];
        for block_row in piece {
            let block_rows = block_row * block.0..rows.min((block_row + 1) * block.0);
            block_scales.fill(0.0);
            for row in block_rows.clone() {
                largest_blocks(context.cpu, source, row, block.1, &mut values, &mut block_scales);
            }
            for scale in &mut block_scales {
                *scale = scale_of(*scale, E4M3_LARGEST, scale_dtype);
                if powers_of_two {
                    *scale = power_of_two_above(*scale);
                }
            }
            for row in block_rows {
                // SAFETY: each row belongs to one task.
                let row_codes = unsafe { codes.range(row * columns, columns) };
                e4m3_row(context.cpu, source, row, block.1, &block_scales, &mut values, row_codes);
            }
            // SAFETY: as above.
            store(scale_dtype, &block_scales, unsafe { scales.range(block_row * scale_bytes, scale_bytes) });
        }
    });
}

/// The smallest power of two that is not less than a positive number; itself where it is not finite.
fn power_of_two_above(value: f32) -> f32 {
    let bits = value.to_bits();
    if bits >= 0x7f80_0000 { value } else { f32::from_bits((bits + 0x007f_ffff) & 0x7f80_0000) }
}

multiversion! {
    fn e4m3_row(source: Source, row: usize, width: usize, scales: &[f32], values: &mut [f32], codes: &mut [u8]) = e4m3_row_body;
}

#[inline(always)]
fn e4m3_row_body(source: Source, row: usize, width: usize, scales: &[f32], values: &mut [f32], codes: &mut [u8]) {
    source.decode_row(row, 0, values);
    for ((values, codes), &scale) in values.chunks(width).zip(codes.chunks_mut(width)).zip(scales) {
        codes.iter_mut().zip(values).for_each(|(code, value)| *code = to_e4m3(*value / scale));
    }
}

/// Rounds to MXFP4 (OCP Microscaling 1.0): codes `[rows, columns / 2]`, scales `[rows, columns / 32]` (E8M0). 32 divides
/// the columns.
pub fn mxfp4(context: &Context, source: Source, codes: &mut [u8], scales: &mut [u8]) {
    let row = |row, values: &mut [f32], codes: &mut [u8], scales: &mut [u8]| {
        mxfp4_row(context.cpu, source, row, &mut values[..source.columns()], codes, scales);
    };
    halves(context, source, 32, row, codes, scales);
}

/// Rounds to NVFP4: codes `[rows, columns / 2]`, scales `[rows, columns / 16]` (E4M3), each times 1 / `global`. 16 divides
/// the columns.
pub fn nvfp4(context: &Context, source: Source, global: f32, codes: &mut [u8], scales: &mut [u8]) {
    let row = |row, values: &mut [f32], codes: &mut [u8], scales: &mut [u8]| {
        let (values, steps) = values.split_at_mut(source.columns());
        nvfp4_row(context.cpu, source, row, global, values, steps, codes, scales);
    };
    halves(context, source, 16, row, codes, scales);
}

/// Runs `body(row, numbers, codes, scales)` for each row of codes of 4 bits with a byte of scale for each group. `numbers`
/// has room for a row, and a number for each group.
fn halves(
    context: &Context,
    source: Source,
    group: usize,
    body: impl Fn(usize, &mut [f32], &mut [u8], &mut [u8]) + Sync,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    let columns = source.columns();
    let (codes, scales) = (Disjoint::new(codes), Disjoint::new(scales));
    context.threads.pieces(source.rows(), task_rows(columns), |piece| {
        let mut numbers = vec![0.0; columns + columns / group];
        for row in piece {
            // SAFETY: each row belongs to one task.
            let row_codes = unsafe { codes.range(row * columns / 2, columns / 2) };
            // SAFETY: as above.
            body(row, &mut numbers, row_codes, unsafe { scales.range(row * columns / group, columns / group) });
        }
    });
}

multiversion! {
    fn mxfp4_row(source: Source, row: usize, values: &mut [f32], codes: &mut [u8], scales: &mut [u8]) = mxfp4_row_body;
    fn nvfp4_row(source: Source, row: usize, global: f32, values: &mut [f32], steps: &mut [f32], codes: &mut [u8], scales: &mut [u8]) = nvfp4_row_body;
}

#[inline(always)]
fn mxfp4_row_body(source: Source, row: usize, values: &mut [f32], codes: &mut [u8], scales: &mut [u8]) {
    source.decode_row(row, 0, values);
    let groups = values.as_chunks::<32>().0.iter().zip(codes.as_chunks_mut::<16>().0).zip(scales);
    for ((values, codes), scale) in groups {
        // The exponent of the largest magnitude, one more from 1.75 times a power of two on, less that of 4, the power of
        // two of the largest code. 255 is what NaN and infinity have.
        let largest = largest_of(values).to_bits();
        let exponent = ((largest + (1 << 21)) >> 23).saturating_sub(2);
        *scale = if largest < 0x7f80_0000 { exponent as u8 } else { 255 };
        let factor = f32::from_bits((254 - exponent) << 23);
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(values).for_each(|(byte, value)| *byte = to_e2m1(value * factor));
        pack_halves(&bytes, codes);
    }
}

#[inline(always)]
fn nvfp4_row_body(
    source: Source,
    row: usize,
    global: f32,
    values: &mut [f32],
    steps: &mut [f32],
    codes: &mut [u8],
    scales: &mut [u8],
) {
    source.decode_row(row, 0, values);
    // In steps of all groups, which vectorise.
    let groups = values.as_chunks::<16>().0;
    steps.iter_mut().zip(groups).for_each(|(step, group)| *step = largest_of(group));
    for (step, scale) in steps.iter_mut().zip(scales.iter_mut()) {
        let rounded = to_e4m3(*step / E2M1_LARGEST * global);
        // 0.125 where it would be 0, so that it can be divided by.
        *scale = if rounded == 0 { 0x20 } else { rounded };
        *step = from_e4m3(*scale) / global;
    }
    for ((values, codes), step) in groups.iter().zip(codes.as_chunks_mut::<8>().0).zip(steps) {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(values).for_each(|(byte, value)| *byte = to_e2m1(value / *step));
        pack_halves(&bytes, codes);
    }
}
