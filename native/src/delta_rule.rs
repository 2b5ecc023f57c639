//! Gated delta rule (Yang et al. 2024): a state that forgets, and that a token corrects where its key points.

use crate::dispatch::multiversion;
use crate::elementwise::sum;
use crate::math::exp;
use crate::memory::{Buffer, Disjoint};
use crate::product::Context;
use crate::recurrent::{COLUMNS, Panel, Segment, Shape, scan};

/// Keeps the inverse length of a head of zeros finite.
const EPSILON: f64 = 1e-6;
/// Numbers that a task of the preparation works on at least.
const GRAIN: usize = 1 << 14;

/// S = e^decay S, S += k (β (v - Sᵀ k))ᵀ, o = Sᵀ q for the tokens of each segment, with q and k of unit length and q
/// scaled by key_size^-1/2. `log_decay` `[tokens, value_heads]`, or `[tokens, value_heads, key_size]` for a decay of each
/// row of S; beta `[tokens, value_heads]`.
pub fn delta_rule(
    context: &Context,
    qkv: &[f32],
    log_decay: &[f32],
    beta: &[f32],
    shape: Shape,
    segments: &[Segment],
    out: &mut [f32],
) {
    let units = units(context, qkv, shape);
    let decay = decays(context, log_decay);
    // Decays of one token and head: 1 or key_size.
    let count = log_decay.len() / beta.len().max(1);
    scan(context, qkv, shape, segments, out, |panel, token, head, values, outputs| {
        let (q, k) = units.as_slice::<f32>()[token * 2 * shape.keys()..][..2 * shape.keys()].split_at(shape.keys());
        let start = shape.key_head(head) * shape.key_size;
        let (q, k) = (&q[start..][..shape.key_size], &k[start..][..shape.key_size]);
        let index = token * shape.value_heads + head;
        let decay = &decay.as_slice::<f32>()[index * count..][..count];
        correct(context.cpu, panel, q, k, decay, beta[index], values, outputs);
    });
}

/// Queries and keys of each token, scaled: `[tokens, 2, key_heads, key_size]`.
fn units(context: &Context, qkv: &[f32], shape: Shape) -> Buffer {
    let (tokens, size) = (qkv.len() / shape.row(), 2 * shape.keys());
    let mut units = Buffer::of::<f32>(tokens * size);
    let shared = Disjoint::new(units.as_mut_slice::<f32>());
    context.threads.pieces(tokens, GRAIN.div_ceil(size), |piece| {
        for token in piece {
            // SAFETY: each token belongs to one task.
            let units = unsafe { shared.range(token * size, size) };
            let (q, k) = units.split_at_mut(shape.keys());
            let (from_q, from_k) = qkv[token * shape.row()..][..size].split_at(shape.keys());
            unit_rows(context.cpu, from_q, shape.key_size, (shape.key_size as f64).powf(-0.5), q);
            unit_rows(context.cpu, from_k, shape.key_size, 1.0, k);
        }
    });
    units
}

/// e^x of each number.
fn decays(context: &Context, log_decay: &[f32]) -> Buffer {
    let mut decays = Buffer::of::<f32>(log_decay.len());
    let shared = Disjoint::new(decays.as_mut_slice::<f32>());
    context.threads.pieces(log_decay.len(), GRAIN, |piece| {
        // SAFETY: pieces are disjoint.
        let out = unsafe { shared.range(piece.start, piece.len()) };
        exp_each(context.cpu, &log_decay[piece], out);
    });
    decays
}

multiversion! {
    /// Rows of `size` numbers scaled to length `length`.
    fn unit_rows(x: &[f32], size: usize, length: f64, out: &mut [f32]) = unit_rows_body;
    fn exp_each(x: &[f32], out: &mut [f32]) = exp_each_body;
    /// One token at the columns of a panel. One decay, or one for each row.
    fn correct(
        panel: &mut Panel,
        q: &[f32],
        k: &[f32],
        decay: &[f32],
        beta: f32,
        values: &[f32; COLUMNS],
        outputs: &mut [f32; COLUMNS],
    ) = correct_body;
}

#[inline(always)]
fn unit_rows_body(x: &[f32], size: usize, length: f64, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
        let factor = length / (sum(x, |x| f64::from(x) * f64::from(x)) + EPSILON).sqrt();
        for (out, &x) in out.iter_mut().zip(x) {
            *out = (f64::from(x) * factor) as f32;
        }
    }
}

#[inline(always)]
fn exp_each_body(x: &[f32], out: &mut [f32]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = exp(x);
    }
}

#[inline(always)]
fn correct_body(
    panel: &mut Panel,
    q: &[f32],
    k: &[f32],
    decay: &[f32],
    beta: f32,
    values: &[f32; COLUMNS],
    outputs: &mut [f32; COLUMNS],
) {
    let step = usize::from(decay.len() > 1);
    let mut recalled = [0.0; COLUMNS];
    for (i, (row, &k)) in panel.iter_mut().zip(k).enumerate() {
        let decay = decay[i * step];
        for (state, recalled) in row.iter_mut().zip(&mut recalled) {
            *state *= decay;
            *recalled += k * *state;
        }
    }
    let mut change = *values;
    for (change, recalled) in change.iter_mut().zip(recalled) {
        *change = beta * (*change - recalled);
    }
    let mut sums = [0.0; COLUMNS];
    for ((row, &k), &q) in panel.iter_mut().zip(k).zip(q) {
        for ((state, change), sum) in row.iter_mut().zip(change).zip(&mut sums) {
            *state += k * change;
            *sum += q * *state;
        }
    }
    *outputs = sums;
}
