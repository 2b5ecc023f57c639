//! Products of bfloat16 pairs on the matrix unit of Intel's processors (AMX, TDPBF16PS): 16 rows times 16 columns of sums
//! in a register, fed with 32 steps of the depth at a time. Subnormal numbers count as zero, sums round to nearest even.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::mem::MaybeUninit;

use crate::packed::PANEL;
use crate::tile::{Ahead, MOST_ROWS};

/// Steps of the depth in a register.
const STEPS: usize = 32;
/// Most steps of the depth of one call.
const DEPTH: usize = 512;
/// Bytes of a bfloat16 number.
const BFLOAT16: usize = 2;

/// Whether the processor has the unit and the system lets this process use it.
pub fn supported() -> bool {
    /// CPUID leaf 7: products of bfloat16 numbers, and tiles.
    const BITS: u32 = 1 << 22 | 1 << 24;
    __cpuid_count(7, 0).edx & BITS == BITS && permitted()
}

/// The registers are 8 KB that the system keeps for each thread, so it wants to be asked once for each process.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const TILE_DATA: usize = 18;
    // SAFETY: it asks for a permission; a kernel that does not know it says no.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn permitted() -> bool {
    false
}

/// A `TileKernel` for up to 16 rows.
///
/// # Safety
/// See `TileKernel`; `supported` has said yes.
pub unsafe fn multiply(
    a: &[*const u8; MOST_ROWS],
    rows: usize,
    panel: *const u8,
    depth: usize,
    tile: *mut f32,
    add: bool,
    ahead: Ahead,
) {
    assert!(depth <= DEPTH, "rows that are apart fit the copy");
    let mut copy = MaybeUninit::uninit();
    // SAFETY: the caller keeps the promises of `TileKernel`: rows and panel have `depth` numbers, of which the first call
    // reads whole registers and the second the rest, and the tile has `rows` rows.
    unsafe {
        let (start, stride) = evenly_spaced(&a[..rows], depth, &mut copy);
        let whole = depth / STEPS * STEPS;
        if whole > 0 {
            let fetch = match ahead.lines {
                0 => product::<0>,
                1 => product::<1>,
                2 => product::<2>,
                _ => product::<4>,
            };
            fetch(start, stride, rows, panel, (whole / STEPS, STEPS), tile, add, ahead.start);
        }
        if depth > whole {
            let start = start.add(whole * BFLOAT16);
            let panel = panel.add(whole * PANEL * BFLOAT16);
            product::<0>(start, stride, rows, panel, (1, depth - whole), tile, add || whole > 0, ahead.start);
        }
    }
}

/// Start and distance of rows that lie at equal distances; others are copied.
///
/// # Safety
/// Each row has `depth` numbers.
unsafe fn evenly_spaced(
    a: &[*const u8],
    depth: usize,
    copy: &mut MaybeUninit<[u8; MOST_ROWS * DEPTH * BFLOAT16]>,
) -> (*const u8, isize) {
    let distance = |pair: &[*const u8]| pair[1].addr().wrapping_sub(pair[0].addr()).cast_signed();
    let stride = a.get(..2).map_or(0, distance);
    if a.windows(2).all(|pair| distance(pair) == stride) {
        return (a[0], stride);
    }
    let bytes = depth * BFLOAT16;
    let start: *mut u8 = copy.as_mut_ptr().cast();
    for (index, row) in a.iter().enumerate() {
        // SAFETY: the caller promises that the row is this long; 16 rows of 512 numbers fit the copy.
        unsafe { row.copy_to_nonoverlapping(start.add(index * bytes), bytes) };
    }
    (start, bytes.cast_signed())
}

/// Shapes of the eight registers, as LDTILECFG reads them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// Registers 0 to 3 are sums, 4 holds rows, 5 to 7 parts of the panel.
    fn new(rows: usize, steps: usize) -> Self {
        let mut shapes = Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        shapes.row_bytes[..8].fill(64);
        shapes.row_bytes[4] = (steps * BFLOAT16) as u16;
        shapes.rows[..5].fill(rows as u8);
        shapes.rows[5..8].fill((steps / 2) as u8);
        shapes
    }
}

/// `count` times `steps` steps of the depth; asks for `LINES` lines from `ahead` on with each 256 bytes of the panel.
///
/// # Safety
/// See `multiply`. `steps` is even and 32 at most, `rows` 16 at most.
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[allow(clippy::too_many_arguments)]
unsafe fn product<const LINES: usize>(
    rows: *const u8,
    stride: isize,
    row_count: usize,
    panel: *const u8,
    (count, steps): (usize, usize),
    tile: *mut f32,
    add: bool,
    ahead: *const u8,
) {
    let shapes = Shapes::new(row_count, steps);
    let mut sums = MaybeUninit::<[f32; MOST_ROWS * PANEL]>::uninit();
    let out = if add { sums.as_mut_ptr().cast() } else { tile };
    // SAFETY: all that is read and written lies inside the rows, the panel and the tile that the caller promises, or in
    // `sums`, whose first rows are written. Prefetching may ask for any address.
    unsafe {
        asm!(
            "ldtilecfg [{shapes}]", // and zeros in all registers
            "2:",
            "tileloadd tmm4, [{rows} + {stride}]",
            "tileloadd tmm5, [{panel} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm5",
            ".rept {quarter}",
            "prefetcht0 [{ahead}]",
            "add {ahead}, 64",
            ".endr",
            "tileloadd tmm6, [{panel} + {line} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm6",
            ".rept {quarter}",
            "prefetcht0 [{ahead}]",
            "add {ahead}, 64",
            ".endr",
            "tileloadd tmm7, [{panel} + {line} + 128]",
            "tdpbf16ps tmm2, tmm4, tmm7",
            ".rept {quarter}",
            "prefetcht0 [{ahead}]",
            "add {ahead}, 64",
            ".endr",
            "tileloadd tmm5, [{panel} + {line} + 192]",
            "tdpbf16ps tmm3, tmm4, tmm5",
            ".rept {quarter}",
            "prefetcht0 [{ahead}]",
            "add {ahead}, 64",
            ".endr",
            "add {rows}, 64",
            "add {panel}, 4096",
            "dec {count}",
            "jnz 2b",
            "tilestored [{out} + {line}], tmm0",
            "tilestored [{out} + {line} + 64], tmm1",
            "tilestored [{out} + {line} + 128], tmm2",
            "tilestored [{out} + {line} + 192], tmm3",
            "tilerelease",
            shapes = in(reg) &raw const shapes,
            rows = inout(reg) rows => _,
            stride = in(reg) stride,
            panel = inout(reg) panel => _,
            line = in(reg) PANEL * size_of::<f32>(),
            count = inout(reg) count => _,
            ahead = inout(reg) ahead => _,
            out = in(reg) out,
            quarter = const 4 * LINES,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
        if add {
            let sums = std::slice::from_raw_parts(out, row_count * PANEL);
            let tile = std::slice::from_raw_parts_mut(tile, row_count * PANEL);
            tile.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
        }
    }
}
