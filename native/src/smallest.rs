//! The smallest of many scores, exactly as many as wanted, and zeros in place of their weights.
//!
//! A score that is not negative orders like its bits; so does NaN, as the largest. The limit is found by halving the range
//! of the bits, which is a loop over the keys for each bit, but one that vectors do and, for a row, in the cache. For many
//! keys a sample first tells between which two keys the limit lies.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::dispatch::{Cpu, multiversion};
use crate::memory::{Buffer, Disjoint};
use crate::product::Context;

/// Keys that a task works on.
const PIECE: usize = 1 << 15;
/// Above so many keys a sample is taken, about half as large.
const MANY: usize = 1 << 16;

/// Bits of a score's magnitude.
#[inline(always)]
pub fn key_of(score: f32) -> u32 {
    score.to_bits() & (u32::MAX >> 1)
}

/// Which keys are among the smallest: all below `key`, and the first `ties` equal to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    key: u32,
    /// Of those equal to the key; after `skip`, of those that come.
    ties: usize,
}

impl Limit {
    /// Whether the next key is among the smallest.
    #[inline(always)]
    pub fn takes(&mut self, key: u32) -> bool {
        let tie = key == self.key && self.ties > 0;
        self.ties -= usize::from(tie);
        key < self.key || tie
    }

    /// The limit after so many keys that are equal to it.
    pub fn skip(self, equal: usize) -> Self {
        Self { ties: self.ties.saturating_sub(equal), ..self }
    }

    /// How many of some keys are equal to it.
    pub fn count_equal(self, cpu: Cpu, keys: &[u32]) -> usize {
        let mut count = 0;
        count_equal(cpu, keys, self.key, &mut count);
        count
    }

    /// The limits of pieces that follow each other, given how many keys equal to it each has.
    pub fn split(self, equal: impl IntoIterator<Item = usize>) -> Vec<Self> {
        let mut before = 0;
        let next = |equal| {
            let limit = self.skip(before);
            before += equal;
            limit
        };
        equal.into_iter().map(next).collect()
    }
}

/// The limit of the `count` smallest keys.
pub fn limit(context: &Context, keys: &[u32], count: usize) -> Limit {
    if count == 0 {
        return Limit { key: 0, ties: 0 };
    }
    let near = if keys.len() > MANY { near_limit(context, keys, count) } else { None };
    let key = near.unwrap_or_else(|| kth(context, keys, count));
    let below = count_in_pieces(context, keys, |keys, counts| count_below(context.cpu, keys, key, counts));
    Limit { key, ties: count - below }
}

/// The `count`th smallest of many keys, if it lies where a sample says.
fn near_limit(context: &Context, keys: &[u32], count: usize) -> Option<u32> {
    // Odd, so that no pattern of columns is all that is seen.
    let sample: Vec<u32> = keys.iter().copied().step_by((2 * keys.len() / MANY) | 1).collect();
    let middle = (count as u128 * sample.len() as u128 / keys.len() as u128) as usize;
    // Four standard deviations of how many of the sample are below the limit, at most.
    let margin = 2 * sample.len().isqrt() + 1;
    let ranked = |rank: usize| kth(context, &sample, rank.clamp(1, sample.len()));
    let (low, high) = (ranked(middle.saturating_sub(margin)), ranked(middle + margin));
    let below = count_in_pieces(context, keys, |keys, counts| count_below(context.cpu, keys, low, counts));
    let candidates: Vec<u32> = keys.iter().copied().filter(|key| (low..=high).contains(key)).collect();
    let inside = below < count && count <= below + candidates.len();
    inside.then(|| kth(context, &candidates, count - below))
}

/// The `count`th smallest key, counted from 1.
fn kth(context: &Context, keys: &[u32], count: usize) -> u32 {
    let (mut low, mut high) = (0, u32::MAX >> 1);
    while low < high {
        let middle = low + (high - low) / 2;
        // Below the number after the middle: up to the middle.
        if count_in_pieces(context, keys, |keys, counts| count_below(context.cpu, keys, middle + 1, counts)) >= count {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The sum of what `count` adds to a number for pieces of the keys.
fn count_in_pieces(context: &Context, keys: &[u32], count: impl Fn(&[u32], &mut usize) + Sync) -> usize {
    let total = AtomicUsize::new(0);
    context.threads.pieces(keys.len(), PIECE, |piece| {
        let mut own = 0;
        count(&keys[piece], &mut own);
        total.fetch_add(own, Ordering::Relaxed);
    });
    total.into_inner()
}

multiversion! {
    fn count_below(keys: &[u32], limit: u32, count: &mut usize) = count_below_body;
    fn count_equal(keys: &[u32], value: u32, count: &mut usize) = count_equal_body;
}

#[inline(always)]
fn count_below_body(keys: &[u32], limit: u32, count: &mut usize) {
    // Sums of 32 bits, so that they are as wide as the keys; a piece has fewer.
    *count += keys.iter().map(|&key| u32::from(key < limit)).sum::<u32>() as usize;
}

#[inline(always)]
fn count_equal_body(keys: &[u32], value: u32, count: &mut usize) {
    *count += keys.iter().map(|&key| u32::from(key == value)).sum::<u32>() as usize;
}

/// Zeroes the `zeros` weights with the smallest |w| * norms[column] of each span of weight `[rows, columns]`. A span is
/// all, a row, or divides a row; `zeros` is not above it.
pub fn zero_smallest(
    context: &Context,
    weight: &mut [f32],
    columns: usize,
    span: usize,
    zeros: usize,
    norms: Option<&[f32]>,
) {
    if weight.is_empty() || zeros == 0 {
        return;
    }
    if span > columns {
        return zero_smallest_of_all(context, weight, zeros, columns, norms);
    }
    let rows = weight.len() / columns;
    let shared = Disjoint::new(weight);
    context.threads.run(
        rows.div_ceil((PIECE / columns).max(1)),
        || Buffer::of::<u32>(columns),
        |keys, task| {
            let size = (PIECE / columns).max(1);
            for row in task * size..rows.min((task + 1) * size) {
                // SAFETY: each row belongs to one task.
                let weight = unsafe { shared.range(row * columns, columns) };
                let keys = &mut keys.as_mut_slice::<u32>()[..columns];
                write_keys(context.cpu, weight, norms, keys);
                if span == columns {
                    let limit = limit(context, keys, zeros);
                    zero(context.cpu, weight, keys, limit, limit.count_equal(context.cpu, keys));
                } else {
                    zero_runs(context.cpu, weight, keys, span, zeros);
                }
            }
        },
    );
}

/// As `zero_smallest`, all weights being one span.
fn zero_smallest_of_all(context: &Context, weight: &mut [f32], zeros: usize, columns: usize, norms: Option<&[f32]>) {
    let count = weight.len();
    let mut buffer = Buffer::of::<u32>(count);
    let keys = Disjoint::new(&mut buffer.as_mut_slice::<u32>()[..count]);
    let rows_of_piece = (PIECE / columns).max(1);
    context.threads.pieces(count, rows_of_piece * columns, |piece| {
        // SAFETY: pieces are disjoint.
        let keys = unsafe { keys.range(piece.start, piece.len()) };
        for (weight, keys) in weight[piece].chunks(columns).zip(keys.chunks_mut(columns)) {
            write_keys(context.cpu, weight, norms, keys);
        }
    });
    let keys = &buffer.as_slice::<u32>()[..count];
    let limit = limit(context, keys, zeros);
    let mut equal = vec![0; count.div_ceil(PIECE)];
    let shared = Disjoint::new(&mut equal);
    context.threads.pieces(count, PIECE, |piece| {
        // SAFETY: each piece has its own count.
        let equal = unsafe { shared.range(piece.start / PIECE, 1) };
        equal[0] = limit.count_equal(context.cpu, &keys[piece]);
    });
    let limits = limit.split(equal.iter().copied());
    let weight = Disjoint::new(weight);
    context.threads.pieces(count, PIECE, |piece| {
        // SAFETY: pieces are disjoint.
        let weight = unsafe { weight.range(piece.start, piece.len()) };
        let index = piece.start / PIECE;
        zero(context.cpu, weight, &keys[piece], limits[index], equal[index]);
    });
}

/// Zeroes the weights that a limit takes, of which all keys equal to it are `equal`.
fn zero(cpu: Cpu, weight: &mut [f32], keys: &[u32], mut limit: Limit, equal: usize) {
    if limit.ties == 0 {
        zero_below(cpu, weight, keys, limit.key);
    } else if limit.ties >= equal {
        // Keys have 31 bits.
        zero_below(cpu, weight, keys, limit.key + 1);
    } else {
        for (weight, &key) in weight.iter_mut().zip(keys) {
            if limit.takes(key) {
                *weight = 0.0;
            }
        }
    }
}

multiversion! {
    fn zero_below(weight: &mut [f32], keys: &[u32], limit: u32) = zero_below_body;
    /// Keys of |w| * norm for a row.
    fn write_keys(weight: &[f32], norms: Option<&[f32]>, keys: &mut [u32]) = write_keys_body;
    /// Zeroes the `zeros` smallest of each run of `span` weights.
    fn zero_runs(weight: &mut [f32], keys: &[u32], span: usize, zeros: usize) = zero_runs_body;
}

#[inline(always)]
fn zero_below_body(weight: &mut [f32], keys: &[u32], limit: u32) {
    weight.iter_mut().zip(keys).for_each(|(weight, &key)| *weight = if key < limit { 0.0 } else { *weight });
}

#[inline(always)]
fn write_keys_body(weight: &[f32], norms: Option<&[f32]>, keys: &mut [u32]) {
    match norms {
        None => keys.iter_mut().zip(weight).for_each(|(key, &value)| *key = key_of(value)),
        Some(norms) => {
            keys.iter_mut().zip(weight).zip(norms).for_each(|((key, &value), &norm)| *key = key_of(value * norm));
        }
    }
}

#[inline(always)]
fn zero_runs_body(weight: &mut [f32], keys: &[u32], span: usize, zeros: usize) {
    if span == 4 {
        // The usual run: its loops can be unrolled.
        for (weight, keys) in weight.as_chunks_mut::<4>().0.iter_mut().zip(keys.as_chunks::<4>().0) {
            zero_run(weight, keys, zeros);
        }
    } else {
        for (weight, keys) in weight.chunks_exact_mut(span).zip(keys.chunks_exact(span)) {
            zero_run(weight, keys, zeros);
        }
    }
}

#[inline(always)]
fn zero_run(weight: &mut [f32], keys: &[u32], zeros: usize) {
    for (i, weight) in weight.iter_mut().enumerate() {
        if rank(keys, i) < zeros {
            *weight = 0.0;
        }
    }
}

/// How many keys come before key i.
#[inline(always)]
fn rank(keys: &[u32], i: usize) -> usize {
    let comes_before = |(k, &key): (usize, &u32)| usize::from(key < keys[i] || (key == keys[i] && k < i));
    keys.iter().enumerate().map(comes_before).sum()
}

#[cfg(test)]
mod tests {
    use super::{Limit, limit};
    use crate::dispatch::Cpu;
    use crate::packed::Format;
    use crate::product::Context;
    use crate::threads::Threads;

    #[test]
    fn limits_are_those_of_sorted_keys() {
        let context =
            Context { cpu: Cpu::select(None).unwrap(), threads: Threads::new(3).unwrap(), format: Format::F32 };
        let mut state = 1_u32;
        for (length, modulus) in [(1, 7), (40, 5), (1000, u32::MAX), (100_000, 3000), (100_000, 1 << 30)] {
            let keys: Vec<u32> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state % modulus) & 0x7fff_ffff
            })
            .take(length)
            .collect();
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            for count in [1, length / 3, length / 2, length] {
                if count == 0 {
                    continue;
                }
                let key = sorted[count - 1];
                let ties = count - sorted.iter().filter(|&&other| other < key).count();
                assert_eq!(limit(&context, &keys, count), Limit { key, ties });
                let mut takes = limit(&context, &keys, count);
                assert_eq!(keys.iter().filter(|&&key| takes.takes(key)).count(), count);
            }
        }
    }
}
