//! What operations share that carry a state from token to token: segments, and the scan of a state matrix for each head.

use crate::memory::{Buffer, Disjoint};
use crate::product::Context;

/// Rows of a call that are the next tokens of one sequence.
pub struct Segment<'a> {
    /// Its first row.
    pub first: usize,
    /// Number of its rows.
    pub tokens: usize,
    /// What the sequence's earlier tokens left behind. None: it starts from zeros, and nothing is kept.
    pub state: Option<Disjoint<'a, f32>>,
}

/// Heads of a layer. Tokens are rows of `qkv`: queries, then keys of all key heads, then values of all value heads.
#[derive(Clone, Copy)]
pub struct Shape {
    pub key_heads: usize,
    /// A multiple of `key_heads`.
    pub value_heads: usize,
    pub key_size: usize,
    pub value_size: usize,
}

impl Shape {
    /// Numbers of the queries of a token; as many are its keys.
    pub fn keys(self) -> usize {
        self.key_heads * self.key_size
    }

    /// Numbers of a token's values and of its outputs.
    pub fn values(self) -> usize {
        self.value_heads * self.value_size
    }

    /// Numbers of a token.
    pub fn row(self) -> usize {
        2 * self.keys() + self.values()
    }

    /// The head of keys that belongs to a head of values.
    pub fn key_head(self, value_head: usize) -> usize {
        value_head / (self.value_heads / self.key_heads)
    }
}

/// Columns of a state that are updated together: their sums stay in registers, and 128 rows of them (32 KB) in the
/// first-level cache.
pub const COLUMNS: usize = 64;

/// Some columns of a head's state `[key_size, value_size]`, zeros beyond the last one.
pub type Panel = [[f32; COLUMNS]];

/// Runs `step(panel, token, head, values, outputs)` for every token (a row of `qkv`), head of values and panel of its
/// state. `values` are the token's values at the panel's columns, `outputs` what goes to out `[tokens, value_heads,
/// value_size]`. Columns of a state do not depend on each other, so a task is one panel of one segment, token by token.
pub fn scan(
    context: &Context,
    qkv: &[f32],
    shape: Shape,
    segments: &[Segment],
    out: &mut [f32],
    step: impl Fn(&mut Panel, usize, usize, &[f32; COLUMNS], &mut [f32; COLUMNS]) + Sync,
) {
    let Shape { value_heads, key_size, value_size, .. } = shape;
    let panels = value_size.div_ceil(COLUMNS);
    let out = Disjoint::new(out);
    context.threads.run(
        segments.len() * value_heads * panels,
        || Buffer::of::<f32>(key_size * COLUMNS),
        |scratch, task| {
            let (segment, head) = (&segments[task / panels / value_heads], task / panels % value_heads);
            let column = task % panels * COLUMNS;
            let width = COLUMNS.min(value_size - column);
            let panel = &mut scratch.as_mut_slice::<f32>().as_chunks_mut().0[..key_size];
            let state_at = |row| (head * key_size + row) * value_size + column;
            // SAFETY: these columns of this head belong to one task.
            let state_row = |row| segment.state.map(|state| unsafe { state.range(state_at(row), width) });
            for (row, columns) in panel.iter_mut().enumerate() {
                *columns = [0.0; COLUMNS];
                if let Some(state) = state_row(row) {
                    columns[..width].copy_from_slice(state);
                }
            }
            let (mut values, mut outputs) = ([0.0; COLUMNS], [0.0; COLUMNS]);
            let at = head * value_size + column;
            for token in segment.first..segment.first + segment.tokens {
                values[..width].copy_from_slice(&qkv[token * shape.row() + 2 * shape.keys() + at..][..width]);
                step(panel, token, head, &values, &mut outputs);
                // SAFETY: as above.
                unsafe { out.range(token * shape.values() + at, width) }.copy_from_slice(&outputs[..width]);
            }
            for (row, columns) in panel.iter().enumerate() {
                if let Some(state) = state_row(row) {
                    state.copy_from_slice(&columns[..width]);
                }
            }
        },
    );
}
