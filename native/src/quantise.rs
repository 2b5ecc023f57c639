//! Scales and codes of integer grids: src/checkpoint/quantised/integer-grid.ts says what they mean.

use crate::codecs::{DType, from_float16, to_float16};
use crate::math::{from_bfloat16, to_bfloat16};

/// Integers of so many bits, from -2^(bits - 1) on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// 4 or 8.
    pub bits: u32,
    /// Whether the code of 0 is 0; else it is the zero point.
    pub symmetric: bool,
}

/// The scale and the zero point for values from `minimum` to `maximum`, widened to hold 0, each step rounded to
/// `scale_dtype`: `gridOfRange`.
#[inline(always)]
pub(crate) fn grid_of_range(minimum: f32, maximum: f32, grid: Grid, scale_dtype: DType) -> (f32, i8) {
    let rounded = |value: f32| round_to(scale_dtype, value);
    // Comparisons that keep NaN, as `min` and `max` do not.
    let (low, high) =
        (rounded(if minimum > 0.0 { 0.0 } else { minimum }), rounded(if maximum < 0.0 { 0.0 } else { maximum }));
    let steps = ((1_u32 << grid.bits) - 1) as f32;
    if grid.symmetric {
        return (scale_of(if -low > high { -low } else { high }, steps / 2.0, scale_dtype), 0);
    }
    let scale = rounded(rounded(high - low) / steps);
    let zero = rounded(-limit(grid.bits) - rounded(low / scale));
    // 0 / 0 where all values are 0.
    (not_zero(scale, scale_dtype), if zero.is_nan() { 0 } else { clamp_round(zero, grid.bits) })
}

/// The scale that makes the largest magnitude `most`.
#[inline(always)]
pub(crate) fn scale_of(largest: f32, most: f32, scale_dtype: DType) -> f32 {
    not_zero(round_to(scale_dtype, largest / most), scale_dtype)
}

#[inline(always)]
fn not_zero(scale: f32, scale_dtype: DType) -> f32 {
    if scale == 0.0 { epsilon(scale_dtype) } else { scale }
}

/// The code nearest to a value, value / scale + zero, ties to even, limited to what `bits` can hold: `codeOf`.
#[inline(always)]
pub(crate) fn code_of(value: f32, scale: f32, zero: f32, bits: u32) -> i8 {
    clamp_round(value / scale + zero, bits)
}

#[inline(always)]
fn limit(bits: u32) -> f32 {
    (1_u32 << (bits - 1)) as f32
}

/// Adding 1.5 * 2^23 rounds to an integer in the low bits, ties to even.
#[inline(always)]
fn clamp_round(value: f32, bits: u32) -> i8 {
    const ROUND: f32 = 12_582_912.0;
    let clamped = value.max(-limit(bits)).min(limit(bits) - 1.0);
    (clamped + ROUND).to_bits() as i8
}

/// A number rounded to a dtype of scales, to nearest even. Other dtypes than BF16, F16 and F32 have no scales.
#[inline(always)]
pub(crate) fn round_to(dtype: DType, value: f32) -> f32 {
    match dtype {
        DType::Bf16 => from_bfloat16(to_bfloat16(value)),
        DType::F16 => from_float16(to_float16(value)),
        _ => value,
    }
}

fn epsilon(dtype: DType) -> f32 {
    match dtype {
        DType::Bf16 => 1.0 / 128.0,
        DType::F16 => 1.0 / 1024.0,
        _ => f32::EPSILON,
    }
}

#[cfg(test)]
mod tests {
    use super::{Grid, code_of, grid_of_range};
    use crate::codecs::DType;

    #[test]
    #[allow(clippy::float_cmp)] // the grids are exact
    fn grids_of_ranges() {
        let grid = |bits, symmetric| Grid { bits, symmetric };
        for dtype in [DType::Bf16, DType::F16, DType::F32] {
            let of = |minimum, maximum, grid| grid_of_range(minimum, maximum, grid, dtype);
            assert_eq!(of(-3.0, 7.5, grid(4, true)), (1.0, 0));
            assert_eq!(of(-127.5, 1.0, grid(8, true)), (1.0, 0));
            assert_eq!(of(-5.0, 10.0, grid(4, false)), (1.0, -3));
            assert_eq!(of(-2.5, 12.5, grid(4, false)), (1.0, -6));
            assert_eq!(of(-3.5, 11.5, grid(4, false)), (1.0, -4));
            assert_eq!(of(15.0, 30.0, grid(4, false)), (2.0, -8));
            assert_eq!(of(-254.0, 256.0, grid(8, false)), (2.0, -1));
        }
        let zeros = [(DType::Bf16, 2_f32.powi(-7)), (DType::F16, 2_f32.powi(-10)), (DType::F32, 2_f32.powi(-23))];
        for (dtype, epsilon) in zeros {
            assert_eq!(grid_of_range(0.0, 0.0, grid(4, false), dtype), (epsilon, 0));
        }
    }

    #[test]
    fn codes_round_to_even_and_are_limited() {
        let codes = [-99.0, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 7.4, 99.0].map(|value| code_of(value * 3.0, 3.0, 0.0, 4));
        assert_eq!(codes, [-8, -2, -2, 0, 0, 2, 2, 7, 7]);
        assert_eq!(code_of(1e9, 1.0, 0.0, 8), 127);
        assert_eq!(code_of(-1e9, 1.0, 5.0, 8), -128);
    }
}
