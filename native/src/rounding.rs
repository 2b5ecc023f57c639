//! Weights rounded to nearest in the formats of quantised checkpoints (docs/quantisation.md), with the codes as they are
//! stored: integers, and what floats (`rounding_floats`) share with them. `src/engine/reference/rounding.ts` says the same in plain words.
//!
//! Magnitudes and ranges are compared as integers, which compilers vectorise and which order NaN above all numbers: where
//! a weight is not finite its scale is neither, and the caller sees it there.

use crate::codecs::{DType, Source, to_float16};
use crate::dispatch::multiversion;
use crate::math::to_bfloat16;
use crate::memory::Disjoint;
use crate::product::Context;
use crate::quantise::{Grid, code_of, grid_of_range};

/// Numbers that a task works on at least.
const GRAIN: usize = 1 << 15;

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

multiversion! {
    /// Raises `largest` to the greatest magnitude of each block of `width` columns of a row.
    pub(crate) fn largest_blocks(source: Source, row: usize, width: usize, values: &mut [f32], largest: &mut [f32]) = largest_blocks_body;
}

#[inline(always)]
fn largest_blocks_body(source: Source, row: usize, width: usize, values: &mut [f32], largest: &mut [f32]) {
    source.decode_row(row, 0, values);
    for (block, largest) in values.chunks(width).zip(largest) {
        *largest = f32::from_bits(largest.to_bits().max(largest_of(block).to_bits()));
    }
}

/// The greatest magnitude of values.
#[inline(always)]
pub(crate) fn largest_of(values: &[f32]) -> f32 {
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
pub(crate) fn pack_halves(codes: &[u8], bytes: &mut [u8]) {
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
