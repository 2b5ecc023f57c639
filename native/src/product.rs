//! Products of activations with packed weights, tile by tile.

use std::borrow::Cow;

use crate::codecs::{DType, Source};
use crate::dispatch::{Cpu, multiversion};
use crate::math::{from_bfloat16, to_bfloat16};
use crate::memory::{Buffer, Disjoint};
use crate::packed::{Format, PANEL, Packed};
use crate::threads::Threads;
use crate::tile::{TILE_ROWS, TileKernel, kernel};

/// Most rows that share a panel while it is in the cache; a multiple of the rows of a tile.
pub const BLOCK_ROWS: usize = 96;
/// Steps of the depth that are summed in registers before they are added to the tile. Bounds the rounding error of
/// long sums, and a block of a panel fits the second-level cache.
const DEPTH_BLOCK: usize = 512;

/// Everything that an operation computes with.
#[derive(Clone)]
pub struct Context {
    /// Instruction set.
    pub cpu: Cpu,
    /// Threads.
    pub threads: Threads,
    /// Format of products with weights.
    pub format: Format,
}

impl Context {
    /// The same with float32 products, for statistics.
    pub fn in_float32(&self) -> Self {
        Self { format: Format::F32, ..self.clone() }
    }
}

/// Rows of activations in the format of a product.
pub struct Input<'a> {
    data: Cow<'a, InputData<'a>>,
    rows: usize,
    columns: usize,
    format: Format,
}

enum InputData<'a> {
    Borrowed(&'a [f32]),
    Owned(Buffer),
}

impl Clone for InputData<'_> {
    fn clone(&self) -> Self {
        unreachable!("inputs are not cloned")
    }
}

impl<'a> Input<'a> {
    /// Rows x `[rows, columns]`: as they are for float32 products, else rounded to bfloat16.
    pub fn new(context: &Context, x: &'a [f32], columns: usize) -> Self {
        let Context { cpu, ref threads, format } = *context;
        let rows = if columns == 0 { 0 } else { x.len() / columns };
        if format == Format::F32 {
            return Self { data: Cow::Owned(InputData::Borrowed(x)), rows, columns, format };
        }
        let stride = format.depth(columns) * format.input_bytes();
        let mut buffer = Buffer::of::<u8>(rows * stride);
        let out = Disjoint::new(buffer.as_mut_slice::<u8>());
        threads.pieces(rows, 32, |piece| {
            for row in piece {
                // SAFETY: each row is written by one task.
                let out = unsafe { out.range(row * stride, stride) };
                round_row(cpu, format, &x[row * columns..(row + 1) * columns], out);
            }
        });
        Self { data: Cow::Owned(InputData::Owned(buffer)), rows, columns, format }
    }
}
