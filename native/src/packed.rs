//! Weights in the order in which the kernels read them.
//!
//! A weight `[rows, columns]` is cut into panels of 64 rows, the columns of the product. A panel holds, for each step
//! of the depth, the 64 numbers side by side: `[depth][64]` float32. As bfloat16 it is `[depth / 2][64][2]`, pairs of
//! neighbours in depth together as VDPBF16PS wants them, or `[depth][32][2]`, pairs of row r and row r + 32, where they are
//! widened: one load then gives two vectors of one step, which leaves the registers to the sums. Missing rows and an odd last
//! column of a pair are filled with zeros.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::codecs::Source;
use crate::dispatch::{Cpu, multiversion};
use crate::math::to_bfloat16;
use crate::memory::{Buffer, Disjoint};
use crate::threads::Threads;

/// Rows of a weight in a panel.
pub const PANEL: usize = 64;
/// Half of them.
pub const HALF: usize = PANEL / 2;

/// How both operands of a product are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Float32 both.
    F32,
    /// Panels in bfloat16, pairs of steps; inputs in bfloat16.
    Bf16Pairs,
    /// Panels in bfloat16, pairs of rows; inputs rounded to bfloat16 and stored as float32.
    Bf16Widened,
}

impl Format {
    /// The format of a precision on an instruction set.
    pub fn new(cpu: Cpu, bfloat16: bool) -> Self {
        match (bfloat16, cpu.has_bfloat16_products()) {
            (false, _) => Self::F32,
            (true, true) => Self::Bf16Pairs,
            (true, false) => Self::Bf16Widened,
        }
    }

    /// Bytes of a number in a panel.
    pub fn panel_bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    /// Bytes of a number of the input.
    pub fn input_bytes(self) -> usize {
        if self == Self::Bf16Pairs { 2 } else { 4 }
    }

    /// Length of the sums of products with this many columns: even, where pairs of them are multiplied.
    pub fn depth(self, columns: usize) -> usize {
        if self == Self::Bf16Pairs { columns.next_multiple_of(2) } else { columns }
    }
}

/// A weight made ready for products.
pub struct Packed {
    /// Number of rows, the columns of a product.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// How it is stored.
    pub format: Format,
    data: Buffer,
}

impl Packed {
    /// Packs a weight.
    pub fn new(cpu: Cpu, threads: &Threads, format: Format, source: Source) -> Self {
        let row = |index: usize| (index < source.rows()).then_some((source, index));
        Self::from_rows(cpu, threads, format, source.rows(), source.columns(), row)
    }

    /// Packs two weights of one shape `[width, columns]` so that each panel holds 32 rows of `first` and the same 32
    /// of `second`: a tile of the product then has both halves of a gated unit.
    pub fn paired(cpu: Cpu, threads: &Threads, format: Format, first: Source, second: Source) -> Self {
        let width = first.rows();
        let row = |index: usize| {
            let unit = index / PANEL * HALF + index % HALF;
            (unit < width).then_some((if index % PANEL < HALF { first } else { second }, unit))
        };
        Self::from_rows(cpu, threads, format, width.div_ceil(HALF) * PANEL, first.columns(), row)
    }

    fn from_rows<'a>(
        cpu: Cpu,
        threads: &Threads,
        format: Format,
        rows: usize,
        columns: usize,
        row: impl Fn(usize) -> Option<(Source<'a>, usize)> + Sync,
    ) -> Self {
        let depth = format.depth(columns);
        let panels = rows.div_ceil(PANEL);
        let panel_words = depth * PANEL * format.panel_bytes() / size_of::<u32>();
        let mut data = Buffer::of::<u32>(panels * panel_words);
        let out = Disjoint::new(data.as_mut_slice::<u32>());
        threads.run(
            panels,
            || (),
            |(), panel| {
                // SAFETY: each task has its own panel.
                let out = unsafe { out.range(panel * panel_words, panel_words) };
                let rows: [_; PANEL] = std::array::from_fn(|r| row(panel * PANEL + r));
                pack_panel(cpu, &rows, columns, format, out);
            },
        );
        Self { rows, columns, format, data }
    }

    /// Number of panels.
    pub fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Length of the sums: the columns, made even where the format needs it.
    pub fn depth(&self) -> usize {
        self.format.depth(self.columns)
    }

    /// Bytes of one panel.
    pub fn panel(&self, panel: usize) -> &[u8] {
        let bytes = self.depth() * PANEL * self.format.panel_bytes();
        assert!(panel < self.panels(), "the weight has no such panel");
        &self.data.as_slice()[panel * bytes..(panel + 1) * bytes]
    }
}

impl Packed {
    /// Sum of all words, wrapping around: reads the memory once and does nothing else, which is what a product with one
    /// row could reach at most.
    pub fn checksum(&self, cpu: Cpu, threads: &Threads) -> u32 {
        /// Words that a task reads: the memory's own grain of sharing is far smaller.
        const PIECE: usize = 1 << 16;
        let bytes = self.panels() * self.depth() * PANEL * self.format.panel_bytes();
        let words = &self.data.as_slice::<u32>()[..bytes / size_of::<u32>()];
        let total = AtomicU32::new(0);
        threads.pieces(words.len(), PIECE, |piece| {
            let mut sum = 0;
            add_words(cpu, &words[piece], &mut sum);
            total.fetch_add(sum, Ordering::Relaxed);
        });
        total.into_inner()
    }
}

#[inline(always)]
fn add_words_body(words: &[u32], sum: &mut u32) {
    let (groups, rest) = words.as_chunks::<64>();
    let mut lanes = [0_u32; 64];
    for group in groups {
        for (lane, &word) in lanes.iter_mut().zip(group) {
            *lane = lane.wrapping_add(word);
        }
    }
    *sum = lanes.iter().chain(rest).fold(*sum, |sum, &word| sum.wrapping_add(word));
}

multiversion! {
    fn add_words(words: &[u32], sum: &mut u32) = add_words_body;
    /// Packs 64 rows, or zeros where there is none, into a panel of words of 32 bits: each a float32 number or a pair of
    /// bfloat16 numbers.
    pub fn pack_panel(rows: &[Option<(Source, usize)>; PANEL], columns: usize, format: Format, out: &mut [u32]) = pack_panel_body;
}

/// Words of a cache line.
const LINE: usize = 16;

// Loops over lanes are written out for both layouts: what a closure does is not compiled for the instruction set.
#[inline(always)]
fn pack_panel_body(rows: &[Option<(Source, usize)>; PANEL], columns: usize, format: Format, out: &mut [u32]) {
    match format {
        Format::Bf16Widened => pack_row_pairs(rows, columns, out),
        _ => pack_rows(rows, columns, format, out),
    }
}

/// Lanes are rows, their words columns or pairs of columns.
#[inline(always)]
fn pack_rows(rows: &[Option<(Source, usize)>; PANEL], columns: usize, format: Format, out: &mut [u32]) {
    let strip_columns = LINE * size_of::<u32>() / format.panel_bytes();
    let mut words = [[0_u32; LINE]; PANEL];
    for (strip, out) in out.chunks_mut(LINE * PANEL).enumerate() {
        let range = strip * strip_columns..columns.min((strip + 1) * strip_columns);
        for (words, row) in words.iter_mut().zip(rows) {
            match row {
                Some((source, index)) if format == Format::F32 => {
                    *words = decoded::<LINE>(source, *index, range.clone()).map(f32::to_bits);
                }
                Some((source, index)) => {
                    let pairs = bfloat16_numbers(source, *index, range.clone());
                    let pairs = pairs.as_chunks::<2>().0;
                    *words = std::array::from_fn(|i| u32::from(pairs[i][0]) | u32::from(pairs[i][1]) << 16);
                }
                None => *words = [0; LINE],
            }
        }
        transpose(&words, out);
    }
}

/// Lanes are pairs of rows, their words columns.
#[inline(always)]
fn pack_row_pairs(rows: &[Option<(Source, usize)>; PANEL], columns: usize, out: &mut [u32]) {
    let mut numbers = [[0_u16; 2 * LINE]; PANEL];
    let mut words = [[0_u32; 2 * LINE]; HALF];
    for (strip, out) in out.chunks_mut(2 * LINE * HALF).enumerate() {
        let range = strip * 2 * LINE..columns.min((strip + 1) * 2 * LINE);
        // All rows first: a cache line of each is on its way while the others are read.
        for (numbers, row) in numbers.iter_mut().zip(rows) {
            match row {
                Some((source, index)) => *numbers = bfloat16_numbers(source, *index, range.clone()),
                None => *numbers = [0; 2 * LINE],
            }
        }
        let (lower, upper) = numbers.split_at(HALF);
        for ((words, lower), upper) in words.iter_mut().zip(lower).zip(upper) {
            for ((word, &lower), &upper) in words.iter_mut().zip(lower).zip(upper) {
                *word = u32::from(lower) | u32::from(upper) << 16;
            }
        }
        transpose(&words, out);
    }
}

/// Up to 32 columns of a row, zeros after them.
#[inline(always)]
fn bfloat16_numbers(source: &Source, row: usize, columns: Range<usize>) -> [u16; 2 * LINE] {
    match source.bfloat16_numbers(row, columns.start) {
        // The same bits: no need to widen and round them.
        Some(numbers) => numbers.map(u16::from_le_bytes),
        None => decoded::<{ 2 * LINE }>(source, row, columns).map(to_bfloat16),
    }
}

/// Up to `N` columns of a row, zeros after them.
#[inline(always)]
fn decoded<const N: usize>(source: &Source, row: usize, columns: Range<usize>) -> [f32; N] {
    let mut values = [0.0; N];
    if columns.len() == N {
        // A length that the compiler knows makes one vector of the loop.
        source.decode_row(row, columns.start, &mut values);
    } else {
        source.decode_row(row, columns.start, &mut values[..columns.len()]);
    }
    values
}

/// `out[k][r] = words[r][k]` for the steps k that `out` has.
#[inline(always)]
fn transpose<const LANES: usize, const STRIP: usize>(words: &[[u32; STRIP]; LANES], out: &mut [u32]) {
    let first = out.len() / LANES / 4 * 4;
    let mut groups = out.chunks_exact_mut(4 * LANES);
    for (group, out) in groups.by_ref().enumerate() {
        for r in (0..LANES).step_by(4) {
            let block =
                transpose_block(std::array::from_fn(|i| *words[r + i][4 * group..].first_chunk().expect("4 words")));
            for (i, step) in block.iter().enumerate() {
                out[i * LANES + r..][..4].copy_from_slice(step);
            }
        }
    }
    for (k, step) in groups.into_remainder().chunks_exact_mut(LANES).enumerate() {
        step.iter_mut().zip(words).for_each(|(out, words)| *out = words[first + k]);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transpose_block(rows: [[u32; 4]; 4]) -> [[u32; 4]; 4] {
    use std::arch::x86_64::*;
    // SAFETY: SSE2 is part of x86-64; a vector and an array of four words have the same bytes.
    unsafe {
        let rows: [__m128i; 4] = std::mem::transmute(rows);
        let (low_01, low_23) = (_mm_unpacklo_epi32(rows[0], rows[1]), _mm_unpacklo_epi32(rows[2], rows[3]));
        let (high_01, high_23) = (_mm_unpackhi_epi32(rows[0], rows[1]), _mm_unpackhi_epi32(rows[2], rows[3]));
        std::mem::transmute::<[__m128i; 4], _>([
            _mm_unpacklo_epi64(low_01, low_23),
            _mm_unpackhi_epi64(low_01, low_23),
            _mm_unpacklo_epi64(high_01, high_23),
            _mm_unpackhi_epi64(high_01, high_23),
        ])
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn transpose_block(rows: [[u32; 4]; 4]) -> [[u32; 4]; 4] {
    std::array::from_fn(|k| std::array::from_fn(|r| rows[r][k]))
}

#[cfg(test)]
mod tests {
    use super::{Format, HALF, PANEL, Packed};
    use crate::codecs::{DType, Source};
    use crate::dispatch::Cpu;
    use crate::math::{from_bfloat16, to_bfloat16};
    use crate::threads::Threads;

    /// Number `[row, column]` of a packed weight.
    fn number(weight: &Packed, row: usize, column: usize) -> f32 {
        let (panel, lane) = (weight.panel(row / PANEL), row % PANEL);
        let index = match weight.format {
            Format::F32 => column * PANEL + lane,
            Format::Bf16Pairs => column / 2 * (2 * PANEL) + 2 * lane + column % 2,
            Format::Bf16Widened => column * PANEL + 2 * (lane % HALF) + lane / HALF,
        };
        match weight.format {
            Format::F32 => f32::from_le_bytes(panel.as_chunks().0[index]),
            _ => from_bfloat16(u16::from_le_bytes(panel.as_chunks().0[index])),
        }
    }

    /// Rows and columns that fill no panel and no strip, of numbers that are bfloat16 already and of others.
    #[test]
    fn panels_have_the_order_of_their_format() {
        let threads = Threads::new(2).unwrap();
        let (rows, columns) = (70, 77);
        let values: Vec<f32> = (0..rows * columns).map(|i| (i as f32).sin()).collect();
        let float32: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let bfloat16: Vec<u8> = values.iter().flat_map(|&value| to_bfloat16(value).to_le_bytes()).collect();
        for cpu in Cpu::supported() {
            for format in [Format::F32, Format::Bf16Pairs, Format::Bf16Widened] {
                for (dtype, data) in [(DType::F32, &float32), (DType::Bf16, &bfloat16)] {
                    let source = Source::new(dtype, rows, columns, data).unwrap();
                    let weight = Packed::new(cpu, &threads, format, source);
                    for (row, column) in (0..2 * PANEL).flat_map(|row| (0..weight.depth()).map(move |k| (row, k))) {
                        let value = if row < rows && column < columns { values[row * columns + column] } else { 0.0 };
                        let rounded = from_bfloat16(to_bfloat16(value));
                        let exact = format == Format::F32 && dtype == DType::F32;
                        let wanted = if exact { value } else { rounded };
                        let found = number(&weight, row, column);
                        assert_eq!(found.to_bits(), wanted.to_bits(), "{format:?} {dtype:?} [{row}, {column}]");
                    }
                }
            }
        }
    }
}
