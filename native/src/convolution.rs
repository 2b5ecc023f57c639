//! Causal depthwise convolution: each channel is a short filter over the tokens of its sequence.

use crate::dispatch::multiversion;
use crate::math::silu;
use crate::memory::{Buffer, Disjoint};
use crate::product::Context;
use crate::recurrent::Segment;

/// Channels of a task: their weights and earlier inputs stay in the first-level cache.
const CHANNELS: usize = 256;

/// A channel's weights, and what is done with its sums.
#[derive(Clone, Copy)]
pub struct Filter<'a> {
    /// `[channels, kernel]`
    pub weight: &'a [f32],
    /// `[channels]`
    pub bias: Option<&'a [f32]>,
    pub kernel: usize,
    /// Whether the result is silu of the sum.
    pub silu: bool,
}

/// `out[t, c]` = bias + sum of `weight[c, i] x[t - kernel + 1 + i, c]` for the tokens of each segment. States
/// `[kernel - 1, channels]` are the inputs before the segment, oldest first.
pub fn convolution(context: &Context, x: &[f32], filter: Filter, segments: &[Segment], out: &mut [f32]) {
    let Filter { weight, bias, kernel, silu } = filter;
    let (channels, past) = (weight.len() / kernel, kernel - 1);
    let blocks = channels.div_ceil(CHANNELS);
    let out = Disjoint::new(out);
    context.threads.run(
        segments.len() * blocks,
        || Buffer::of::<f32>((kernel + past) * CHANNELS),
        |scratch, task| {
            let (segment, first) = (&segments[task / blocks], task % blocks * CHANNELS);
            let width = CHANNELS.min(channels - first);
            let (weights, before) = scratch.as_mut_slice::<f32>().split_at_mut(kernel * width);
            for (i, weights) in weights.chunks_exact_mut(width).enumerate() {
                for (c, to) in weights.iter_mut().enumerate() {
                    *to = weight[(first + c) * kernel + i];
                }
            }
            // SAFETY: these channels of the state belong to one task.
            let kept = |row| segment.state.map(|state| unsafe { state.range(row * channels + first, width) });
            for (row, before) in before.chunks_exact_mut(width).take(past).enumerate() {
                match kept(row) {
                    None => before.fill(0.0),
                    Some(state) => before.copy_from_slice(state),
                }
            }
            // Inputs of the sequence, from the oldest of the state on.
            let before = &*before;
            let input = |i: usize| match i.checked_sub(past) {
                None => &before[i * width..][..width],
                Some(token) => &x[(segment.first + token) * channels + first..][..width],
            };
            for token in 0..segment.tokens {
                // SAFETY: as above.
                let out = unsafe { out.range((segment.first + token) * channels + first, width) };
                match bias {
                    None => out.fill(0.0),
                    Some(bias) => out.copy_from_slice(&bias[first..][..width]),
                }
                for (i, weights) in weights.chunks_exact(width).enumerate() {
                    add_products(context.cpu, weights, input(token + i), out);
                }
                if silu {
                    activate(context.cpu, out);
                }
            }
            for row in 0..past {
                if let Some(state) = kept(row) {
                    state.copy_from_slice(input(segment.tokens + row));
                }
            }
        },
    );
}

multiversion! {
    fn add_products(weights: &[f32], x: &[f32], sums: &mut [f32]) = add_products_body;
    fn activate(values: &mut [f32]) = activate_body;
}

#[inline(always)]
fn add_products_body(weights: &[f32], x: &[f32], sums: &mut [f32]) {
    for ((sum, weight), x) in sums.iter_mut().zip(weights).zip(x) {
        *sum += weight * x;
    }
}

#[inline(always)]
fn activate_body(values: &mut [f32]) {
    for value in values {
        *value = silu(*value);
    }
}
