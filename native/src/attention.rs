//! Causal softmax attention of whole sequences.

use std::ops::Range;

use crate::memory::{Buffer, Disjoint, bytes_of};
use crate::packed::{Format, PANEL};
use crate::product::{Context, Rows, block_rows, row_blocks};
use crate::softmax::{Attended, Panel, Scratch, Sight};

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
    /// Size of a head of queries and keys.
    pub head_size: usize,
    /// Size of a head of values.
    pub value_size: usize,
    /// Factor on the dot products.
    pub scale: f32,
    /// What a query sees of what is before it.
    pub sight: Sight,
    /// `[heads]`: a logit of each head that has no value.
    pub sinks: Option<&'a [f32]>,
    /// `[sequences, length]`: 0 hides a token as a key.
    pub mask: Option<&'a [u8]>,
}

impl Shape<'_> {
    fn key_panels(&self) -> usize {
        self.length.div_ceil(PANEL)
    }

    /// Numbers of a panel of keys, and of the panels of the same 64 values.
    fn panel_sizes(&self) -> (usize, usize) {
        (self.head_size * PANEL, self.value_size.next_multiple_of(PANEL) * PANEL)
    }
}

/// Attention of q `[tokens, heads, head_size]` to k `[tokens, key_value_heads, head_size]` and v `[tokens, key_value_heads,
/// value_size]`, to out `[tokens, heads, value_size]`. A query that sees no key gets zeros.
pub fn attention(context: &Context, q: &[f32], k: &[f32], v: &[f32], shape: Shape, out: &mut [f32]) {
    let (keys, values) = pack(context, k, v, shape);
    let (keys, values) = (keys.as_slice(), values.as_slice());
    let (blocks, size) = row_blocks(shape.length);
    let heads = shape.sequences * shape.heads;
    let out = Disjoint::new(out);
    context.threads.run(
        heads * blocks,
        || (Scratch::default(), Attended::new(shape.value_size)),
        |(scratch, attended), task| {
            // Late blocks see the most keys: they come first, so that short tasks fill the end.
            let queries = block_rows(blocks - 1 - task / heads, size, shape.length);
            let (sequence, head) = (task % heads / shape.heads, task % shape.heads);
            attended.start(queries.len());
            attend(context, scratch, attended, q, (keys, values), shape, (sequence, head), queries.clone());
            for (row, query) in queries.enumerate() {
                let start = ((sequence * shape.length + query) * shape.heads + head) * shape.value_size;
                let sink = shape.sinks.map(|sinks| sinks[head]);
                // SAFETY: each (token, head) belongs to one task.
                attended.write(row, sink, unsafe { out.range(start, shape.value_size) });
            }
        },
    );
}

/// Attends a block of queries of one head to all keys that it sees.
#[allow(clippy::too_many_arguments)]
fn attend(
    context: &Context,
    scratch: &mut Scratch,
    attended: &mut Attended,
    q: &[f32],
    (keys, values): (&[f32], &[f32]),
    shape: Shape,
    (sequence, head): (usize, usize),
    queries: Range<usize>,
) {
    let Shape { length, heads, key_value_heads, head_size, .. } = shape;
    let (key_size, value_size) = shape.panel_sizes();
    let q_rows = queries.clone().map(|query| (sequence * length + query) * heads + head);
    let key_head = head / (heads / key_value_heads);
    let first = shape.sight.first(queries.start) / PANEL;
    for panel in first..queries.end.div_ceil(PANEL) {
        let index = (sequence * key_value_heads + key_head) * shape.key_panels() + panel;
        let keys = bytes_of(&keys[index * key_size..(index + 1) * key_size]);
        let values = bytes_of(&values[index * value_size..(index + 1) * value_size]);
        let start = panel * PANEL;
        let seen = |row: usize| {
            let query = queries.start + row;
            shape.sight.first(query).saturating_sub(start)..(query + 1).saturating_sub(start).min(PANEL)
        };
        let mask =
            shape.mask.map(|mask| &mask[sequence * length + start..sequence * length + length.min(start + PANEL)]);
        scratch.attend(
            context.cpu,
            attended,
            Rows::float32(q, head_size),
            q_rows.clone(),
            Panel { format: Format::F32, keys, values },
            seen,
            mask,
            shape.scale,
        );
    }
}
/// Keys as panels `[head_size, 64]`, values as panels `[64, 64]` of 64 of their dimensions, both for each sequence, head
/// and 64 tokens. What is missing is zero.
fn pack(context: &Context, k: &[f32], v: &[f32], shape: Shape) -> (Buffer, Buffer) {
    let Shape { sequences, length, key_value_heads, head_size, value_size, .. } = shape;
    let panels = sequences * key_value_heads * shape.key_panels();
    let (key_panel, value_panel) = shape.panel_sizes();
    let mut keys = Buffer::of::<f32>(panels * key_panel);
    let mut values = Buffer::of::<f32>(panels * value_panel);
    let (all_keys, all_values) =
        (Disjoint::new(keys.as_mut_slice::<f32>()), Disjoint::new(values.as_mut_slice::<f32>()));
    context.threads.run(
        panels,
        || (),
        |(), task| {
            let (head, panel) = (task / shape.key_panels(), task % shape.key_panels());
            let (sequence, head) = (head / key_value_heads, head % key_value_heads);
            // SAFETY: each task has its own panels.
            let (keys, values) = unsafe {
                (all_keys.range(task * key_panel, key_panel), all_values.range(task * value_panel, value_panel))
            };
            keys.fill(0.0);
            values.fill(0.0);
            for (j, token) in (panel * PANEL..length.min((panel + 1) * PANEL)).enumerate() {
                let row = (sequence * length + token) * key_value_heads + head;
                for (d, &key) in k[row * head_size..][..head_size].iter().enumerate() {
                    keys[d * PANEL + j] = key;
                }
                for (d, &value) in v[row * value_size..][..value_size].iter().enumerate() {
                    values[(d / PANEL * PANEL + j) * PANEL + d % PANEL] = value;
                }
            }
        },
    );
    (keys, values)
}
