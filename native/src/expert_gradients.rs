//! How what a layer's experts leave of given outputs changes with their weights: the gradients for a refit by descent.
//!
//! For tokens t with inputs x, wanted outputs y and routed pairs (t, e) it is half the sum of the squares of
//!
//! ```text
//! r_t = y_t - sum_e c_te (W_down_e h_te + b_e),  h_te = activation(w_te (gate_e x_t), w_te (up_e x_t))
//! ```
//!
//! by backpropagation. Each expert is one task, so that sums have one order whatever the number of threads.

use std::ops::Range;

use crate::dispatch::{Cpu, multiversion};
use crate::elementwise::{add_squares, gate_values};
use crate::layouts::{fill_panel, transpose_rows};
use crate::math::{Activation, Slopes};
use crate::memory::{Buffer, Disjoint, bytes_of};
use crate::packed::{Format, PANEL};
use crate::product::{BLOCK_ROWS, Context, Rows, Tile, panel_columns};

/// Experts of one form, each matrix of all of them one after the other, in float32.
#[derive(Clone, Copy)]
pub struct ExpertWeights<'a> {
    /// `[count, width, hidden]`; without one, up takes its place.
    pub gate: Option<&'a [f32]>,
    /// `[count, width, hidden]`
    pub up: &'a [f32],
    /// `[count, hidden, width]`
    pub down: &'a [f32],
    /// `[count, width]`
    pub gate_bias: Option<&'a [f32]>,
    /// `[count, width]`
    pub up_bias: Option<&'a [f32]>,
    /// `[count, hidden]`
    pub down_bias: Option<&'a [f32]>,
    /// Size of inputs and outputs.
    pub hidden: usize,
    /// Size of the activation.
    pub width: usize,
    /// What it is.
    pub activation: Activation,
}

/// Where gradients are written to, in the form of the weights.
pub struct Gradients<'a> {
    /// Of the gates, where there are some.
    pub gate: Option<&'a mut [f32]>,
    /// Of the up projections.
    pub up: &'a mut [f32],
    /// Of the down projections.
    pub down: &'a mut [f32],
}

/// Some tokens and the experts that they go to.
pub struct Batch<'a> {
    /// Inputs `[*, hidden]`
    pub x: &'a [f32],
    /// Outputs that are wanted `[*, hidden]`
    pub y: &'a [f32],
    /// The row of each token in both.
    pub rows: &'a [i32],
    /// Where the pairs of each expert begin, and where the last one's end: `[count + 1]`
    pub offsets: &'a [i32],
    /// The token of each pair, by its place in `rows`.
    pub tokens: &'a [i32],
    /// What the expert's output is multiplied by: `[pairs]`
    pub factors: &'a [f32],
    /// What its input is multiplied by: `[pairs]`; 1 where there are none.
    pub input_factors: Option<&'a [f32]>,
}

impl Batch<'_> {
    fn pairs(&self, expert: usize) -> Range<usize> {
        let at = |index: usize| self.offsets[index].cast_unsigned() as usize;
        at(expert)..at(expert + 1)
    }

    fn token(&self, pair: usize) -> usize {
        self.tokens[pair].cast_unsigned() as usize
    }

    fn row(&self, token: usize) -> usize {
        self.rows[token].cast_unsigned() as usize
    }
}

/// What the forward pass keeps of the pairs.
struct Forward {
    /// What the gates make `[pairs, width]`; not used without gates.
    gate: Buffer,
    /// What the up projections make `[pairs, width]`.
    up: Buffer,
    /// c h `[pairs, width]`
    activation: Buffer,
}

/// What a thread keeps from task to task.
struct Scratch {
    tile: Tile,
    panels: Buffer,
}

/// Writes the gradients, and returns the sum of the squares of r.
pub fn expert_gradients(context: &Context, weights: &ExpertWeights, batch: &Batch, gradients: &mut Gradients) -> f64 {
    let (hidden, width, pairs) = (weights.hidden, weights.width, batch.tokens.len());
    let buffer = |size: usize| Buffer::of::<f32>(pairs * size);
    let mut forward = Forward { gate: buffer(width), up: buffer(width), activation: buffer(width) };
    let mut residuals = Buffer::of::<f32>(batch.rows.len() * hidden);
    {
        let mut outputs = buffer(hidden);
        run_forward(context, weights, batch, &mut forward, outputs.as_mut_slice());
        subtract_outputs(context, batch, hidden, outputs.as_slice(), residuals.as_mut_slice());
    }
    let residuals = &residuals.as_slice::<f32>()[..batch.rows.len() * hidden];
    run_backward(context, weights, batch, &forward, residuals, gradients);
    let mut lost = 0.0;
    add_squares(context.cpu, residuals, &mut lost);
    lost
}

fn scratch(weights: &ExpertWeights, batch: &Batch) -> Scratch {
    let most = (0..batch.offsets.len() - 1).map(|expert| batch.pairs(expert).len()).max().unwrap_or(0);
    let (hidden, width) = (weights.hidden, weights.width);
    let whole = |size: usize| size.next_multiple_of(PANEL);
    // Panels of each weight, and of the pairs' inputs beside what they are multiplied with, columns by pairs.
    let weight = (whole(hidden) * width).max(whole(width) * hidden);
    let panels = weight.max(most * (whole(hidden) + 2 * width)).max(most * (hidden + whole(width)));
    Scratch { tile: Tile::default(), panels: Buffer::of::<f32>(panels) }
}

/// The part of expert `expert` in an array of `size` numbers for each.
fn own<T>(values: &[T], expert: usize, size: usize) -> &[T] {
    &values[expert * size..(expert + 1) * size]
}

fn run_forward(
    context: &Context,
    weights: &ExpertWeights,
    batch: &Batch,
    Forward { gate, up, activation }: &mut Forward,
    outputs: &mut [f32],
) {
    let (hidden, width) = (weights.hidden, weights.width);
    let (gate, up) = (Disjoint::new(gate.as_mut_slice::<f32>()), Disjoint::new(up.as_mut_slice::<f32>()));
    let (activation, outputs) = (Disjoint::new(activation.as_mut_slice::<f32>()), Disjoint::new(outputs));
    let count = batch.offsets.len() - 1;
    let x = Rows::float32(batch.x, hidden);
    context.threads.run(
        count,
        || scratch(weights, batch),
        |Scratch { tile, panels }, expert| {
            let pairs = batch.pairs(expert);
            if pairs.is_empty() {
                return;
            }
            let cpu = context.cpu;
            let panels = panels.as_mut_slice::<f32>();
            let size = pairs.len() * width;
            // SAFETY: the pairs of an expert belong to one task.
            let [gate, up, activation] =
                [&gate, &up, &activation].map(|all| unsafe { all.range(pairs.start * width, size) });
            let inputs = [(Some(weights.up), weights.up_bias, &mut *up), (weights.gate, weights.gate_bias, gate)];
            for (weight, bias, out) in inputs {
                let Some(weight) = weight else { continue };
                pack_rows(own(weight, expert, width * hidden), hidden, panels);
                let bias = bias.map(|bias| own(bias, expert, width));
                let row_of = |pair: usize| batch.row(batch.token(pairs.start + pair));
                multiply(cpu, tile, x, row_of, pairs.len(), panels, hidden, width, |pair, columns, sums| {
                    let factor = batch.input_factors.map_or(1.0, |factors| factors[pairs.start + pair]);
                    let out = &mut out[pair * width..][columns.clone()];
                    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = factor * sum);
                    if let Some(bias) = bias {
                        out.iter_mut().zip(&bias[columns]).for_each(|(out, bias)| *out += bias);
                    }
                });
            }
            gate_values(cpu, if weights.gate.is_some() { gate } else { up }, up, weights.activation, activation);
            for (values, factor) in activation.chunks_exact_mut(width).zip(&batch.factors[pairs.clone()]) {
                for value in values {
                    *value *= factor;
                }
            }
            pack_rows(own(weights.down, expert, hidden * width), width, panels);
            let bias = weights.down_bias.map(|bias| own(bias, expert, hidden));
            let made = Rows::float32(activation, width);
            multiply(
                cpu,
                tile,
                made,
                |pair| pair,
                pairs.len(),
                panels,
                width,
                hidden,
                |pair, columns, sums| {
                    let place = (pairs.start + pair) * hidden + columns.start;
                    // SAFETY: as above.
                    let out = unsafe { outputs.range(place, columns.len()) };
                    out.copy_from_slice(sums);
                    if let Some(bias) = bias {
                        let factor = batch.factors[pairs.start + pair];
                        out.iter_mut().zip(&bias[columns]).for_each(|(out, bias)| *out += factor * bias);
                    }
                },
            );
        },
    );
}

/// y less the outputs of a token's pairs, one expert after the other: `[tokens, hidden]`.
fn subtract_outputs(context: &Context, batch: &Batch, hidden: usize, outputs: &[f32], residuals: &mut [f32]) {
    let count = batch.rows.len();
    let mut starts = vec![0_usize; count + 1];
    batch.tokens.iter().for_each(|&token| starts[token.cast_unsigned() as usize + 1] += 1);
    for token in 0..count {
        starts[token + 1] += starts[token];
    }
    let mut pairs_of = vec![0_usize; batch.tokens.len()];
    let mut next = starts.clone();
    for pair in 0..batch.tokens.len() {
        let token = batch.token(pair);
        pairs_of[next[token]] = pair;
        next[token] += 1;
    }
    let residuals = Disjoint::new(residuals);
    context.threads.pieces(count, 16, |tokens| {
        for token in tokens {
            // SAFETY: each token belongs to one piece.
            let out = unsafe { residuals.range(token * hidden, hidden) };
            out.copy_from_slice(&batch.y[batch.row(token) * hidden..][..hidden]);
            for &pair in &pairs_of[starts[token]..starts[token + 1]] {
                let made = &outputs[pair * hidden..(pair + 1) * hidden];
                out.iter_mut().zip(made).for_each(|(out, made)| *out -= made);
            }
        }
    });
}

fn run_backward(
    context: &Context,
    weights: &ExpertWeights,
    batch: &Batch,
    forward: &Forward,
    residuals: &[f32],
    gradients: &mut Gradients,
) {
    let (hidden, width, count) = (weights.hidden, weights.width, batch.offsets.len() - 1);
    let down = Disjoint::new(&mut *gradients.down);
    let up = Disjoint::new(&mut *gradients.up);
    let gate = gradients.gate.as_deref_mut().map(Disjoint::new);
    context.threads.run(
        count,
        || scratch(weights, batch),
        |Scratch { tile, panels }, expert| {
            let (cpu, pairs) = (context.cpu, batch.pairs(expert));
            let tokens = pairs.len();
            let place = (expert * width * hidden, width * hidden);
            // SAFETY: each expert is one task.
            let down = unsafe { down.range(place.0, place.1) };
            // SAFETY: as above.
            let up = unsafe { up.range(place.0, place.1) };
            // SAFETY: as above.
            let gate = gate.as_ref().map(|gate| unsafe { gate.range(place.0, place.1) });
            if tokens == 0 {
                down.fill(0.0);
                up.fill(0.0);
                if let Some(gate) = gate {
                    gate.fill(0.0);
                }
                return;
            }
            let panels = panels.as_mut_slice::<f32>();
            let own_pairs = pairs.start * width..pairs.end * width;
            let activation = &forward.activation.as_slice::<f32>()[own_pairs.clone()];
            let ups = &forward.up.as_slice::<f32>()[own_pairs.clone()];
            let gates = if gate.is_some() { &forward.gate.as_slice::<f32>()[own_pairs] } else { ups };
            let token_of = |pair: usize| batch.token(pairs.start + pair);

            // By W_down: -sum r (c h)ᵀ.
            let (columns_of_r, rest) = panels.split_at_mut(tokens * hidden);
            transpose_rows(
                |pair| &residuals[token_of(pair) * hidden..][..hidden],
                tokens,
                hidden,
                tokens,
                columns_of_r,
            );
            split_panels(|pair| &activation[pair * width..][..width], tokens, width, rest);
            let columns_of_r = Rows::float32(columns_of_r, tokens);
            multiply(
                cpu,
                tile,
                columns_of_r,
                |row| row,
                hidden,
                rest,
                tokens,
                width,
                |row, columns, sums| {
                    negate(sums, &mut down[row * width..][columns]);
                },
            );

            // By what is activated: -c W_downᵀ r, times the slopes; with what inputs are multiplied by, that by W x.
            let weight = own(weights.down, expert, hidden * width);
            split_panels(|row| &weight[row * width..][..width], hidden, width, panels);
            let mut by_gate = Buffer::of::<f32>(tokens * width);
            let mut by_up = Buffer::of::<f32>(tokens * width);
            let (by_gate, by_up) = (by_gate.as_mut_slice::<f32>(), by_up.as_mut_slice::<f32>());
            let r = Rows::float32(residuals, hidden);
            multiply(cpu, tile, r, token_of, tokens, panels, hidden, width, |pair, columns, sums| {
                let inner = batch.input_factors.map_or(1.0, |factors| factors[pairs.start + pair]);
                let factor = -inner * batch.factors[pairs.start + pair];
                let at = pair * width + columns.start..pair * width + columns.end;
                let (by_gate, by_up) = (&mut by_gate[at.clone()], &mut by_up[at.clone()]);
                times_slopes(cpu, &gates[at.clone()], &ups[at], weights.activation, sums, factor, by_gate, by_up);
            });
            if gate.is_none() {
                by_up.iter_mut().zip(&*by_gate).for_each(|(up, gate)| *up += gate);
            }

            // By gate and up: the sum of that times xᵀ.
            let (columns, panels) = panels.split_at_mut(tokens * width);
            split_panels(|pair| &batch.x[batch.row(token_of(pair)) * hidden..][..hidden], tokens, hidden, panels);
            for (values, out) in [(&*by_up, Some(up)), (&*by_gate, gate)] {
                let Some(out) = out else { continue };
                transpose_rows(|pair| &values[pair * width..][..width], tokens, width, tokens, columns);
                let columns = Rows::float32(columns, tokens);
                multiply(
                    cpu,
                    tile,
                    columns,
                    |row| row,
                    width,
                    panels,
                    tokens,
                    hidden,
                    |row, columns, sums| {
                        out[row * hidden..][columns].copy_from_slice(sums);
                    },
                );
            }
        },
    );
}

/// `finish(row, columns, sums)` for all pieces of `count` rows, which `row_of` finds in `a`, of a times `[depth, n]` in
/// panels.
#[allow(clippy::too_many_arguments)]
fn multiply(
    cpu: Cpu,
    tile: &mut Tile,
    a: Rows,
    row_of: impl Fn(usize) -> usize,
    count: usize,
    panels: &[f32],
    depth: usize,
    n: usize,
    mut finish: impl FnMut(usize, Range<usize>, &[f32]),
) {
    for first in (0..count).step_by(BLOCK_ROWS) {
        let range = first..count.min(first + BLOCK_ROWS);
        for panel in 0..n.div_ceil(PANEL) {
            let columns = panel_columns(panel, n);
            let data = bytes_of(&panels[panel * PANEL * depth..(panel + 1) * PANEL * depth]);
            tile.multiply_panel(cpu, Format::F32, a, range.clone().map(&row_of), data, depth);
            for (i, row) in range.clone().enumerate() {
                finish(row, columns.clone(), &tile.row(i)[..columns.len()]);
            }
        }
    }
}

/// Puts a weight `[n, columns]` into panels `[columns, 64]`, for products with its transpose.
fn pack_rows(weight: &[f32], columns: usize, out: &mut [f32]) {
    let n = weight.len() / columns;
    for (panel, out) in out.chunks_exact_mut(PANEL * columns).enumerate().take(n.div_ceil(PANEL)) {
        let own = panel_columns(panel, n);
        if own.len() < PANEL {
            out.fill(0.0);
        }
        transpose_rows(|row| &weight[(own.start + row) * columns..][..columns], own.len(), columns, PANEL, out);
    }
}

/// Puts rows of `columns` numbers into panels `[rows, 64]`, for products with them as they are.
fn split_panels<'a>(row: impl Fn(usize) -> &'a [f32], rows: usize, columns: usize, out: &mut [f32]) {
    for panel in 0..columns.div_ceil(PANEL) {
        let own = panel_columns(panel, columns);
        fill_panel(|index| &row(index)[own.clone()], rows, &mut out[panel * PANEL * rows..]);
    }
}

fn negate(values: &[f32], out: &mut [f32]) {
    out.iter_mut().zip(values).for_each(|(out, value)| *out = -value);
}

multiversion! {
    /// factor * values times the slopes of the activation by gate and by up.
    fn times_slopes(
        gate: &[f32], up: &[f32], activation: Activation, values: &[f32], factor: f32, by_gate: &mut [f32], by_up: &mut [f32],
    ) = times_slopes_body;
}

#[inline(always)]
fn times_slopes_body(
    gate: &[f32],
    up: &[f32],
    activation: Activation,
    values: &[f32],
    factor: f32,
    by_gate: &mut [f32],
    by_up: &mut [f32],
) {
    let slopes: Inputs = (gate, up, values, factor);
    // A loop of its own for each activation, so that it has no branches inside.
    match activation {
        Activation::Silu => each(slopes, by_gate, by_up, |g, u| Activation::Silu.slopes(g, u)),
        Activation::Gelu => each(slopes, by_gate, by_up, |g, u| Activation::Gelu.slopes(g, u)),
        Activation::GeluTanh => each(slopes, by_gate, by_up, |g, u| Activation::GeluTanh.slopes(g, u)),
        Activation::Sigmoid => each(slopes, by_gate, by_up, |g, u| Activation::Sigmoid.slopes(g, u)),
        Activation::Relu => each(slopes, by_gate, by_up, |g, u| Activation::Relu.slopes(g, u)),
        Activation::ClampedSwiglu { alpha, limit } => {
            each(slopes, by_gate, by_up, |g, u| Activation::ClampedSwiglu { alpha, limit }.slopes(g, u));
        }
        Activation::ClampedSilu { limit } => {
            each(slopes, by_gate, by_up, |g, u| Activation::ClampedSilu { limit }.slopes(g, u));
        }
    }
}

/// Gates, up values, what their slopes are multiplied by, and a factor of it.
type Inputs<'a> = (&'a [f32], &'a [f32], &'a [f32], f32);

#[inline(always)]
fn each(
    (gate, up, values, factor): Inputs,
    by_gate: &mut [f32],
    by_up: &mut [f32],
    slopes: impl Fn(f32, f32) -> Slopes,
) {
    for ((((by_gate, by_up), &gate), &up), value) in by_gate.iter_mut().zip(by_up).zip(gate).zip(up).zip(values) {
        let slopes = slopes(gate, up);
        *by_gate = factor * value * slopes.gate;
        *by_up = factor * value * slopes.up;
    }
}
