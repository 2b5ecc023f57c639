//! Softmax attention of a block of queries, 64 keys at a time, with a running maximum and sum (Dao et al. 2022), in
//! float32.

use std::ops::Range;

use crate::dispatch::{Cpu, multiversion};
use crate::elementwise::max;
use crate::math::exp;
use crate::memory::{Buffer, bytes_of};
use crate::packed::{Format, HALF, PANEL};
use crate::product::{BLOCK_ROWS, Rows, Tile};
use crate::tile::TILE_ROWS;

/// 64 keys and their values, zero where there are fewer, in the layout of a product's panels.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    /// float32, or bfloat16 pairs that are multiplied with float32 (`Bf16Widened`).
    pub format: Format,
    /// A panel of `head_size` steps of 64 keys.
    pub keys: &'a [u8],
    /// A panel of 64 steps for each 64 dimensions of the values.
    pub values: &'a [u8],
}

/// Which earlier positions a position sees.
#[derive(Clone, Copy)]
pub struct Sight {
    /// Position i sees j only if i - j < window.
    pub window: usize,
    /// Position i sees j only if both are in the same chunk of so many.
    pub chunk: usize,
}

impl Sight {
    /// The first position that `position` sees. It never goes back as the position grows.
    pub fn first(self, position: usize) -> usize {
        (position + 1).saturating_sub(self.window).max(position / self.chunk * self.chunk)
    }
}

/// Bytes of the keys and of the values of a panel.
pub fn panel_bytes(format: Format, head_size: usize, value_size: usize) -> (usize, usize) {
    let numbers = (format.depth(head_size) * PANEL, value_size.next_multiple_of(PANEL) * PANEL);
    (numbers.0 * format.panel_bytes(), numbers.1 * format.panel_bytes())
}

/// The running softmax of one query.
#[derive(Clone, Copy)]
pub struct RowState {
    /// The largest score so far.
    max: f32,
    /// Sum of e^(score - max).
    sum: f64,
    /// What the last change of the maximum multiplies older sums with.
    correction: f32,
}

const NOTHING_SEEN: RowState = RowState { max: f32::NEG_INFINITY, sum: 0.0, correction: 0.0 };

impl Default for RowState {
    fn default() -> Self {
        NOTHING_SEEN
    }
}

/// Attention of up to 96 queries to some keys: the state of their rows.
pub struct Attended {
    /// Numbers of a row of the sums.
    row_size: usize,
    /// Sums of weights times values, relative to the maximum: `[96, row_size]`
    sums: Buffer,
    rows: [RowState; BLOCK_ROWS],
}

impl Attended {
    /// Room for rows of values of this size.
    pub fn new(value_size: usize) -> Self {
        let row_size = value_size.next_multiple_of(PANEL);
        Self { row_size, sums: Buffer::of::<f32>(BLOCK_ROWS * row_size), rows: [NOTHING_SEEN; BLOCK_ROWS] }
    }

    /// Forgets everything; `rows` rows will be used.
    pub fn start(&mut self, rows: usize) {
        self.rows[..rows].fill(NOTHING_SEEN);
        self.sums.as_mut_slice::<f32>()[..rows * self.row_size].fill(0.0);
    }

    /// State and sums of the first `rows` rows.
    pub fn parts(&self, rows: usize) -> (&[RowState], &[f32]) {
        (&self.rows[..rows], &self.sums.as_slice()[..rows * self.row_size])
    }

    /// Adds what the same queries saw of later keys.
    pub fn merge(&mut self, cpu: Cpu, (rows, sums): (&[RowState], &[f32])) {
        let own = self.sums.as_mut_slice::<f32>().chunks_exact_mut(self.row_size);
        for (((state, sums), other), terms) in self.rows.iter_mut().zip(own).zip(rows).zip(sums.chunks(self.row_size)) {
            if other.sum == 0.0 && other.max == f32::NEG_INFINITY {
                continue;
            }
            let highest = state.max.max(other.max);
            let reference = if highest == f32::NEG_INFINITY { 0.0 } else { highest };
            let (old, new) = (exp(state.max - reference), exp(other.max - reference));
            state.sum = state.sum * f64::from(old) + other.sum * f64::from(new);
            state.max = highest;
            mix(cpu, sums, old, terms, new);
        }
    }

    /// Output of row `row`: zeros if it saw nothing. A sink is one more logit, without a value.
    pub fn write(&self, row: usize, sink: Option<f32>, out: &mut [f32]) {
        let RowState { max, sum, .. } = self.rows[row];
        // Where the sink is far above all scores, its weight overflows and the output is 0.
        let sunk = sink.map_or(0.0, |sink| (f64::from(sink) - f64::from(max)).exp());
        let factor = if sum == 0.0 { 0.0 } else { 1.0 / (sum + sunk) };
        let sums = &self.sums.as_slice::<f32>()[row * self.row_size..][..out.len()];
        out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = (f64::from(sum) * factor) as f32);
    }
}

/// Scratch of one thread.
#[derive(Default)]
pub struct Scratch {
    scores: Tile,
    products: Tile,
    /// Keys and values in float32.
    widened: Option<Buffer>,
}

/// Rows of a block from which on bfloat16 panels are widened before they are used, instead of in every tile.
const WIDENED_FROM: usize = 4 * TILE_ROWS;

impl Scratch {
    /// Lets queries `query_rows` of `queries` see a panel. Row i sees keys `seen(i)` of it, but those whose mask is 0.
    ///
    /// Many rows widen a bfloat16 panel before they use it: the sums have the same order in both formats.
    #[allow(clippy::too_many_arguments)]
    pub fn attend(
        &mut self,
        cpu: Cpu,
        attended: &mut Attended,
        queries: Rows,
        query_rows: impl ExactSizeIterator<Item = usize>,
        panel: Panel,
        seen: impl Fn(usize) -> Range<usize>,
        mask: Option<&[u8]>,
        scale: f32,
    ) {
        if panel.format == Format::F32 || query_rows.len() < WIDENED_FROM {
            return self.attend_panel(cpu, attended, queries, query_rows, panel, seen, mask, scale);
        }
        let numbers = (panel.keys.len() + panel.values.len()) / panel.format.panel_bytes();
        let mut buffer = self.widened.take().unwrap_or_else(|| Buffer::of::<f32>(numbers));
        let (keys, values) =
            buffer.as_mut_slice::<f32>()[..numbers].split_at_mut(panel.keys.len() / panel.format.panel_bytes());
        widen(cpu, panel.keys, keys);
        widen(cpu, panel.values, values);
        let panel = Panel { format: Format::F32, keys: bytes_of(keys), values: bytes_of(values) };
        self.attend_panel(cpu, attended, queries, query_rows, panel, seen, mask, scale);
        self.widened = Some(buffer);
    }

    /// As `attend`, with the panel as it is.
    #[allow(clippy::too_many_arguments)]
    fn attend_panel(
        &mut self,
        cpu: Cpu,
        attended: &mut Attended,
        queries: Rows,
        query_rows: impl ExactSizeIterator<Item = usize>,
        panel: Panel,
        seen: impl Fn(usize) -> Range<usize>,
        mask: Option<&[u8]>,
        scale: f32,
    ) {
        let (count, row_size) = (query_rows.len(), attended.row_size);
        let depth = panel.keys.len() / (PANEL * panel.format.panel_bytes());
        self.scores.multiply_panel(cpu, panel.format, queries, query_rows, panel.keys, depth);
        for row in 0..count {
            let seen = seen(row);
            if !seen.is_empty() {
                weigh(cpu, self.scores.row_mut(row), seen, mask, scale, &mut attended.rows[row]);
            }
        }
        let weights = Rows::float32(self.scores.sums(), PANEL);
        let value_bytes = PANEL * PANEL * panel.format.panel_bytes();
        for (column, values) in panel.values.chunks_exact(value_bytes).enumerate() {
            self.products.multiply_panel(cpu, panel.format, weights, 0..count, values, PANEL);
            for row in (0..count).filter(|&row| !seen(row).is_empty()) {
                let sums = &mut attended.sums.as_mut_slice::<f32>()[row * row_size + column * PANEL..][..PANEL];
                correct_and_add(cpu, sums, attended.rows[row].correction, self.products.row(row));
            }
        }
    }
}

multiversion! {
    fn widen(pairs: &[u8], out: &mut [f32]) = widen_body;
    fn weigh(scores: &mut [f32; PANEL], seen: Range<usize>, mask: Option<&[u8]>, scale: f32, state: &mut RowState) = weigh_body;
    fn correct_and_add(sums: &mut [f32], correction: f32, terms: &[f32; PANEL]) = correct_and_add_body;
    fn mix(sums: &mut [f32], old: f32, terms: &[f32], new: f32) = mix_body;
}

/// A panel of bfloat16 pairs as a panel of float32 numbers.
#[inline(always)]
fn widen_body(pairs: &[u8], out: &mut [f32]) {
    for (step, pairs) in out.as_chunks_mut::<PANEL>().0.iter_mut().zip(pairs.as_chunks::<{ 2 * PANEL }>().0) {
        let (lower, upper) = step.split_at_mut(HALF);
        for ((lower, upper), pair) in lower.iter_mut().zip(upper).zip(pairs.as_chunks::<4>().0) {
            let pair = u32::from_le_bytes(*pair);
            *lower = f32::from_bits(pair << 16);
            *upper = f32::from_bits(pair & 0xffff_0000);
        }
    }
}

/// Makes weights e^(scale * score - max) of the scores of a row, 0 where a key is not seen, and updates its state.
#[inline(always)]
fn weigh_body(scores: &mut [f32; PANEL], seen: Range<usize>, mask: Option<&[u8]>, scale: f32, state: &mut RowState) {
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

#[inline(always)]
fn mix_body(sums: &mut [f32], old: f32, terms: &[f32], new: f32) {
    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum = *sum * old + *term * new);
}
