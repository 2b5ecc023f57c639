//! What the codes of quantised weights mean: src/engine/scaled-codes.ts.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::codecs::{DType, from_e2m1, from_e4m3};
use crate::dispatch::multiversion;
use crate::memory::Disjoint;
use crate::product::Context;
use crate::quantise::round_to;
use crate::rounding::{largest_of, packed_bytes, store, task_rows};

/// How codes lie in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Integers of 4 bits plus 8, in whole words for each row.
    Int4,
    /// Integers of 8 bits plus 128, in whole words for each row.
    Uint8,
    /// A byte each.
    Int8,
    /// A byte each.
    E4m3,
    /// Two to a byte.
    E2m1,
}

impl Kind {
    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "int4" => Some(Self::Int4),
            "uint8" => Some(Self::Uint8),
            "int8" => Some(Self::Int8),
            "e4m3" => Some(Self::E4m3),
            "e2m1" => Some(Self::E2m1),
            _ => None,
        }
    }

    /// Bytes of a row.
    pub fn row_bytes(self, columns: usize) -> usize {
        match self {
            Self::Int4 => packed_bytes(columns, 4),
            Self::Uint8 => packed_bytes(columns, 8),
            Self::Int8 | Self::E4m3 => columns,
            Self::E2m1 => columns.div_ceil(2),
        }
    }
}

/// Codes `[rows, columns]` with a factor, and a zero where there are zeros, for each block of `block` rows and columns; the
/// first row is row `first_row` of the matrix that factors and zeros are of.
#[derive(Clone, Copy)]
pub struct Scaled<'a> {
    /// How the codes lie.
    pub kind: Kind,
    /// `[rows, row_bytes]`
    pub codes: &'a [u8],
    /// Of the codes.
    pub rows: usize,
    /// As above.
    pub columns: usize,
    /// That share a factor.
    pub block: (usize, usize),
    /// `[blocks of rows, blocks of columns]`
    pub factors: &'a [f32],
    /// As the factors.
    pub zeros: Option<&'a [i8]>,
    /// Of the codes in the matrix.
    pub first_row: usize,
}

/// Writes (code - zero) * factor to out, in bytes of `dtype`; returns whether all are finite.
pub fn expand(context: &Context, scaled: Scaled, dtype: DType, out: &mut [u8]) -> bool {
    let Scaled { rows, columns, .. } = scaled;
    let finite = AtomicBool::new(true);
    let row_bytes = columns * dtype.bytes();
    let out = Disjoint::new(out);
    context.threads.pieces(rows, task_rows(columns), |piece| {
        let mut values = vec![0.0; columns];
        let mut greatest = 0;
        for row in piece {
            // SAFETY: each row belongs to one task.
            let bytes = unsafe { out.range(row * row_bytes, row_bytes) };
            expand_row(context.cpu, scaled, row, dtype, &mut values, bytes, &mut greatest);
        }
        if greatest >= 0x7f80_0000 {
            finite.store(false, Ordering::Relaxed);
        }
    });
    finite.into_inner()
}

multiversion! {
    fn expand_row(scaled: Scaled, row: usize, dtype: DType, values: &mut [f32], bytes: &mut [u8], greatest: &mut u32) = expand_row_body;
}

/// `greatest` becomes at least the bits of the greatest magnitude.
#[inline(always)]
fn expand_row_body(scaled: Scaled, row: usize, dtype: DType, values: &mut [f32], bytes: &mut [u8], greatest: &mut u32) {
    let Scaled { kind, codes, columns, block, factors, zeros, first_row, .. } = scaled;
    let row_bytes = kind.row_bytes(columns);
    let codes = &codes[row * row_bytes..(row + 1) * row_bytes];
    match kind {
        Kind::Int4 => halves(codes, values, |code| f32::from(code) - 8.0),
        Kind::E2m1 => halves(codes, values, from_e2m1),
        Kind::Uint8 => values.iter_mut().zip(codes).for_each(|(value, &code)| *value = f32::from(code) - 128.0),
        Kind::Int8 => values.iter_mut().zip(codes).for_each(|(value, &code)| *value = f32::from(code.cast_signed())),
        Kind::E4m3 => values.iter_mut().zip(codes).for_each(|(value, &code)| *value = from_e4m3(code)),
    }
    let first = (first_row + row) / block.0 * columns.div_ceil(block.1);
    for (index, values) in values.chunks_mut(block.1).enumerate() {
        let factor = factors[first + index];
        let zero = zeros.map_or(0.0, |zeros| f32::from(zeros[first + index]));
        for value in values {
            *value = (*value - zero) * factor;
        }
    }
    // With the dtype constant, loops have no branches.
    let found = match dtype {
        DType::Bf16 => rounded(DType::Bf16, values),
        DType::F16 => rounded(DType::F16, values),
        _ => rounded(DType::F32, values),
    };
    *greatest = found.max(*greatest);
    store(dtype, values, bytes);
}

/// Rounds values to a dtype; returns the bits of the greatest magnitude.
#[inline(always)]
fn rounded(dtype: DType, values: &mut [f32]) -> u32 {
    for value in values.iter_mut() {
        *value = round_to(dtype, *value);
    }
    largest_of(values).to_bits()
}

/// Two codes of a byte, the first in its low half.
#[inline(always)]
fn halves(codes: &[u8], values: &mut [f32], decode: impl Fn(u8) -> f32) {
    let (pairs, rest) = values.as_chunks_mut::<2>();
    for (pair, &byte) in pairs.iter_mut().zip(codes) {
        *pair = [decode(byte & 15), decode(byte >> 4)];
    }
    if let ([last], Some(&byte)) = (rest, codes.get(pairs.len())) {
        *last = decode(byte & 15);
    }
}
