//! Products of bfloat16 numbers by BFMMLA: a matrix of 2 x 4 times one of 4 x 2 in one instruction.
//!
//! The intrinsics are not in stable Rust; the instruction is written by hand. Panels are those of pairs: of two steps of the
//! depth, four columns each, the interleaved words are two columns with four neighbours in depth, as the instruction wants them.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::packed::PANEL;
use crate::tile::{Ahead, MOST_ROWS, TILE_ROWS};

/// Columns of a register block: 3 x 8 sums of 2 x 2 leave 8 of the 32 registers for the operands.
const COLUMNS: usize = 16;
/// Bytes of two neighbours in depth.
const WORD: usize = 4;
/// Pairs of rows of a full tile.
const MOST_PAIRS: usize = TILE_ROWS / 2;

/// Whether this processor has the instruction.
pub fn supported() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

/// The kernel of `Format::Bf16Pairs`. Subnormal numbers may count as zero, and sums of products be rounded to odd.
///
/// # Safety
/// See `TileKernel`; the processor has the instruction.
#[target_feature(enable = "neon,bf16")]
pub unsafe fn multiply(
    a: &[*const u8; MOST_ROWS],
    rows: usize,
    panel: *const u8,
    depth: usize,
    tile: *mut f32,
    add: bool,
    ahead: Ahead,
) {
    // SAFETY: the caller keeps the promises of `TileKernel`.
    unsafe {
        match rows.div_ceil(2) {
            1 => multiply_pairs::<1>(a, rows, panel, depth, tile, add, ahead),
            2 => multiply_pairs::<2>(a, rows, panel, depth, tile, add, ahead),
            _ => multiply_pairs::<MOST_PAIRS>(a, rows, panel, depth, tile, add, ahead),
        }
    }
}

/// # Safety
/// As for `multiply`.
#[inline]
#[target_feature(enable = "neon,bf16")]
unsafe fn multiply_pairs<const PAIRS: usize>(
    a: &[*const u8; MOST_ROWS],
    rows: usize,
    panel: *const u8,
    depth: usize,
    tile: *mut f32,
    add: bool,
    ahead: Ahead,
) {
    // A row that is missing beside the last one is that one: its sums are left out in the end.
    let a: [[*const u16; 2]; PAIRS] =
        std::array::from_fn(|pair| std::array::from_fn(|i| a[(2 * pair + i).min(rows - 1)].cast()));
    // SAFETY: all offsets stay inside the rows, the panel and the tile that the caller promises.
    unsafe {
        for column in (0..PANEL).step_by(COLUMNS) {
            let mut sums = [[vdupq_n_f32(0.0); COLUMNS / 2]; PAIRS];
            let mut b = panel.add(WORD * column);
            for four in 0..depth / 4 {
                if column == 0 {
                    ahead.fetch(2 * four);
                    ahead.fetch(2 * four + 1);
                }
                let rows = a.map(|[one, two]| vcombine_u16(vld1_u16(one.add(4 * four)), vld1_u16(two.add(4 * four))));
                for quad in 0..COLUMNS / 4 {
                    let (first, second) = (four_words(b, 4 * quad), four_words(b, PANEL + 4 * quad));
                    step(&mut sums, &rows, quad, first, second);
                }
                b = b.add(2 * WORD * PANEL);
            }
            if depth % 4 == 2 {
                let at = depth - 2;
                let last = |row: *const u16| vcreate_u16(u64::from(row.add(at).cast::<u32>().read_unaligned()));
                let rows = a.map(|[one, two]| vcombine_u16(last(one), last(two)));
                for quad in 0..COLUMNS / 4 {
                    step(&mut sums, &rows, quad, four_words(b, 4 * quad), vdupq_n_u32(0));
                }
            }
            store(&sums, rows, tile.add(column), add);
        }
    }
}

/// Words `index..index + 4`.
///
/// # Safety
/// They are inside.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn four_words(start: *const u8, index: usize) -> uint32x4_t {
    // SAFETY: the caller's promise; bytes need no alignment.
    unsafe { vreinterpretq_u32_u8(vld1q_u8(start.add(WORD * index))) }
}

/// Four steps of the depth for the four columns of `quad`, of which `first` has two steps and `second` two.
#[inline]
#[target_feature(enable = "neon,bf16")]
fn step<const PAIRS: usize>(
    sums: &mut [[float32x4_t; COLUMNS / 2]; PAIRS],
    rows: &[uint16x8_t; PAIRS],
    quad: usize,
    first: uint32x4_t,
    second: uint32x4_t,
) {
    let (low, high) = (vzip1q_u32(first, second), vzip2q_u32(first, second));
    for (sums, &rows) in sums.iter_mut().zip(rows) {
        sums[2 * quad] = plus_product(sums[2 * quad], rows, low);
        sums[2 * quad + 1] = plus_product(sums[2 * quad + 1], rows, high);
    }
}

/// sums `[2, 2]` plus rows `[2, 4]` times columns `[2, 4]` transposed.
#[inline]
#[target_feature(enable = "neon,bf16")]
fn plus_product(mut sums: float32x4_t, rows: uint16x8_t, columns: uint32x4_t) -> float32x4_t {
    // SAFETY: the instruction reads and writes the named registers alone.
    unsafe {
        asm!(
            "bfmmla {sums:v}.4s, {rows:v}.8h, {columns:v}.8h",
            sums = inout(vreg) sums,
            rows = in(vreg) rows,
            columns = in(vreg) columns,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// # Safety
/// `tile` has `rows` rows of 64 numbers, of which 16 are inside.
#[inline]
#[target_feature(enable = "neon,bf16")]
unsafe fn store<const PAIRS: usize>(
    sums: &[[float32x4_t; COLUMNS / 2]; PAIRS],
    rows: usize,
    tile: *mut f32,
    add: bool,
) {
    for (pair, sums) in sums.iter().enumerate() {
        for quad in 0..COLUMNS / 4 {
            let (left, right) = (vreinterpretq_f64_f32(sums[2 * quad]), vreinterpretq_f64_f32(sums[2 * quad + 1]));
            let both = [vzip1q_f64(left, right), vzip2q_f64(left, right)].map(|half| vreinterpretq_f32_f64(half));
            for (i, sum) in both.into_iter().enumerate() {
                if 2 * pair + i >= rows {
                    continue;
                }
                // SAFETY: inside the tile.
                unsafe {
                    let to = tile.add((2 * pair + i) * PANEL + 4 * quad);
                    vst1q_f32(to, if add { vaddq_f32(vld1q_f32(to), sum) } else { sum });
                }
            }
        }
    }
}
