//! Products of activations with packed weights, tile by tile.

use std::ops::Range;

use crate::dispatch::{Cpu, multiversion};
use crate::math::to_bfloat16;
use crate::memory::{Buffer, Disjoint, bytes_of};
use crate::packed::{Format, PANEL, Packed};
use crate::threads::Threads;
use crate::tile::{Ahead, TILE_ROWS, kernel, tile_rows};

/// Most rows that share a panel while it is in the cache; a multiple of the rows of a tile.
pub const BLOCK_ROWS: usize = 96;
/// Steps of the depth that are summed in registers before they are added to the tile. It bounds the rounding error of
/// long sums, and lets a block of a panel stay in the second-level cache.
const DEPTH_BLOCK: usize = 512;

/// How far ahead of a product memory is fetched: about what arrives in the time of one access.
const DISTANCE: usize = 4096;

/// What an operation computes with.
#[derive(Clone)]
pub struct Context {
    /// Instruction set.
    pub cpu: Cpu,
    /// Threads.
    pub threads: Threads,
    /// Format of products with weights.
    pub format: Format,
}

/// Rows of the first operand of a product, in the format's number type, `stride` bytes apart.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    bytes: &'a [u8],
    stride: usize,
}

impl<'a> Rows<'a> {
    /// Float32 rows as they lie in memory.
    pub fn float32(values: &'a [f32], columns: usize) -> Self {
        Self { bytes: bytes_of(values), stride: columns * size_of::<f32>() }
    }

    /// Rows of `columns` numbers that `write_row` has written.
    pub fn written(format: Format, bytes: &'a [u8], columns: usize) -> Self {
        Self { bytes, stride: row_bytes(format, columns) }
    }

    /// Where a row of at least `bytes` bytes starts.
    fn start(&self, index: usize, bytes: usize) -> *const u8 {
        self.bytes[index * self.stride..][..bytes].as_ptr()
    }
}

/// Bytes of a row of `columns` numbers in the format of an input.
pub fn row_bytes(format: Format, columns: usize) -> usize {
    format.depth(columns) * format.input_bytes()
}

/// Activations in the format of a product: borrowed where they are that already, else converted.
pub enum Input<'a> {
    /// Float32 products read the array itself.
    Borrowed(Rows<'a>),
    /// Rounded to bfloat16.
    Converted(Buffer, Format, usize),
}

impl<'a> Input<'a> {
    /// Makes x `[rows, columns]` ready.
    pub fn new(context: &Context, x: &'a [f32], columns: usize) -> Self {
        let format = context.format;
        if format == Format::F32 {
            return Self::Borrowed(Rows::float32(x, columns));
        }
        let rows = x.len() / columns.max(1);
        let stride = row_bytes(format, columns);
        let mut buffer = Buffer::of::<u8>(rows * stride);
        let out = Disjoint::new(buffer.as_mut_slice::<u8>());
        context.threads.pieces(rows, 32, |piece| {
            for row in piece {
                // SAFETY: each row is written by one task.
                let out = unsafe { out.range(row * stride, stride) };
                write_row(context.cpu, format, &x[row * columns..(row + 1) * columns], out);
            }
        });
        Self::Converted(buffer, format, columns)
    }

    /// The rows.
    pub fn rows(&self) -> Rows<'_> {
        match self {
            Self::Borrowed(rows) => *rows,
            Self::Converted(buffer, format, columns) => Rows::written(*format, buffer.as_slice(), *columns),
        }
    }
}

multiversion! {
    /// Writes numbers in the format of an input and fills the rest of the row with zeros.
    pub fn write_row(format: Format, values: &[f32], out: &mut [u8]) = write_row_body;
}

#[inline(always)]
fn write_row_body(format: Format, values: &[f32], out: &mut [u8]) {
    let (written, rest) = out.split_at_mut(values.len() * format.input_bytes());
    rest.fill(0);
    let wide = written.as_chunks_mut::<4>().0;
    match format {
        Format::F32 => wide.iter_mut().zip(values).for_each(|(to, value)| *to = value.to_ne_bytes()),
        Format::Bf16Widened => wide
            .iter_mut()
            .zip(values)
            .for_each(|(to, &value)| *to = (u32::from(to_bfloat16(value)) << 16).to_ne_bytes()),
        Format::Bf16Pairs => {
            let narrow = written.as_chunks_mut::<2>().0;
            narrow.iter_mut().zip(values).for_each(|(to, &value)| *to = to_bfloat16(value).to_ne_bytes());
        }
    }
}

/// Sums of a block of rows times one panel: `[BLOCK_ROWS, 64]`.
pub struct Tile(Buffer);

impl Default for Tile {
    fn default() -> Self {
        Self(Buffer::of::<f32>(BLOCK_ROWS * PANEL))
    }
}

impl Tile {
    /// Computes the product of up to 96 rows with a panel. `rows[i]` is the index in `input` of row i of the block.
    ///
    /// The order of every sum is fixed by its depth alone, so results do not depend on how rows are put into blocks.
    pub fn multiply(
        &mut self,
        cpu: Cpu,
        input: Rows,
        rows: impl ExactSizeIterator<Item = usize>,
        weight: &Packed,
        panel: usize,
    ) {
        self.multiply_panel(cpu, weight.format, input, rows, weight.panel(panel), weight.depth());
    }

    /// As `multiply`, with a panel of any origin: `depth` x 64 numbers in the layout of the format.
    pub fn multiply_panel(
        &mut self,
        cpu: Cpu,
        format: Format,
        input: Rows,
        rows: impl ExactSizeIterator<Item = usize>,
        panel: &[u8],
        depth: usize,
    ) {
        let count = rows.len();
        assert!(count <= BLOCK_ROWS, "a block fits its tile");
        assert_eq!(panel.len(), depth * PANEL * format.panel_bytes(), "a panel is as deep as its rows");
        let mut starts = [std::ptr::null(); BLOCK_ROWS];
        for (start, row) in starts.iter_mut().zip(rows) {
            *start = input.start(row, depth * format.input_bytes());
        }
        let tile = self.0.as_mut_slice::<f32>();
        if depth == 0 {
            tile[..count * PANEL].fill(0.0);
        }
        let kernel = kernel(cpu, format);
        let most = tile_rows(cpu, format);
        let passes = count.div_ceil(most);
        for from in (0..depth).step_by(DEPTH_BLOCK) {
            let steps = DEPTH_BLOCK.min(depth - from);
            let (panel, next) =
                panel[from * PANEL * format.panel_bytes()..].split_at(steps * PANEL * format.panel_bytes());
            for first in (0..count).step_by(most) {
                let height = most.min(count - first);
                let a = std::array::from_fn(|r| {
                    starts[first + r.min(height - 1)].wrapping_add(from * format.input_bytes())
                });
                let ahead = ahead(panel, next, from == 0, first / most, passes);
                let out = tile[first * PANEL..].as_mut_ptr();
                // SAFETY: each row has `depth` numbers and the panel `depth` steps, of which steps from..from + steps
                // are read; the tile has 96 rows. The format belongs to the instruction set.
                unsafe { kernel(&a, height, panel.as_ptr(), steps, out, from > 0, ahead) };
            }
        }
    }

    /// All sums, row by row.
    pub fn sums(&self) -> &[f32] {
        self.0.as_slice()
    }

    /// Row `row` of the sums.
    pub fn row(&self, row: usize) -> &[f32; PANEL] {
        &self.0.as_slice::<f32>().as_chunks().0[row]
    }

    /// Row `row` of the sums, to change it.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32; PANEL] {
        &mut self.0.as_mut_slice::<f32>().as_chunks_mut().0[row]
    }
}

/// What pass `pass` over a block of a panel fetches: while the block comes from memory, what lies a little ahead; later
/// passes, which find the block in the cache, share the next block.
fn ahead(block: &[u8], next: &[u8], fresh: bool, pass: usize, passes: usize) -> Ahead {
    if passes == 1 || (pass == 0 && fresh) {
        Ahead { start: block.as_ptr().wrapping_add(DISTANCE), lines: 4 }
    } else {
        let lines = match passes {
            2 => 4,
            3 | 4 => 2,
            _ => 1,
        };
        // A pass asks for this many of the 4 lines of a step: the first passes after this one get to the end.
        let start = (pass.saturating_sub(1) * block.len() / 4 * lines).min(next.len());
        Ahead { start: next[start..].as_ptr(), lines: if pass == 0 || start == next.len() { 0 } else { lines } }
    }
}

/// The columns of panel `panel` that exist.
pub fn panel_columns(panel: usize, columns: usize) -> Range<usize> {
    panel * PANEL..columns.min((panel + 1) * PANEL)
}

/// Number of blocks and how many rows they have at most: as equal as whole tiles allow.
pub fn row_blocks(rows: usize) -> (usize, usize) {
    let blocks = rows.div_ceil(BLOCK_ROWS);
    (blocks, rows.div_ceil(blocks.max(1)).next_multiple_of(TILE_ROWS))
}

/// The rows of block `block` of `row_blocks`.
pub fn block_rows(block: usize, size: usize, rows: usize) -> Range<usize> {
    rows.min(block * size)..rows.min((block + 1) * size)
}

/// x `[tokens, columns]` times the transposed weight, plus bias `[rows]`, to out `[tokens, rows]`.
pub fn linear(context: &Context, x: &[f32], weight: &Packed, bias: Option<&[f32]>, out: &mut [f32]) {
    let input = Input::new(context, x, weight.columns);
    let tokens = out.len() / weight.rows.max(1);
    multiply_all(
        context,
        input.rows(),
        tokens,
        &[weight],
        |columns, sums, out| {
            if let Some(bias) = bias {
                out.iter_mut().zip(sums).zip(&bias[columns]).for_each(|((out, sum), bias)| *out = sum + bias);
            } else {
                out.copy_from_slice(&sums[..out.len()]);
            }
        },
        out,
    );
}

/// x `[tokens, heads, columns]`, each head times its own transposed weight, all of one shape, to out
/// `[tokens, heads, rows]`.
pub fn head_linear(context: &Context, x: &[f32], heads: &[&Packed], out: &mut [f32]) {
    let Some(weight) = heads.first() else { return };
    let input = Input::new(context, x, weight.columns);
    let tokens = out.len() / (heads.len() * weight.rows).max(1);
    let finish = |_, sums: &[f32], out: &mut [f32]| out.copy_from_slice(&sums[..out.len()]);
    multiply_all(context, input.rows(), tokens, heads, finish, out);
}

/// All rows of all heads times all panels of the head's weight; row r of head h lies at `r * heads + h` in input and
/// output. `finish(columns, sums, out)` makes a piece of a row of the output of its sums.
fn multiply_all(
    context: &Context,
    input: Rows,
    rows: usize,
    heads: &[&Packed],
    finish: impl Fn(Range<usize>, &[f32], &mut [f32]) + Sync,
    out: &mut [f32],
) {
    let (weight_rows, weight_panels) = (heads[0].rows, heads[0].panels());
    let panels = heads.len() * weight_panels;
    let (blocks, size) = row_blocks(rows);
    // Blocks of one task share a panel while it is in the cache, but every thread should get some tasks.
    let wanted = 4 * context.threads.count();
    let groups = wanted.div_ceil(panels.max(1)).clamp(1, blocks.max(1));
    let blocks_per_group = blocks.div_ceil(groups).max(1);
    let groups = blocks.div_ceil(blocks_per_group);
    let out = Disjoint::new(out);
    context.threads.run(panels * groups, Tile::default, |tile, task| {
        let (panel, group) = (task / groups, task % groups);
        let (head, panel) = (panel / weight_panels, panel % weight_panels);
        let columns = panel_columns(panel, weight_rows);
        for block in group * blocks_per_group..blocks.min((group + 1) * blocks_per_group) {
            let range = block_rows(block, size, rows);
            let range = range.map(|row| row * heads.len() + head);
            tile.multiply(context.cpu, input, range.clone(), heads[head], panel);
            for (i, row) in range.enumerate() {
                // SAFETY: each (row, panel) belongs to one task.
                let out = unsafe { out.range(row * weight_rows + columns.start, columns.len()) };
                finish(columns.clone(), tile.row(i), out);
            }
        }
    });
}
