//! Number types of checkpoints, decoded to float32.

use crate::dispatch::multiversion;
use crate::math::from_bfloat16;

/// Floating-point types of the safetensors format, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// IEEE binary64, rounded to float32
    F64,
    /// IEEE binary32
    F32,
    /// IEEE binary16
    F16,
    /// bfloat16
    Bf16,
    /// 1 sign, 4 exponent (bias 7), 3 mantissa bits; no infinity, S.1111.111 is NaN (OCP OFP8)
    F8E4M3,
    /// 1 sign, 5 exponent (bias 15), 2 mantissa bits, as IEEE (OCP OFP8)
    F8E5M2,
}

impl DType {
    /// The type of this safetensors name, if it is a floating-point type.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "F64" => Some(Self::F64),
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::Bf16),
            "F8_E4M3" => Some(Self::F8E4M3),
            "F8_E5M2" => Some(Self::F8E5M2),
            _ => None,
        }
    }

    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8E4M3 | Self::F8E5M2 => 1,
        }
    }
}

/// A matrix `[rows, columns]` as it lies in a checkpoint.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    dtype: DType,
    rows: usize,
    columns: usize,
    data: &'a [u8],
}

impl<'a> Source<'a> {
    /// Checks that the data has the size of the shape.
    pub fn new(dtype: DType, rows: usize, columns: usize, data: &'a [u8]) -> Result<Self, String> {
        let expected = rows.checked_mul(columns).and_then(|length| length.checked_mul(dtype.bytes()));
        if expected != Some(data.len()) {
            return Err(format!("{} bytes are not {rows} x {columns} numbers of type {dtype:?}", data.len()));
        }
        Ok(Self { dtype, rows, columns, data })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// 32 columns of a row as they lie, if they are bfloat16 numbers and the row has so many.
    #[inline(always)]
    pub(crate) fn bfloat16_numbers(&self, row: usize, start: usize) -> Option<&'a [[u8; 2]; 32]> {
        if self.dtype != DType::Bf16 || self.columns - start < 32 {
            return None;
        }
        self.data[(row * self.columns + start) * 2..].as_chunks().0.first_chunk()
    }

    /// Decodes columns `start..start + out.len()` of a row.
    #[inline(always)]
    pub(crate) fn decode_row(&self, row: usize, start: usize, out: &mut [f32]) {
        let bytes = self.dtype.bytes();
        let first = (row * self.columns + start) * bytes;
        decode_body(self.dtype, &self.data[first..first + out.len() * bytes], out);
    }
}

multiversion! {
    #[cfg(test)]
    pub fn decode(dtype: DType, data: &[u8], out: &mut [f32]) = decode_body;
}

#[inline(always)]
fn decode_body(dtype: DType, data: &[u8], out: &mut [f32]) {
    match dtype {
        DType::F64 => decode_each(data, out, |b| f64::from_le_bytes(b) as f32),
        DType::F32 => decode_each(data, out, f32::from_le_bytes),
        DType::F16 => decode_each(data, out, |b| from_float16(u16::from_le_bytes(b))),
        DType::Bf16 => decode_each(data, out, |b| from_bfloat16(u16::from_le_bytes(b))),
        DType::F8E4M3 => decode_each(data, out, |[b]| from_e4m3(b)),
        // The upper half of a binary16 number.
        DType::F8E5M2 => decode_each(data, out, |[b]| from_float16(u16::from(b) << 8)),
    }
}

#[inline(always)]
fn decode_each<const N: usize>(data: &[u8], out: &mut [f32], decode: impl Fn([u8; N]) -> f32) {
    for (value, bytes) in out.iter_mut().zip(data.as_chunks::<N>().0) {
        *value = decode(*bytes);
    }
}

/// Moving the exponent and mantissa bits into their float32 places divides the value by 2^112, subnormals included.
#[inline(always)]
pub(crate) fn from_float16(bits: u16) -> f32 {
    const SCALE: f32 = f32::from_bits((112 + 127) << 23);
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let scaled = (f32::from_bits(magnitude) * SCALE).to_bits();
    let special = if magnitude >= 0x7c00 << 13 { 0x7f80_0000 } else { 0 };
    f32::from_bits(scaled | special | (u32::from(bits & 0x8000) << 16))
}

/// As `from_float16`, with a bias of 7: the value is divided by 2^120.
#[inline(always)]
pub(crate) fn from_e4m3(bits: u8) -> f32 {
    const SCALE: f32 = f32::from_bits((120 + 127) << 23);
    let magnitude = u32::from(bits & 0x7f);
    let scaled = (f32::from_bits(magnitude << 20) * SCALE).to_bits();
    let special = if magnitude == 0x7f { 0x7fc0_0000 } else { 0 };
    f32::from_bits(scaled | special | (u32::from(bits & 0x80) << 24))
}

/// As `from_float16`, with 2 exponent bits, a bias of 1 and no special numbers (E2M1, OCP Microscaling 1.0).
#[inline(always)]
pub(crate) fn from_e2m1(bits: u8) -> f32 {
    const SCALE: f32 = f32::from_bits((126 + 127) << 23);
    let scaled = (f32::from_bits(u32::from(bits & 7) << 22) * SCALE).to_bits();
    f32::from_bits(scaled | (u32::from(bits & 8) << 28))
}

/// binary16 bits of x, rounded to nearest even. NaN stays NaN.
#[inline(always)]
pub(crate) fn to_float16(x: f32) -> u16 {
    let magnitude = x.abs().to_bits();
    let code = small_float::<10, 15>(magnitude).min(0x7c00);
    let code = if magnitude > 0x7f80_0000 { 0x7e00 } else { code };
    (code | ((x.to_bits() >> 16) & 0x8000)) as u16
}

/// E4M3 bits of x, rounded to nearest even, at most 448 in magnitude; x is no NaN.
#[inline(always)]
pub(crate) fn to_e4m3(x: f32) -> u8 {
    (small_float::<3, 7>(x.abs().to_bits()).min(0x7e) | ((x.to_bits() >> 24) & 0x80)) as u8
}

/// E2M1 bits of x (OCP Microscaling 1.0), rounded to nearest even, at most 6 in magnitude; x is no NaN.
#[inline(always)]
pub(crate) fn to_e2m1(x: f32) -> u8 {
    (small_float::<1, 1>(x.abs().to_bits()).min(7) | ((x.to_bits() >> 28) & 8)) as u8
}

/// The code nearest to a float32 magnitude, ties to even, in a format with so many mantissa bits and this bias of the
/// exponent, as if it had no largest number.
#[inline(always)]
fn small_float<const MANTISSA: u32, const BIAS: u32>(magnitude: u32) -> u32 {
    let drop = 23 - MANTISSA;
    let rounded = (magnitude + (1 << (drop - 1)) - 1 + ((magnitude >> drop) & 1)) >> drop;
    let normal = rounded.wrapping_sub((127 - BIAS) << MANTISSA);
    // Below its normal numbers the format has steps of 2^(1 - bias - mantissa), those of float32 from 2^23 times that on:
    // adding this number rounds to such steps, which are the codes.
    let shift = f32::from_bits((127 + 1 - BIAS - MANTISSA + 23) << 23);
    let subnormal = (f32::from_bits(magnitude) + shift).to_bits() - shift.to_bits();
    if magnitude < (127 + 1 - BIAS) << 23 { subnormal } else { normal }
}

/// Which row or column of the source each row or column of a result takes.
#[derive(Clone, Copy)]
pub enum Order<'a> {
    /// As they lie.
    Same,
    /// Row i of the result is row `order[i]` of the source.
    Rows(&'a [i32]),
    /// Column j of the result is column `order[j]` of the source.
    Columns(&'a [i32]),
}

multiversion! {
    /// Adds `factor` times row `row` of the result to `sums`, computed in float64 and rounded once. `scratch` holds at
    /// least `columns` numbers. The order's entries must lie inside the source.
    pub fn add_scaled_row(sums: &mut [f32], source: Source, row: usize, factor: f64, order: Order, scratch: &mut [f32]) = add_scaled_row_body;
}

#[inline(always)]
fn add_scaled_row_body(sums: &mut [f32], source: Source, row: usize, factor: f64, order: Order, scratch: &mut [f32]) {
    let values = &mut scratch[..source.columns];
    let from = if let Order::Rows(order) = order { order[row].cast_unsigned() as usize } else { row };
    source.decode_row(from, 0, values);
    let add = |sum: &mut f32, value: f32| *sum = (f64::from(*sum) + factor * f64::from(value)) as f32;
    if let Order::Columns(order) = order {
        sums.iter_mut().zip(order).for_each(|(sum, &column)| add(sum, values[column.cast_unsigned() as usize]));
    } else {
        sums.iter_mut().zip(values.iter()).for_each(|(sum, &value)| add(sum, value));
    }
}

#[cfg(test)]
mod tests {
    use super::{DType, Source, decode, from_e2m1, from_e4m3, to_e2m1, to_e4m3, to_float16};
    use crate::dispatch::Cpu;

    #[test]
    fn half_precision_is_rounded_to_nearest_even() {
        // Steps through all exponents; halves between numbers are among them.
        for bits in (0..=u32::MAX - 0xfff).step_by(0x1000) {
            let x = f32::from_bits(bits);
            let (code, wanted) = (to_float16(x), half::f16::from_f32(x));
            assert!(code == wanted.to_bits() || (wanted.is_nan() && half::f16::from_bits(code).is_nan()), "{x}");
        }
    }

    /// The code nearest to x among those of magnitudes, the even one where two are.
    fn nearest(x: f32, magnitudes: &[f32]) -> usize {
        let distance = |&code: &usize| (f64::from(magnitudes[code]) - f64::from(x.abs())).abs();
        let order = |a: &usize, b: &usize| distance(a).total_cmp(&distance(b)).then((a % 2).cmp(&(b % 2)));
        (0..magnitudes.len()).min_by(order).unwrap()
    }

    #[test]
    fn small_floats_are_rounded_to_nearest_even() {
        let e4m3: Vec<f32> = (0..=0x7e).map(from_e4m3).collect();
        let e2m1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        assert_eq!((0..16).map(from_e2m1).collect::<Vec<_>>(), [e2m1, e2m1.map(|x| -x)].concat());
        for step in -4000_i32..=4000 {
            for x in [step as f32 / 8.0, step as f32 / 1024.0, step as f32 / 32768.0, step as f32 / 1e30] {
                let sign = u8::from(x < 0.0);
                assert_eq!(usize::from(to_e4m3(x)), nearest(x, &e4m3) + 0x80 * usize::from(sign), "{x}");
                assert_eq!(usize::from(to_e2m1(x)), nearest(x, &e2m1) + 8 * usize::from(sign), "{x}");
            }
        }
    }

    fn decoded(dtype: DType, data: &[u8]) -> Vec<Vec<f32>> {
        let decode_on = |cpu: &Cpu| {
            let mut out = vec![0.0; data.len() / dtype.bytes()];
            decode(*cpu, dtype, data, &mut out);
            out
        };
        Cpu::supported().iter().map(decode_on).collect()
    }

    #[test]
    fn all_half_precision_numbers() {
        let data: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for values in decoded(DType::F16, &data) {
            for bits in 0..=u16::MAX {
                let (value, wanted) = (values[usize::from(bits)], half::f16::from_bits(bits).to_f32());
                assert!(value.to_bits() == wanted.to_bits() || (value.is_nan() && wanted.is_nan()), "{bits:x}");
            }
        }
        for values in decoded(DType::Bf16, &data) {
            assert!((0..=u16::MAX).all(|bits| values[usize::from(bits)].to_bits() >> 16 == u32::from(bits)));
        }
    }

    #[test]
    #[allow(clippy::float_cmp)] // decoding is exact
    fn all_8_bit_numbers() {
        let data: Vec<u8> = (0..=u8::MAX).collect();
        for (dtype, mantissa, bias) in [(DType::F8E4M3, 3, 7), (DType::F8E5M2, 2, 15)] {
            for values in decoded(dtype, &data) {
                for (bits, value) in (0..=u8::MAX).zip(values) {
                    let (exponent, fraction) = (i32::from(bits & 0x7f) >> mantissa, bits & ((1 << mantissa) - 1));
                    let all_ones = exponent == (0x7f >> mantissa);
                    let fraction_part = f64::from(fraction) / f64::from(1 << mantissa);
                    let magnitude = if exponent == 0 {
                        fraction_part * 2_f64.powi(1 - bias)
                    } else {
                        (1.0 + fraction_part) * 2_f64.powi(exponent - bias)
                    };
                    let sign = if bits & 0x80 == 0 { 1.0 } else { -1.0 };
                    let wanted = match (dtype, all_ones, fraction) {
                        (DType::F8E4M3, true, 7) | (DType::F8E5M2, true, 1..) => f32::NAN,
                        (DType::F8E5M2, true, 0) => f32::INFINITY * sign,
                        _ => magnitude as f32 * sign,
                    };
                    assert!(value == wanted || (value.is_nan() && wanted.is_nan()), "{dtype:?} {bits:x}");
                }
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        assert!(Source::new(DType::F32, 2, 3, &[0; 23]).is_err());
        assert!(Source::new(DType::F32, usize::MAX, 2, &[]).is_err());
    }
}
