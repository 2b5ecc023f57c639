//! The innermost loops: a tile of up to 6 rows (16 with AMX) times 64 columns of a product, over one block of the depth.
//!
//! The second operand is a panel (see `packed.rs`); the first is read in place by one pointer for each row. All sums of
//! a tile stay in registers while the loop runs.

use crate::dispatch::{Cpu, Level};
use crate::packed::{Format, HALF, PANEL};
use crate::vector::{Four, Vector, prefetch};

/// Rows of a full tile: 6 x 4 vectors of 16 sums leave 8 of the 32 AVX-512 registers for the operands.
pub const TILE_ROWS: usize = 6;
/// Most rows of a tile of any kernel: those of AMX.
pub const MOST_ROWS: usize = 16;

/// Computes `tile[r][c] (+)= sum over k < depth of a[r][k] * panel[k][c]` for the first `rows` rows.
///
/// - `a[r]`: `depth` numbers: bfloat16 if the format is `Bf16Pairs`, else float32
/// - `panel`: `depth` x 64 numbers in the panel layout of the format; depth is even for `Bf16Pairs`
/// - `tile`: rows of 64 sums, overwritten or, with `add`, added to
/// - `ahead`: what to fetch meanwhile
pub type TileKernel = unsafe fn(
    a: &[*const u8; MOST_ROWS],
    rows: usize,
    panel: *const u8,
    depth: usize,
    tile: *mut f32,
    add: bool,
    ahead: Ahead,
);

/// Memory that will be read next: the kernel asks for `lines` cache lines of it with each 256 bytes of the panel. With
/// few rows the memory is the limit, and the processor's own prefetcher stops at the end of each page and starts late.
#[derive(Clone, Copy)]
pub struct Ahead {
    /// Where it starts; any address.
    pub start: *const u8,
    /// 0, 1, 2 or 4.
    pub lines: usize,
}

impl Ahead {
    /// Asks for the lines of step `step`.
    #[inline(always)]
    pub(crate) fn fetch(self, step: usize) {
        let start = self.start.wrapping_add(step * self.lines * 64);
        if self.lines > 0 {
            prefetch(start);
        }
        if self.lines > 1 {
            prefetch(start.wrapping_add(64));
        }
        if self.lines > 2 {
            prefetch(start.wrapping_add(128));
            prefetch(start.wrapping_add(192));
        }
    }
}

/// The kernel of an instruction set for a format.
pub fn kernel(cpu: Cpu, format: Format) -> TileKernel {
    assert!(format != Format::Bf16Pairs || cpu.has_bfloat16_products(), "the format belongs to the instruction set");
    match (cpu.level(), format) {
        #[cfg(target_arch = "x86_64")]
        (_, Format::Bf16Pairs) if cpu.has_matrix_unit() => crate::amx::multiply,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, Format::Bf16Pairs) => avx512_bfloat16,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, Format::Bf16Widened) => avx512_widened,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, Format::F32) => avx512_float32,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2, Format::F32) => avx2_float32,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2, _) => avx2_widened,
        #[cfg(target_arch = "aarch64")]
        (Level::Neon, Format::Bf16Pairs) => crate::bfmmla::multiply,
        #[cfg(target_arch = "aarch64")]
        (Level::Neon, Format::F32) => neon_float32,
        #[cfg(target_arch = "aarch64")]
        (Level::Neon, _) => neon_widened,
        (Level::Portable, Format::F32) => portable_float32,
        (Level::Portable, _) => portable_widened,
    }
}

/// Rows of a full tile of that kernel.
pub fn tile_rows(cpu: Cpu, format: Format) -> usize {
    if cpu.has_matrix_unit() && format == Format::Bf16Pairs { MOST_ROWS } else { TILE_ROWS }
}

/// Calls `$call` with `ROWS` a constant, so that the sums have registers.
macro_rules! with_constant_rows {
    ($rows:expr, $call:ident::<$($generic:tt),*>$arguments:tt) => {
        match $rows {
            1 => $call::<1, $($generic),*>$arguments,
            2 => $call::<2, $($generic),*>$arguments,
            3 => $call::<3, $($generic),*>$arguments,
            4 => $call::<4, $($generic),*>$arguments,
            5 => $call::<5, $($generic),*>$arguments,
            _ => $call::<6, $($generic),*>$arguments,
        }
    };
}

/// Declares the kernels of an instruction set: its vector, vectors side by side in a register block, its features.
macro_rules! kernels {
    ($float32:ident, $widened:ident, $vector:ty, $vectors:literal $(, $feature:literal)?) => {
        $(#[target_feature(enable = $feature)])?
        unsafe fn $float32(
            a: &[*const u8; MOST_ROWS], rows: usize, panel: *const u8, depth: usize, tile: *mut f32, add: bool, ahead: Ahead,
        ) {
            // SAFETY: the caller keeps the promises of `TileKernel` and chose an instruction set that is present.
            unsafe { with_constant_rows!(rows, float32::<$vectors, $vector>(a, panel.cast(), depth, tile, add, ahead)) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn $widened(
            a: &[*const u8; MOST_ROWS], rows: usize, panel: *const u8, depth: usize, tile: *mut f32, add: bool, ahead: Ahead,
        ) {
            // SAFETY: as above.
            unsafe { with_constant_rows!(rows, widened::<$vectors, $vector>(a, panel.cast(), depth, tile, add, ahead)) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernels!(avx512_float32, avx512_widened, std::arch::x86_64::__m512, 4, "avx512f,avx512bw,avx2,fma");
#[cfg(target_arch = "x86_64")]
kernels!(avx2_float32, avx2_widened, std::arch::x86_64::__m256, 2, "avx2,fma");
#[cfg(target_arch = "aarch64")]
kernels!(neon_float32, neon_widened, std::arch::aarch64::float32x4_t, 4, "neon");
kernels!(portable_float32, portable_widened, Four, 2);

/// Float32 times float32.
///
/// # Safety
/// See `TileKernel` and `Vector`.
#[inline(always)]
unsafe fn float32<const ROWS: usize, const VECTORS: usize, V: Vector>(
    a: &[*const u8; MOST_ROWS],
    panel: *const f32,
    depth: usize,
    tile: *mut f32,
    add: bool,
    ahead: Ahead,
) {
    // SAFETY: all offsets stay inside the rows, the panel and the tile that the caller promises.
    unsafe {
        let a: [*const f32; ROWS] = std::array::from_fn(|r| a[r].cast());
        let mut column = 0;
        while column < PANEL {
            let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
            let mut b = panel.add(column);
            for k in 0..depth {
                if column == 0 {
                    ahead.fetch(k);
                }
                let b_row: [V; VECTORS] = std::array::from_fn(|v| V::load(b.add(v * V::LANES)));
                for r in 0..ROWS {
                    let factor = V::splat(*a[r].add(k));
                    for v in 0..VECTORS {
                        sums[r][v] = sums[r][v].plus_product(factor, b_row[v]);
                    }
                }
                b = b.add(PANEL);
            }
            store(&sums, |v| tile.add(column + v * V::LANES), add);
            column += VECTORS * V::LANES;
        }
    }
}

/// Float32 rows that were rounded to bfloat16, times bfloat16 numbers: half of the vectors are of the panel's first half,
/// the other half of its second.
///
/// # Safety
/// See `TileKernel` and `Vector`.
#[inline(always)]
unsafe fn widened<const ROWS: usize, const VECTORS: usize, V: Vector>(
    a: &[*const u8; MOST_ROWS],
    panel: *const u16,
    depth: usize,
    tile: *mut f32,
    add: bool,
    ahead: Ahead,
) {
    // SAFETY: all offsets stay inside the rows, the panel and the tile that the caller promises.
    unsafe {
        let a: [*const f32; ROWS] = std::array::from_fn(|r| a[r].cast());
        let mut column = 0;
        while column < HALF {
            let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
            let b = panel.add(2 * column);
            // Two steps at a time have the 256 bytes that memory is fetched by.
            for two in 0..depth / 2 {
                if column == 0 {
                    ahead.fetch(two);
                }
                widened_step(&mut sums, &a, b, 2 * two);
                widened_step(&mut sums, &a, b, 2 * two + 1);
            }
            if depth % 2 == 1 {
                widened_step(&mut sums, &a, b, depth - 1);
            }
            store(&sums, |v| tile.add(column + v / (VECTORS / 2) * HALF + v % (VECTORS / 2) * V::LANES), add);
            column += VECTORS / 2 * V::LANES;
        }
    }
}

/// One step of the depth: no more of the panel is in registers at a time than with float32 panels.
///
/// # Safety
/// As for `widened`.
#[inline(always)]
unsafe fn widened_step<const ROWS: usize, const VECTORS: usize, V: Vector>(
    sums: &mut [[V; VECTORS]; ROWS],
    a: &[*const f32; ROWS],
    b: *const u16,
    k: usize,
) {
    // SAFETY: step k is inside the rows and the panel that the caller promises.
    unsafe {
        let b = b.add(k * PANEL);
        let mut b_row = [V::splat(0.0); VECTORS];
        for v in 0..VECTORS / 2 {
            (b_row[v], b_row[VECTORS / 2 + v]) = V::load_pairs(b.add(2 * v * V::LANES));
        }
        for r in 0..ROWS {
            let factor = V::splat(*a[r].add(k));
            for v in 0..VECTORS {
                sums[r][v] = sums[r][v].plus_product(factor, b_row[v]);
            }
        }
    }
}

/// # Safety
/// `place(v)` is where vector v of the first row goes, inside a tile that has `ROWS` rows of 64 numbers.
#[inline(always)]
unsafe fn store<const ROWS: usize, const VECTORS: usize, V: Vector>(
    sums: &[[V; VECTORS]; ROWS],
    place: impl Fn(usize) -> *mut f32,
    add: bool,
) {
    for (r, row) in sums.iter().enumerate() {
        for (v, &sum) in row.iter().enumerate() {
            // SAFETY: inside the tile.
            unsafe {
                let to = place(v).add(r * PANEL);
                if add { V::load(to).plus(sum).store(to) } else { sum.store(to) }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
unsafe fn avx512_bfloat16(
    a: &[*const u8; MOST_ROWS],
    rows: usize,
    panel: *const u8,
    depth: usize,
    tile: *mut f32,
    add: bool,
    ahead: Ahead,
) {
    // SAFETY: the caller keeps the promises of `TileKernel`; the format exists only where `avx512bf16` was detected.
    unsafe { with_constant_rows!(rows, bfloat16_pairs::<4>(a, panel, depth, tile, add, ahead)) }
}

/// Pairs of bfloat16 numbers times pairs (VDPBF16PS): subnormal numbers count as zero, sums round to nearest even.
///
/// # Safety
/// See `TileKernel`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
unsafe fn bfloat16_pairs<const ROWS: usize, const VECTORS: usize>(
    a: &[*const u8; MOST_ROWS],
    panel: *const u8,
    depth: usize,
    tile: *mut f32,
    add: bool,
    ahead: Ahead,
) {
    use std::arch::x86_64::*;
    // SAFETY: all offsets stay inside the rows, the panel and the tile that the caller promises; a vector of 16 int32
    // and one of 32 bfloat16 numbers are the same 64 bytes.
    unsafe {
        let a: [*const i32; ROWS] = std::array::from_fn(|r| a[r].cast());
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        let mut b = panel;
        for pair in 0..depth / 2 {
            ahead.fetch(pair);
            let b_row: [__m512bh; VECTORS] =
                std::array::from_fn(|v| std::mem::transmute(_mm512_loadu_si512(b.add(64 * v).cast())));
            for r in 0..ROWS {
                let factor: __m512bh = std::mem::transmute(_mm512_set1_epi32(a[r].add(pair).read_unaligned()));
                for v in 0..VECTORS {
                    sums[r][v] = _mm512_dpbf16_ps(sums[r][v], factor, b_row[v]);
                }
            }
            b = b.add(64 * VECTORS);
        }
        store(&sums, |v| tile.add(16 * v), add);
    }
}

#[cfg(test)]
mod tests {
    use crate::codecs::{DType, Source};
    use crate::dispatch::Cpu;
    use crate::math::{from_bfloat16, to_bfloat16};
    use crate::packed::{Format, PANEL, Packed};
    use crate::product::{Context, Input, Tile};
    use crate::threads::Threads;

    /// All instruction sets, with rows that fill no tile and depths that fill no step, against sums in float64.
    #[test]
    fn kernels_compute_products() {
        for cpu in Cpu::supported() {
            for bfloat16 in [false, true] {
                let context = Context { cpu, threads: Threads::new(1).unwrap(), format: Format::new(cpu, bfloat16) };
                for (rows, depth) in (1..=7).flat_map(|rows| [1, 2, 6, 8, 31, 32, 70, 518].map(|depth| (rows, depth))) {
                    check(&context, bfloat16, rows, depth);
                }
            }
        }
    }

    fn check(context: &Context, bfloat16: bool, rows: usize, depth: usize) {
        let rounded = |value: f32| if bfloat16 { from_bfloat16(to_bfloat16(value)) } else { value };
        let numbers = |count: usize, step: f32| -> Vec<f32> { (0..count).map(|i| (i as f32 * step).sin()).collect() };
        let (a, b) = (numbers(rows * depth, 0.7), numbers(PANEL * depth, 1.3));
        let bytes: Vec<u8> = b.iter().flat_map(|value| value.to_le_bytes()).collect();
        let source = Source::new(DType::F32, PANEL, depth, &bytes).unwrap();
        let weight = Packed::new(context.cpu, &context.threads, context.format, source);
        let input = Input::new(context, &a, depth);
        let mut tile = Tile::default();
        tile.multiply(context.cpu, input.rows(), 0..rows, &weight, 0);
        for (row, column) in (0..rows).flat_map(|row| (0..PANEL).map(move |column| (row, column))) {
            let terms =
                (0..depth).map(|k| f64::from(rounded(a[row * depth + k])) * f64::from(rounded(b[column * depth + k])));
            let wanted: f64 = terms.sum();
            let found = f64::from(tile.row(row)[column]);
            let tolerance = 1e-6 * (depth as f64).sqrt() * 4.0;
            assert!((found - wanted).abs() < tolerance, "{:?} {rows} x {depth} [{row}, {column}]", context.cpu);
        }
    }
}
