//! Weights rounded to nearest in the formats of quantised checkpoints (docs/quantisation.md), with the codes as they are
//! stored. src/engine/reference/quantise.ts says the same in plain words.
//!
//! Magnitudes and ranges are compared as integers, which compilers vectorise and which order NaN above all numbers: where
//! a weight is not finite its scale is neither, and the caller sees it there.

use crate::codecs::{DType, Source, from_e4m3, to_e2m1, to_e4m3, to_float16};
use crate::dispatch::multiversion;
use crate::math::to_bfloat16;
use crate::memory::Disjoint;
use crate::product::Context;
use crate::quantise::{Grid, code_of, grid_of_range, scale_of};

/// Numbers that a task works on at least.
const GRAIN: usize = 1 << 15;
/// The largest E4M3 number.
const E4M3_LARGEST: f32 = 448.0;
/// The largest E2M1 number.
const E2M1_LARGEST: f32 = 6.0;

/// Rows that a task works on at least.
pub(crate) fn task_rows(columns: usize) -> usize {
    GRAIN.div_ceil(columns.max(1))
}

/// Bytes of a row of codes: whole words of 32 bits.
pub fn packed_bytes(columns: usize, bits: u32) -> usize {
    (columns * bits as usize).div_ceil(32) * 4
}

/// Rounds to integers: codes `[rows, packed_bytes]`, scales `[rows, groups]` in bytes of `scale_dtype`, zeros
/// `[rows, groups]`. `group` divides the columns.
#[allow(clippy::too_many_arguments)]
pub fn integers(
    context: &Context,
    source: Source,
    grid: Grid,
    group: usize,
    scale_dtype: DType,
    codes: &mut [u8],
    scales: &mut [u8],
    zeros: &mut [i8],
) {
    let (rows, columns, groups) = (source.rows(), source.columns(), source.columns() / group.max(1));
    let (row_bytes, scale_bytes) = (packed_bytes(columns, grid.bits), groups * scale_dtype.bytes());
    let (codes, scales, zeros) = (Disjoint::new(codes), Disjoint::new(scales), Disjoint::new(zeros));
    context.threads.pieces(rows, task_rows(columns), |piece| {
        let mut scratch = Scratch::new(columns, groups);
        for row in piece {
            // SAFETY: each row belongs to one task.
            let (row_codes, row_zeros) =
                unsafe { (codes.range(row * row_bytes, row_bytes), zeros.range(row * groups, groups)) };
            // SAFETY: as above.
            let stored = unsafe { scales.range(row * scale_bytes, scale_bytes) };
            integers_row(context.cpu, source, row, grid, group, scale_dtype, &mut scratch, row_codes, row_zeros);
            store(scale_dtype, &scratch.scales, stored);
        }
    });
}

/// What a task needs for a row.
struct Scratch {
    values: Vec<f32>,
    /// Least and greatest value of each group.
    lows: Vec<f32>,
    highs: Vec<f32>,
    scales: Vec<f32>,
    /// Codes of 4 bits, one to a byte.
    codes: Vec<u8>,
}

impl Scratch {
    fn new(columns: usize, groups: usize) -> Self {
        let numbers = |length| vec![0.0; length];
        let codes = vec![0; columns.next_multiple_of(2)];
        Self { values: numbers(columns), lows: numbers(groups), highs: numbers(groups), scales: numbers(groups), codes }
    }
}

multiversion! {
    fn integers_row(source: Source, row: usize, grid: Grid, group: usize, scale_dtype: DType, scratch: &mut Scratch, codes: &mut [u8], zeros: &mut [i8]) = integers_row_body;
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn integers_row_body(
    source: Source,
    row: usize,
    grid: Grid,
    group: usize,
    scale_dtype: DType,
    scratch: &mut Scratch,
    codes: &mut [u8],
    zeros: &mut [i8],
) {
    let columns = source.columns();
    source.decode_row(row, 0, &mut scratch.values);
    // With common group sizes, dtypes and bits constant, loops over them have no remainders and no branches.
    match group {
        32 => ranges(scratch, 32, grid.symmetric),
        128 => ranges(scratch, 128, grid.symmetric),
        _ => ranges(scratch, group, grid.symmetric),
    }
    match scale_dtype {
        DType::Bf16 => grids(scratch, grid, DType::Bf16, zeros),
        DType::F16 => grids(scratch, grid, DType::F16, zeros),
        _ => grids(scratch, grid, DType::F32, zeros),
    }
    match (grid.bits, group) {
        (4, 32) => codes_of_groups::<4>(&scratch.values, 32, &scratch.scales, zeros, &mut scratch.codes),
        (4, 128) => codes_of_groups::<4>(&scratch.values, 128, &scratch.scales, zeros, &mut scratch.codes),
        (4, _) => codes_of_groups::<4>(&scratch.values, group, &scratch.scales, zeros, &mut scratch.codes),
        _ => codes_of_groups::<8>(&scratch.values, group, &scratch.scales, zeros, codes),
    }
    if grid.bits == 4 {
        pack_halves(&scratch.codes, codes);
    } else {
        codes[columns..].fill(0);
    }
}

#[inline(always)]
fn ranges(Scratch { values, lows, highs, .. }: &mut Scratch, group: usize, symmetric: bool) {
    let groups = values.chunks_exact(group).zip(lows).zip(highs);
    if symmetric {
        groups.for_each(|((values, _), high)| *high = largest_of(values));
    } else {
        groups.for_each(|((values, low), high)| (*low, *high) = range_of(values));
    }
}

#[inline(always)]
fn grids(Scratch { lows, highs, scales, .. }: &mut Scratch, grid: Grid, scale_dtype: DType, zeros: &mut [i8]) {
    for (((scale, zero), &low), &high) in scales.iter_mut().zip(zeros).zip(lows.iter()).zip(highs.iter()) {
        (*scale, *zero) = grid_of_range(low, high, grid, scale_dtype);
    }
}

#[inline(always)]
fn codes_of_groups<const BITS: u32>(values: &[f32], group: usize, scales: &[f32], zeros: &[i8], codes: &mut [u8]) {
    let groups = values.chunks_exact(group).zip(codes.chunks_mut(group)).zip(scales).zip(zeros);
    for (((values, codes), &scale), &zero) in groups {
        let zero = f32::from(zero);
        for (code, &value) in codes.iter_mut().zip(values) {
            // Stored without a sign: the least code is 0.
            *code = code_of(value, scale, zero, BITS).cast_unsigned().wrapping_add(1 << (BITS - 1));
        }
    }
}

/// Rounds to E4M3: codes `[rows, columns]`, and scales in bytes of `scale_dtype`, one for each block of so many rows and
/// columns, the last ones partial.
pub fn e4m3(
    context: &Context,
    source: Source,
    block: (usize, usize),
    scale_dtype: DType,
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

multiversion! {
    /// Raises `largest` to the greatest magnitude of each block of `width` columns of a row.
    fn largest_blocks(source: Source, row: usize, width: usize, values: &mut [f32], largest: &mut [f32]) = largest_blocks_body;
    fn e4m3_row(source: Source, row: usize, width: usize, scales: &[f32], values: &mut [f32], codes: &mut [u8]) = e4m3_row_body;
}

#[inline(always)]
fn largest_blocks_body(source: Source, row: usize, width: usize, values: &mut [f32], largest: &mut [f32]) {
    source.decode_row(row, 0, values);
    for (block, largest) in values.chunks(width).zip(largest) {
        *largest = f32::from_bits(largest.to_bits().max(largest_of(block).to_bits()));
    }
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

/// The greatest magnitude of a matrix; NaN where one of its numbers is.
pub fn largest(context: &Context, source: Source) -> f32 {
    let found = std::sync::atomic::AtomicU32::new(0);
    context.threads.pieces(source.rows(), task_rows(source.columns()), |piece| {
        let mut values = vec![0.0; source.columns()];
        let mut largest = [0.0];
        for row in piece {
            largest_blocks(context.cpu, source, row, source.columns(), &mut values, &mut largest);
        }
        found.fetch_max(largest[0].to_bits(), std::sync::atomic::Ordering::Relaxed);
    });
    f32::from_bits(found.into_inner())
}

/// The greatest magnitude of values.
#[inline(always)]
fn largest_of(values: &[f32]) -> f32 {
    f32::from_bits(values.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff)))
}

/// The least and the greatest of values.
#[inline(always)]
fn range_of(values: &[f32]) -> (f32, f32) {
    // Signed integers in the order of the numbers: those of negative numbers have their other bits turned round.
    let key = |bits: i32| bits ^ ((bits >> 31) & 0x7fff_ffff);
    let keys = values.iter().map(|value| key(value.to_bits().cast_signed()));
    let (low, high) = keys.fold((i32::MAX, i32::MIN), |(low, high), key| (low.min(key), high.max(key)));
    let number = |bits: i32| f32::from_bits(key(bits).cast_unsigned());
    (number(low), number(high))
}

/// Two codes of 4 bits to a byte, the first in its low half; bytes beyond them are 0.
#[inline(always)]
fn pack_halves(codes: &[u8], bytes: &mut [u8]) {
    let pairs = codes.as_chunks::<2>().0;
    bytes[pairs.len()..].fill(0);
    bytes.iter_mut().zip(pairs).for_each(|(byte, &pair)| {
        let both = u16::from_le_bytes(pair);
        *byte = (both | (both >> 4)) as u8;
    });
}

/// Numbers of a dtype of scales in their bytes.
pub(crate) fn store(dtype: DType, scales: &[f32], bytes: &mut [u8]) {
    match dtype {
        DType::Bf16 => store_each(scales, bytes, |scale| to_bfloat16(scale).to_le_bytes()),
        DType::F16 => store_each(scales, bytes, |scale| to_float16(scale).to_le_bytes()),
        _ => store_each(scales, bytes, f32::to_le_bytes),
    }
}

fn store_each<const N: usize>(scales: &[f32], bytes: &mut [u8], encode: impl Fn(f32) -> [u8; N]) {
    bytes.as_chunks_mut::<N>().0.iter_mut().zip(scales).for_each(|(bytes, &scale)| *bytes = encode(scale));
}

#[cfg(test)]
mod tests {
    use super::{largest_of, pack_halves, range_of};

    #[test]
    #[allow(clippy::float_cmp)] // nothing is computed
    fn ranges_and_magnitudes() {
        let values = [1.0, -3.0, 0.5, -0.0, 2.5];
        assert_eq!((largest_of(&values), range_of(&values)), (3.0, (-3.0, 2.5)));
        assert_eq!(range_of(&[-4.0, -0.25]), (-4.0, -0.25));
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let values = [1.0, value, -7.0];
            let (low, high) = range_of(&values);
            assert!(!largest_of(&values).is_finite() && !(high - low).is_finite());
        }
    }

    #[test]
    fn codes_of_4_bits_are_packed_low_half_first() {
        let mut bytes = [9; 4];
        pack_halves(&[1, 2, 3, 15], &mut bytes);
        assert_eq!(bytes, [0x21, 0xf3, 0, 0]);
    }
}
