//! Causal softmax attention, 64 keys at a time with a running maximum and sum (Dao et al. 2022), in
//! float32.

use crate::dispatch::multiversion;
use crate::elementwise::max;
use crate::math::exp;
use crate::memory::{Buffer, Disjoint, bytes_of};
use crate::packed::{Format, PANEL};
use crate::product::{BLOCK_ROWS, Context, Rows, Tile, block_rows, row_blocks};

/// Shape of an attention over `sequences` sequences of `length` tokens.
#[derive(Clone, Copy)]
pub struct Shape<'a> {
    /// Number of sequences.
    pub sequences: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub key_value_heads: usize,
    /// Size of a head.
    pub head_size: usize,
    /// Factor on the dot products.
    pub scale: f32,
    /// Position i sees j only if i - j < window.
    pub window: usize,
    /// `[sequences, length]`: 0 hides a token as a key.
    pub mask: Option<&'a [u8]>,
}

impl Shape<'_> {
    fn key_panels(&self) -> usize {
        self.length.div_ceil(PANEL)
    }

    fn value_panels(&self) -> usize {
        self.head_size.div_ceil(PANEL)
    }

    /// Numbers of a panel of keys, and of the panels of the same 64 values.
    fn panel_sizes(&self) -> (usize, usize) {
        (self.head_size * PANEL, self.value_panels() * PANEL * PANEL)
    }
}

/// Attention of q `[tokens, heads, head_size]` to k and v `[tokens, key_value_heads, head_size]`, to out like q. A query
/// that sees no key gets zeros.
pub fn attention(context: &Context, q: &[f32], k: &[f32], v: &[f32], shape: Shape, out: &mut [f32]) {
    let (keys, values) = pack(context, k, v, shape);
    let (keys, values) = (keys.as_slice(), values.as_slice());
    let (blocks, size) = row_blocks(shape.length);
    let heads = shape.sequences * shape.heads;
    let out = Disjoint::new(out);
    context.threads.run(
        heads * blocks,
        || Worker::new(shape),
        |worker, task| {
            // Late blocks see the most keys: they come first, so that short tasks fill the end.
            let queries = block_rows(blocks - 1 - task / heads, size, shape.length);
            let (sequence, head) = (task % heads / shape.heads, task % shape.heads);
            worker.attend(context, q, keys, values, shape, (sequence, head), queries.clone());
            for (row, query) in queries.enumerate() {
                let start = ((sequence * shape.length + query) * shape.heads + head) * shape.head_size;
                // SAFETY: each (token, head) belongs to one task.
                worker.write(row, unsafe { out.range(start, shape.head_size) });
            }
        },
    );
}

/// Keys as panels `[head_size, 64]`, values as panels `[64, 64]` of 64 of their dimensions, both for each sequence, head
/// and 64 tokens. What is missing is zero.
fn pack(context: &Context, k: &[f32], v: &[f32], shape: Shape) -> (Buffer, Buffer) {
    let Shape { sequences, length, key_value_heads, head_size, .. } = shape;
    let panels = sequences * key_value_heads * shape.key_panels();
    let (key_size, value_size) = shape.panel_sizes();
    let mut keys = Buffer::of::<f32>(panels * key_size);
    let mut values = Buffer::of::<f32>(panels * value_size);
    let (all_keys, all_values) =
        (Disjoint::new(keys.as_mut_slice::<f32>()), Disjoint::new(values.as_mut_slice::<f32>()));
    context.threads.run(
        panels,
        || (),
        |(), task| {
            let (head, panel) = (task / shape.key_panels(), task % shape.key_panels());
            let (sequence, head) = (head / key_value_heads, head % key_value_heads);
            // SAFETY: each task has its own panels.
            let (keys, values) =
                unsafe { (all_keys.range(task * key_size, key_size), all_values.range(task * value_size, value_size)) };
            keys.fill(0.0);
            values.fill(0.0);
            for (j, token) in (panel * PANEL..length.min((panel + 1) * PANEL)).enumerate() {
                let start = ((sequence * length + token) * key_value_heads + head) * head_size;
                for (d, (&key, &value)) in
                    k[start..start + head_size].iter().zip(&v[start..start + head_size]).enumerate()
                {
                    keys[d * PANEL + j] = key;
                    values[(d / PANEL * PANEL + j) * PANEL + d % PANEL] = value;
                }
            }
        },
    );
    (keys, values)
}

/// Memory of one thread, and the state of the rows of its block.
struct Worker {
    scores: Tile,
    products: Tile,
    /// Sums of weights times values, relative to the maximum: `[96, value panels, 64]`
    outputs: Buffer,
    rows: [RowState; BLOCK_ROWS],
}

/// The running softmax of one query.
#[derive(Clone, Copy)]
struct RowState {
    /// The largest score so far.
    max: f32,
    /// Sum of e^(score - max).
    sum: f64,
    /// What the last change of the maximum multiplies older sums with.
    correction: f32,
}

const NOTHING_SEEN: RowState = RowState { max: f32::NEG_INFINITY, sum: 0.0, correction: 0.0 };

impl Worker {
    fn new(shape: Shape) -> Self {
        Self {
            scores: Tile::default(),
            products: Tile::default(),
            outputs: Buffer::of::<f32>(BLOCK_ROWS * shape.value_panels() * PANEL),
            rows: [NOTHING_SEEN; BLOCK_ROWS],
        }
    }

    /// Attends a block of queries of one head to all keys that it sees.
    #[allow(clippy::too_many_arguments)]
    fn attend(
        &mut self,
        context: &Context,
        q: &[f32],
        keys: &[f32],
        values: &[f32],
        shape: Shape,
        (sequence, head): (usize, usize),
        queries: std::ops::Range<usize>,
    ) {
        let Shape { length, heads, key_value_heads, head_size, .. } = shape;
        let (key_size, value_size) = shape.panel_sizes();
        let row_size = shape.value_panels() * PANEL;
        self.rows = [NOTHING_SEEN; BLOCK_ROWS];
        self.outputs.as_mut_slice::<f32>()[..queries.len() * row_size].fill(0.0);
        let q_rows = queries.clone().map(|query| (sequence * length + query) * heads + head);
        let key_head = head / (heads / key_value_heads);
        let first = (queries.start + 1).saturating_sub(shape.window) / PANEL;
        for panel in first..queries.end.div_ceil(PANEL) {
            let index = (sequence * key_value_heads + key_head) * shape.key_panels() + panel;
            let keys = bytes_of(&keys[index * key_size..(index + 1) * key_size]);
            let tile = &mut self.scores;
            tile.multiply_panel(context.cpu, Format::F32, Rows::float32(q, head_size), q_rows.clone(), keys, head_size);
            let start = panel * PANEL;
            let mask =
                shape.mask.map(|mask| &mask[sequence * length + start..sequence * length + length.min(start + PANEL)]);
            for (row, query) in queries.clone().enumerate() {
                let seen = (query + 1).saturating_sub(shape.window).saturating_sub(start)
                    ..(query + 1).saturating_sub(start).min(PANEL);
                weigh(context.cpu, tile.row_mut(row), seen, mask, shape.scale, &mut self.rows[row]);
            }
            let weights = Rows::float32(self.scores.sums(), PANEL);
            for column in 0..shape.value_panels() {
                let values = &values[index * value_size + column * PANEL * PANEL..][..PANEL * PANEL];
                self.products.multiply_panel(
                    context.cpu,
                    Format::F32,
                    weights,
                    0..queries.len(),
                    bytes_of(values),
                    PANEL,
                );
                for row in 0..queries.len() {
                    let sums = &mut self.outputs.as_mut_slice::<f32>()[row * row_size + column * PANEL..][..PANEL];
                    correct_and_add(context.cpu, sums, self.rows[row].correction, self.products.row(row));
                }
            }
        }
    }

    /// Output of row `row`.
    fn write(&self, row: usize, out: &mut [f32]) {
        let row_size = out.len().next_multiple_of(PANEL);
        let sum = self.rows[row].sum;
        let factor = if sum == 0.0 { 0.0 } else { 1.0 / sum };
        let sums = &self.outputs.as_slice::<f32>()[row * row_size..][..out.len()];
        out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = (f64::from(sum) * factor) as f32);
    }
}

multiversion! {
    fn weigh(scores: &mut [f32; PANEL], seen: std::ops::Range<usize>, mask: Option<&[u8]>, scale: f32, state: &mut RowState) = weigh_body;
    fn correct_and_add(sums: &mut [f32], correction: f32, terms: &[f32; PANEL]) = correct_and_add_body;
}

/// Makes weights e^(scale * score - max) of the scores of a row, 0 where a key is not seen, and updates its state.
#[inline(always)]
fn weigh_body(
    scores: &mut [f32; PANEL],
    seen: std::ops::Range<usize>,
    mask: Option<&[u8]>,
    scale: f32,
    state: &mut RowState,
) {
    for (j, score) in scores.iter_mut().enumerate() {
        *score = if j >= seen.start && j < seen.end { *score * scale } else { f32::NEG_INFINITY };
    }
    for (score, &visible) in scores.iter_mut().zip(mask.unwrap_or_default()) {
        *score = if visible == 0 { f32::NEG_INFINITY } else { *score };
    }
    let highest = max(scores).max(state.max);
    // Before the first key is seen all scores are -infinity; subtracting 0 keeps them so. NaN scores stay NaN.
    let reference = if highest == f32::NEG_INFINITY { 0.0 } else { highest };
    let mut lanes = [0.0_f32; 16];
    for group in scores.as_chunks_mut::<16>().0 {
        for (lane, score) in lanes.iter_mut().zip(group) {
            *score = exp(*score - reference);
            *lane += *score;
        }
    }
    state.correction = exp(state.max - reference);
    state.sum = state.sum * f64::from(state.correction) + lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
    state.max = highest;
}

#[inline(always)]
fn correct_and_add_body(sums: &mut [f32], correction: f32, terms: &[f32; PANEL]) {
    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum = *sum * correction + term);
}
