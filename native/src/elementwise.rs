//! Operations on each row or number by itself.

use crate::dispatch::multiversion;
use crate::math::{Activation, clamped_silu, clamped_swiglu, exp, gelu, gelu_tanh, relu, sigmoid, silu};
use crate::memory::Disjoint;
use crate::product::Context;

/// Numbers that a task works on at least, so that handing it out costs little.
const GRAIN: usize = 1 << 14;

/// Runs `body(row, out)` for each row of `columns` numbers of `out`.
fn each_row(context: &Context, out: &mut [f32], columns: usize, body: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = out.len() / columns.max(1);
    let out = Disjoint::new(out);
    context.threads.pieces(rows, GRAIN.div_ceil(columns.max(1)), |piece| {
        for row in piece {
            // SAFETY: each row belongs to one task.
            body(row, unsafe { out.range(row * columns, columns) });
        }
    });
}

/// x / sqrt(mean(x²) + epsilon) * weight for each row (Zhang & Sennrich 2019), to out.
pub fn rms_norm(context: &Context, x: &[f32], weight: &[f32], epsilon: f64, out: &mut [f32]) {
    let size = weight.len();
    each_row(context, out, size, |row, out| {
        rms_norm_row(context.cpu, &x[row * size..(row + 1) * size], weight, epsilon, out);
    });
}

/// (x - mean) / sqrt(variance + epsilon) * weight + bias for each row, to out (Ba et al. 2016).
pub fn layer_norm(context: &Context, x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f64, out: &mut [f32]) {
    let size = weight.len();
    each_row(context, out, size, |row, out| {
        layer_norm_row(context.cpu, &x[row * size..(row + 1) * size], weight, bias, epsilon, out);
    });
}

/// Row-wise softmax of logits, to out.
pub fn softmax(context: &Context, logits: &[f32], columns: usize, out: &mut [f32]) {
    each_row(context, out, columns, |row, out| {
        softmax_row(context.cpu, &logits[row * columns..(row + 1) * columns], out);
    });
}

/// Gated activations, to out.
pub fn gated(context: &Context, gate: &[f32], up: &[f32], activation: Activation, out: &mut [f32]) {
    let shared = Disjoint::new(out);
    context.threads.pieces(gate.len(), GRAIN, |piece| {
        // SAFETY: pieces are disjoint.
        let out = unsafe { shared.range(piece.start, piece.len()) };
        gate_values(context.cpu, &gate[piece.clone()], &up[piece], activation, out);
    });
}

/// sums = factor * sums + `terms_factor` * terms, computed in float64.
pub fn combine(context: &Context, sums: &mut [f32], factor: f64, terms: &[f32], terms_factor: f64) {
    let count = sums.len();
    let shared = Disjoint::new(sums);
    context.threads.pieces(count, GRAIN, |piece| {
        // SAFETY: pieces are disjoint.
        let sums = unsafe { shared.range(piece.start, piece.len()) };
        combine_values(context.cpu, sums, factor, &terms[piece], terms_factor);
    });
}

/// Rotary embedding of x `[tokens, heads, head_size]` in place: dimension i pairs with i + rotary / 2, or 2i with 2i + 1 where
/// the pairs are adjacent; cos and sin `[length, rotary / 2]`, `position(token)` is below `length`.
#[allow(clippy::too_many_arguments)]
pub fn rotate(
    context: &Context,
    x: &mut [f32],
    heads: usize,
    head_size: usize,
    length: usize,
    adjacent: bool,
    position: impl Fn(usize) -> usize + Sync,
    cos: &[f32],
    sin: &[f32],
) {
    let half = cos.len() / length.max(1);
    each_row(context, x, heads * head_size, |token, x| {
        let angles = position(token) * half..(position(token) + 1) * half;
        rotate_token(context.cpu, x, head_size, adjacent, &cos[angles.clone()], &sin[angles]);
    });
}

multiversion! {
    fn rms_norm_row(x: &[f32], weight: &[f32], epsilon: f64, out: &mut [f32]) = rms_norm_row_body;
    fn layer_norm_row(x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f64, out: &mut [f32]) = layer_norm_row_body;
    fn softmax_row(logits: &[f32], out: &mut [f32]) = softmax_row_body;
    fn rotate_token(x: &mut [f32], head_size: usize, adjacent: bool, cos: &[f32], sin: &[f32]) = rotate_token_body;
    fn combine_values(sums: &mut [f32], factor: f64, terms: &[f32], terms_factor: f64) = combine_body;
    /// Gated activations of arrays of one length.
    pub fn gate_values(gate: &[f32], up: &[f32], activation: Activation, out: &mut [f32]) = gate_values_body;
    /// factor * values, to out.
    pub fn scale(values: &[f32], factor: f32, out: &mut [f32]) = scale_body;
    /// Adds the sum of the squares of the values to `sum`.
    pub fn add_squares(values: &[f32], sum: &mut f64) = add_squares_body;
}

#[inline(always)]
fn scale_body(values: &[f32], factor: f32, out: &mut [f32]) {
    out.iter_mut().zip(values).for_each(|(out, value)| *out = factor * value);
}

#[inline(always)]
fn add_squares_body(values: &[f32], total: &mut f64) {
    *total += sum(values, |value| f64::from(value) * f64::from(value));
}

#[inline(always)]
fn combine_body(sums: &mut [f32], factor: f64, terms: &[f32], terms_factor: f64) {
    for (sum, &term) in sums.iter_mut().zip(terms) {
        *sum = (factor * f64::from(*sum) + terms_factor * f64::from(term)) as f32;
    }
}

#[inline(always)]
fn rms_norm_row_body(x: &[f32], weight: &[f32], epsilon: f64, out: &mut [f32]) {
    let squares = sum(x, |x| f64::from(x) * f64::from(x));
    let factor = 1.0 / (squares / x.len() as f64 + epsilon).sqrt();
    for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
        *out = (f64::from(x) * factor * f64::from(weight)) as f32;
    }
}

#[inline(always)]
fn layer_norm_row_body(x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f64, out: &mut [f32]) {
    let size = x.len() as f64;
    let mean = sum(x, f64::from) / size;
    let variance = sum(x, |x| (f64::from(x) - mean) * (f64::from(x) - mean)) / size;
    let factor = 1.0 / (variance + epsilon).sqrt();
    let normed = |x: f32, weight: f32| (f64::from(x) - mean) * factor * f64::from(weight);
    if let Some(bias) = bias {
        for (((out, &x), &weight), &bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
            *out = (normed(x, weight) + f64::from(bias)) as f32;
        }
    } else {
        for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
            *out = normed(x, weight) as f32;
        }
    }
}

#[inline(always)]
fn softmax_row_body(logits: &[f32], out: &mut [f32]) {
    let highest = max(logits);
    for (out, &logit) in out.iter_mut().zip(logits) {
        *out = exp(logit - highest);
    }
    let factor = 1.0 / sum(out, f64::from);
    for out in out {
        *out = (f64::from(*out) * factor) as f32;
    }
}

#[inline(always)]
fn rotate_token_body(x: &mut [f32], head_size: usize, adjacent: bool, cos: &[f32], sin: &[f32]) {
    for head in x.chunks_exact_mut(head_size) {
        if adjacent {
            for (([a, b], &cos), &sin) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
            continue;
        }
        let (first, second) = head.split_at_mut(cos.len());
        for (((a, b), &cos), &sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}

#[inline(always)]
fn gate_values_body(gate: &[f32], up: &[f32], activation: Activation, out: &mut [f32]) {
    match activation {
        Activation::Silu => gate_each(gate, up, out, |gate, up| silu(gate) * up),
        Activation::Gelu => gate_each(gate, up, out, |gate, up| gelu(gate) * up),
        Activation::GeluTanh => gate_each(gate, up, out, |gate, up| gelu_tanh(gate) * up),
        Activation::Sigmoid => gate_each(gate, up, out, |gate, up| sigmoid(gate) * up),
        Activation::Relu => gate_each(gate, up, out, |gate, up| relu(gate) * up),
        Activation::ClampedSwiglu { alpha, limit } => {
            gate_each(gate, up, out, |gate, up| clamped_swiglu(gate, up, alpha, limit));
        }
        Activation::ClampedSilu { limit } => gate_each(gate, up, out, |gate, up| clamped_silu(gate, up, limit)),
    }
}

#[inline(always)]
fn gate_each(gate: &[f32], up: &[f32], out: &mut [f32], activate: impl Fn(f32, f32) -> f32) {
    for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        *out = activate(gate, up);
    }
}

/// The largest number; NaNs are left out.
#[inline(always)]
pub fn max(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (groups, rest) = values.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for group in groups {
        for (lane, &value) in lanes.iter_mut().zip(group) {
            *lane = larger(*lane, value);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| larger(a, b))
}

/// Sum in float64, in 8 interleaved parts: one alone waits for each addition to finish before the next can start.
#[inline(always)]
pub fn sum(values: &[f32], term: impl Fn(f32) -> f64) -> f64 {
    let (groups, rest) = values.as_chunks::<8>();
    let mut lanes = [0.0_f64; 8];
    for group in groups {
        for (lane, &value) in lanes.iter_mut().zip(group) {
            *lane += term(value);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&value| term(value)).sum::<f64>()
}
