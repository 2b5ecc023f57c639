//! The routed experts of a layer: `down(activation(gate x, up x))`, each product with a bias where the model has one. Experts
//! without a gate have up in its place.

use std::ops::Range;
use std::sync::Arc;

use crate::codecs::Source;
use crate::dispatch::Cpu;
use crate::elementwise::{add_squares, gate_values, scale};
use crate::math::Activation;
use crate::memory::{Buffer, Disjoint};
use crate::packed::{Format, PANEL, Packed};
use crate::product::{Context, Input, Rows, Tile, block_rows, panel_columns, row_blocks, row_bytes, write_row};
use crate::sums::add as add_values;

/// Units of a gated activation in a panel of gate and up rows; without gates a panel has `PANEL`.
const GATED_UNITS: usize = PANEL / 2;
/// Blocks for each thread from which on threads share blocks instead of panels.
const BLOCKS_PER_THREAD: usize = 16;
/// Most bytes of outputs of routed pairs that are kept at a time, before they are combined.
const PAIR_BYTES: usize = 256 << 20;

/// All routed experts of a layer, made ready for products.
pub struct Experts {
    /// Size of inputs and outputs.
    pub hidden: usize,
    /// Size of the activation.
    pub width: usize,
    activation: Activation,
    gated: bool,
    /// Others may have the same ones: an expert that stays as it is need not be packed again.
    list: Vec<Arc<Expert>>,
}

/// One expert.
pub struct Expert {
    /// Gate and up in pairs, or up alone.
    input: Packed,
    down: Packed,
    /// Biases of the rows of both weights, panel by panel; empty where there are none.
    input_bias: Vec<[f32; PANEL]>,
    down_bias: Vec<[f32; PANEL]>,
}

/// Biases of an expert: gate, up `[width]`, down `[hidden]`.
#[derive(Clone, Copy, Default)]
pub struct Biases<'a> {
    /// Of the gate.
    pub gate: Option<&'a [f32]>,
    /// Of the other factor.
    pub up: Option<&'a [f32]>,
    /// Of the output.
    pub down: Option<&'a [f32]>,
}

impl Experts {
    /// No experts yet, of the given sizes, all with gates or all without.
    pub fn new(hidden: usize, width: usize, activation: Activation, gated: bool) -> Self {
        Self { hidden, width, activation, gated, list: Vec::new() }
    }

    /// Whether the experts have gates.
    pub fn gated(&self) -> bool {
        self.gated
    }

    /// Packs the weights of the next expert: gate, up `[width, hidden]`, down `[hidden, width]`. There is a gate exactly
    /// where `gated` says so.
    pub fn push(&mut self, context: &Context, gate: Option<Source>, [up, down]: [Source; 2], biases: Biases) {
        let Context { cpu, ref threads, format } = *context;
        let panels = |bias: Option<&[f32]>| -> Vec<[f32; PANEL]> {
            bias.map_or_else(Vec::new, |bias| bias.chunks(PANEL).map(filled_up).collect())
        };
        debug_assert_eq!(gate.is_some(), self.gated);
        self.list.push(Arc::new(Expert {
            input: match gate {
                Some(gate) => Packed::paired(cpu, threads, format, gate, up),
                None => Packed::new(cpu, threads, format, up),
            },
            down: Packed::new(cpu, threads, format, down),
            input_bias: if self.gated { paired_bias(biases.gate, biases.up) } else { panels(biases.up) },
            down_bias: panels(biases.down),
        }));
    }

    /// Takes an expert of others as the next one, without a copy; false where they have other sizes or another activation.
    pub fn share(&mut self, from: &Self, expert: usize) -> bool {
        let alike = (self.hidden, self.width, self.activation, self.gated)
            == (from.hidden, from.width, from.activation, from.gated);
        if alike {
            self.list.push(Arc::clone(&from.list[expert]));
        }
        alike
    }

    /// Units of the activation in a panel.
    fn units(&self) -> usize {
        if self.gated { GATED_UNITS } else { PANEL }
    }

    /// Number of experts.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The down projection of an expert.
    pub fn down(&self, expert: usize) -> &Packed {
        &self.list[expert].down
    }

    /// The bias of the down projection of an expert: `[hidden]`, filled up with zeros.
    pub fn down_bias(&self, expert: usize) -> Option<&[f32]> {
        let bias = &self.list[expert].down_bias;
        (!bias.is_empty()).then(|| bias.as_flattened())
    }

    /// Whether inputs can be scaled behind the products: w (gate x) is gate (w x), where no bias is added.
    pub fn can_scale_inputs(&self) -> bool {
        self.list.iter().all(|expert| expert.input_bias.is_empty())
    }

    /// Calls `each(row, units, values)` with the activations of a block of rows, a panel at a time. `rows`: where each
    /// one lies in the input, and a factor of it.
    pub fn activate_panel(
        &self,
        context: &Context,
        tile: &mut Tile,
        input: Rows,
        rows: impl ExactSizeIterator<Item = (usize, Option<f32>)> + Clone,
        (expert, panel): (usize, usize),
        mut each: impl FnMut(usize, Range<usize>, &[f32]),
    ) {
        let size = self.units();
        let units = panel * size..self.width.min((panel + 1) * size);
        let Expert { input: weight, input_bias, .. } = &*self.list[expert];
        tile.multiply(context.cpu, input, rows.clone().map(|(row, _)| row), weight, panel);
        for (row, (_, factor)) in rows.enumerate() {
            let sums = tile.row_mut(row);
            if let Some(factor) = factor {
                for sum in sums.iter_mut() {
                    *sum *= factor;
                }
            }
            if let Some(bias) = input_bias.get(panel) {
                add(sums, bias);
            }
            // The last `size` sums are those of up, the first ones those of the gate: without gates they are the same.
            let (gate, up) = (&sums[..size], &sums[PANEL - size..]);
            let mut values = [0.0; PANEL];
            gate_values(context.cpu, gate, up, self.activation, &mut values[..size]);
            each(row, units.clone(), &values[..units.len()]);
        }
    }

    /// Where units lie in a row of activations. The last ones have the zero that may pad the row with them.
    fn unit_bytes(&self, format: Format, units: Range<usize>) -> Range<usize> {
        let end =
            if units.end == self.width { row_bytes(format, self.width) } else { units.end * format.input_bytes() };
        units.start * format.input_bytes()..end
    }

    /// Panels of the activation of an expert.
    pub fn activation_panels(&self) -> usize {
        self.width.div_ceil(self.units())
    }

    /// Calls `each(row, columns, values)` with the outputs of some rows of activations, a panel at a time.
    fn output_panel(
        &self,
        cpu: Cpu,
        tile: &mut Tile,
        activations: Rows,
        rows: Range<usize>,
        (expert, panel): (usize, usize),
        mut each: impl FnMut(usize, Range<usize>, &[f32]),
    ) {
        let Expert { down, down_bias, .. } = &*self.list[expert];
        let columns = panel_columns(panel, self.hidden);
        let count = rows.len();
        tile.multiply(cpu, activations, rows, down, panel);
        for row in 0..count {
            let sums = tile.row_mut(row);
            if let Some(bias) = down_bias.get(panel) {
                add(sums, bias);
            }
            each(row, columns.clone(), &sums[..columns.len()]);
        }
    }

    /// Outputs of a block of rows; `activated(row, units, values)` and `each(row, columns, values)` are called a panel at a
    /// time, panels in order. `rows` as in `activate_panel`.
    #[allow(clippy::too_many_arguments)]
    pub fn forward(
        &self,
        context: &Context,
        scratch: &mut Scratch,
        input: Rows,
        rows: &(impl ExactSizeIterator<Item = (usize, Option<f32>)> + Clone),
        expert: usize,
        mut activated: impl FnMut(usize, Range<usize>, &[f32]),
        mut each: impl FnMut(usize, Range<usize>, &[f32]),
    ) {
        let Context { cpu, format, .. } = *context;
        let count = rows.len();
        let stride = row_bytes(format, self.width);
        let activations = scratch.activations.as_mut_slice::<u8>();
        for panel in 0..self.activation_panels() {
            self.activate_panel(
                context,
                &mut scratch.tile,
                input,
                rows.clone(),
                (expert, panel),
                |row, units, values| {
                    activated(row, units.clone(), values);
                    let bytes = self.unit_bytes(format, units);
                    write_row(cpu, format, values, &mut activations[row * stride..][bytes]);
                },
            );
        }
        let activations = Rows::written(format, scratch.activations.as_slice(), self.width);
        for panel in 0..self.hidden.div_ceil(PANEL) {
            self.output_panel(cpu, &mut scratch.tile, activations, 0..count, (expert, panel), &mut each);
        }
    }

    /// Scratch of a thread for `forward`.
    pub fn scratch(&self, context: &Context) -> Scratch {
        let bytes = crate::product::BLOCK_ROWS * row_bytes(context.format, self.width);
        Scratch { tile: Tile::default(), activations: Buffer::of::<u8>(bytes) }
    }
}

/// A bias in the order of rows that `Packed::paired` gives gate and up; empty where there is none.
fn paired_bias(gate: Option<&[f32]>, up: Option<&[f32]>) -> Vec<[f32; PANEL]> {
    let Some(width) = gate.or(up).map(<[f32]>::len) else { return Vec::new() };
    let mut panels = vec![[0.0; PANEL]; width.div_ceil(GATED_UNITS)];
    for (bias, first) in [(gate, 0), (up, GATED_UNITS)] {
        for (panel, values) in panels.iter_mut().zip(bias.unwrap_or_default().chunks(GATED_UNITS)) {
            panel[first..first + values.len()].copy_from_slice(values);
        }
    }
    panels
}

/// Up to 64 values, zeros after them.
fn filled_up(values: &[f32]) -> [f32; PANEL] {
    std::array::from_fn(|i| values.get(i).copied().unwrap_or(0.0))
}

fn add(sums: &mut [f32; PANEL], bias: &[f32; PANEL]) {
    sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
}

/// Memory of one thread for `Experts::forward`.
pub struct Scratch {
    tile: Tile,
    activations: Buffer,
}

/// Activation of one expert for all tokens of x `[tokens, hidden]`, to out `[tokens, width]`.
pub fn expert_activation(context: &Context, x: &[f32], experts: &Experts, expert: usize, out: &mut [f32]) {
    let input = Input::new(context, x, experts.hidden);
    let tokens = out.len() / experts.width.max(1);
    let (blocks, size) = row_blocks(tokens);
    let out = Disjoint::new(out);
    context.threads.run(experts.activation_panels() * blocks, Tile::default, |tile, task| {
        let range = block_rows(task % blocks, size, tokens);
        let each = |row: usize, units: Range<usize>, values: &[f32]| {
            // SAFETY: each (token, panel) belongs to one task.
            let out = unsafe { out.range((range.start + row) * experts.width + units.start, units.len()) };
            out.copy_from_slice(values);
        };
        let rows = range.clone().map(|row| (row, None));
        experts.activate_panel(context, tile, input.rows(), rows, (expert, task / blocks), each);
    });
}

/// The experts that tokens use and with which weights, both `[tokens, top_k]`. The indices must be checked before.
#[derive(Clone, Copy)]
pub struct Routing<'a> {
    /// Experts of a token.
    pub top_k: usize,
    /// Expert of each pair.
    pub selected: &'a [i32],
    /// Weight of each pair.
    pub weights: &'a [f32],
    /// Whether the weights multiply the inputs of the experts instead of their outputs.
    pub scales_inputs: bool,
}

impl Routing<'_> {
    /// Token of a pair, and the factor of its input.
    fn input(&self, pair: usize) -> (usize, Option<f32>) {
        (pair / self.top_k, self.scales_inputs.then(|| self.weights[pair]))
    }

    /// Factor of a pair's output.
    fn output_factor(&self, pair: usize) -> f32 {
        if self.scales_inputs { 1.0 } else { self.weights[pair] }
    }
}

/// Where the activations of routed pairs are summed.
pub struct ActivationSums<'a> {
    /// Factor of each pair `[tokens, top_k]`.
    pub factors: &'a [f32],
    /// To which factor times activation is added: `[experts, width]`.
    pub sums: &'a mut [f64],
}

/// The routed block: output `[tokens, hidden]` = sum over the pairs of a token of weight * E(x), norms `[tokens, top_k]`
/// = ||E(x)||; with scaled inputs, which `can_scale_inputs` must allow, E(weight * x) in both. The pairs of a token are
/// summed in their order, whatever the number of threads, and so are the activations of an expert where they are asked for.
pub fn routed(
    context: &Context,
    x: &[f32],
    experts: &Experts,
    routing: Routing,
    output: &mut [f32],
    norms: &mut [f32],
    mut activations: Option<ActivationSums>,
) {
    let (hidden, top_k) = (experts.hidden, routing.top_k);
    if hidden == 0 || top_k == 0 {
        return output.fill(0.0);
    }
    let most = (PAIR_BYTES / (size_of::<f32>() * hidden * top_k)).max(1);
    let pieces = x.chunks(most * hidden).zip(output.chunks_mut(most * hidden));
    let pairs = routing.selected.chunks(most * top_k).zip(routing.weights.chunks(most * top_k));
    for (piece, (((x, output), (selected, weights)), norms)) in
        pieces.zip(pairs).zip(norms.chunks_mut(most * top_k)).enumerate()
    {
        let activations = activations.as_mut().map(|ActivationSums { factors, sums }| ActivationSums {
            factors: &factors[piece * most * top_k..][..selected.len()],
            sums,
        });
        routed_piece(context, x, experts, Routing { selected, weights, ..routing }, output, norms, activations);
    }
}

fn routed_piece(
    context: &Context,
    x: &[f32],
    experts: &Experts,
    routing: Routing,
    output: &mut [f32],
    norms: &mut [f32],
    activations: Option<ActivationSums>,
) {
    let (hidden, top_k) = (experts.hidden, routing.top_k);
    let input = Input::new(context, x, hidden);
    let mut outputs = Buffer::of::<f32>(routing.selected.len() * hidden);
    {
        let pairs = pairs_by_expert(routing.selected, experts.count());
        let blocks = blocks(&pairs);
        // Blocks of an expert belong to several threads: each has its own sums, which are added in their order.
        let mut of_blocks = activations.as_ref().map(|_| vec![0.0; blocks.len() * experts.width]);
        let watched = activations
            .as_ref()
            .zip(of_blocks.as_mut())
            .map(|(ActivationSums { factors, .. }, sums)| (*factors, Disjoint::new(sums)));
        let work = Routed { context, experts, routing, input: input.rows(), blocks: &blocks, watched };
        let outputs = Disjoint::new(outputs.as_mut_slice::<f32>());
        if blocks.len() < BLOCKS_PER_THREAD * context.threads.count() {
            work.by_panel(outputs, norms);
        } else {
            work.by_block(outputs, Disjoint::new(norms));
        }
        if let Some((ActivationSums { sums, .. }, of_blocks)) = activations.zip(of_blocks) {
            for ((expert, _), own) in blocks.iter().zip(of_blocks.chunks_exact(experts.width.max(1))) {
                let sums = &mut sums[expert * experts.width..][..experts.width];
                sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
            }
        }
    }
    let outputs = outputs.as_slice::<f32>();
    let tokens = output.len() / hidden;
    let output = Disjoint::new(output);
    context.threads.pieces(tokens, 16, |piece| {
        for token in piece {
            // SAFETY: each token belongs to one task.
            let out = unsafe { output.range(token * hidden, hidden) };
            out.fill(0.0);
            for pair in outputs[token * top_k * hidden..(token + 1) * top_k * hidden].chunks_exact(hidden) {
                out.iter_mut().zip(pair).for_each(|(out, value)| *out += value);
            }
        }
    });
}

/// What all tasks of a routed block read.
struct Routed<'a> {
    context: &'a Context,
    experts: &'a Experts,
    routing: Routing<'a>,
    input: Rows<'a>,
    /// Experts with up to 96 of their pairs.
    blocks: &'a [(usize, &'a [u32])],
    /// Factors of pairs, and where activations times these are summed for each block: `[blocks, width]`.
    watched: Option<(&'a [f32], Disjoint<'a, f64>)>,
}

impl Routed<'_> {
    /// Weighted outputs and norms of all pairs, a block at a time: weights and activations stay in the cache.
    fn by_block(&self, outputs: Disjoint<f32>, norms: Disjoint<f32>) {
        let Self { context, experts, routing, input, blocks, .. } = *self;
        context.threads.run(
            blocks.len(),
            || experts.scratch(context),
            |scratch, task| {
                let (expert, pairs) = blocks[task];
                let tokens = pairs.iter().map(|&pair| routing.input(pair as usize));
                let mut squares = [0.0_f64; crate::product::BLOCK_ROWS];
                let activated = |row: usize, units: Range<usize>, values: &[f32]| {
                    self.watch(task, pairs[row] as usize, units, values);
                };
                experts.forward(context, scratch, input, &tokens, expert, activated, |row, columns, values| {
                    self.weigh(outputs, pairs[row] as usize, columns, values);
                    add_squares(context.cpu, values, &mut squares[row]);
                });
                for (&pair, squares) in pairs.iter().zip(squares) {
                    // SAFETY: each pair belongs to one block.
                    let norm = unsafe { norms.range(pair as usize, 1) };
                    norm[0] = squares.sqrt() as f32;
                }
            },
        );
    }

    /// The same numbers, a panel at a time, first all activations, then all outputs: a few blocks would not keep all
    /// threads busy to the end.
    fn by_panel(&self, outputs: Disjoint<f32>, norms: &mut [f32]) {
        let Self { context, experts, routing, input, blocks, .. } = *self;
        let Context { cpu, format, .. } = *context;
        let stride = row_bytes(format, experts.width);
        // Pairs one after the other as they are in the blocks: the first of each block.
        let starts: Vec<_> = blocks
            .iter()
            .scan(0, |next, (_, pairs)| {
                *next += pairs.len();
                Some(*next - pairs.len())
            })
            .collect();
        let mut activations = Buffer::of::<u8>(norms.len() * stride);
        {
            let activations = Disjoint::new(activations.as_mut_slice::<u8>());
            let panels = experts.activation_panels();
            context.threads.run(blocks.len() * panels, Tile::default, |tile, task| {
                let (expert, pairs) = blocks[task / panels];
                let tokens = pairs.iter().map(|&pair| routing.input(pair as usize));
                experts.activate_panel(context, tile, input, tokens, (expert, task % panels), |row, units, values| {
                    self.watch(task / panels, pairs[row] as usize, units.clone(), values);
                    let bytes = experts.unit_bytes(format, units);
                    // SAFETY: each (pair, panel) belongs to one task.
                    let out =
                        unsafe { activations.range((starts[task / panels] + row) * stride + bytes.start, bytes.len()) };
                    write_row(cpu, format, values, out);
                });
            });
        }
        let activations = Rows::written(format, activations.as_slice(), experts.width);
        let panels = experts.hidden.div_ceil(PANEL);
        let mut squares = Buffer::of::<f64>(norms.len() * panels);
        {
            let squares = Disjoint::new(squares.as_mut_slice::<f64>());
            context.threads.run(blocks.len() * panels, Tile::default, |tile, task| {
                let ((expert, pairs), panel) = (blocks[task / panels], task % panels);
                let rows = starts[task / panels]..starts[task / panels] + pairs.len();
                experts.output_panel(cpu, tile, activations, rows, (expert, panel), |row, columns, values| {
                    let pair = pairs[row] as usize;
                    self.weigh(outputs, pair, columns, values);
                    // SAFETY: each (pair, panel) belongs to one task.
                    let square = unsafe { squares.range(pair * panels + panel, 1) };
                    square[0] = 0.0;
                    add_squares(cpu, values, &mut square[0]);
                });
            });
        }
        for (norm, squares) in norms.iter_mut().zip(squares.as_slice::<f64>().chunks_exact(panels)) {
            *norm = squares.iter().fold(0.0, |sum, square| sum + square).sqrt() as f32;
        }
    }

    /// Adds some units of a pair's activation to the sums of its block.
    fn watch(&self, block: usize, pair: usize, units: Range<usize>, values: &[f32]) {
        let Some((factors, sums)) = self.watched else { return };
        // SAFETY: each (block, panel) belongs to one task.
        let sums = unsafe { sums.range(block * self.experts.width + units.start, units.len()) };
        add_values(self.context.cpu, values, f64::from(factors[pair]), sums);
    }

    /// Writes some columns of a pair's weighted output.
    fn weigh(&self, outputs: Disjoint<f32>, pair: usize, columns: Range<usize>, values: &[f32]) {
        // SAFETY: each pair belongs to one block, and each of its panels to one task.
        let out = unsafe { outputs.range(pair * self.experts.hidden + columns.start, columns.len()) };
        scale(self.context.cpu, values, self.routing.output_factor(pair), out);
    }
}

/// Each expert with up to 96 of its pairs.
fn blocks(pairs: &[Vec<u32>]) -> Vec<(usize, &[u32])> {
    let blocks = pairs.iter().enumerate().flat_map(|(expert, pairs)| {
        let (count, size) = row_blocks(pairs.len());
        (0..count).map(move |block| (expert, &pairs[block_rows(block, size, pairs.len())]))
    });
    blocks.collect()
}

/// The pairs of each expert in ascending order (counting sort).
fn pairs_by_expert(selected: &[i32], experts: usize) -> Vec<Vec<u32>> {
    let mut lists = vec![Vec::new(); experts];
    for (pair, &expert) in (0..).zip(selected) {
        lists[expert.cast_unsigned() as usize].push(pair);
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::{Biases, Experts, Routed, Routing, blocks, pairs_by_expert};
    use crate::codecs::{DType, Source};
    use crate::dispatch::Cpu;
    use crate::math::Activation;
    use crate::memory::{Disjoint, bytes_of};
    use crate::packed::Format;
    use crate::product::{Context, Input};
    use crate::threads::Threads;

    /// Numbers in -0.5..0.5 (a linear congruential generator).
    fn numbers(seed: u32, count: usize) -> Vec<f32> {
        let next = |&state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let states = std::iter::successors(Some(seed), next).skip(1).take(count);
        states.map(|state| (state >> 8) as f32 / (1 << 24) as f32 - 0.5).collect()
    }

    /// The number of blocks and of threads chooses between the two ways, so both must give the same bits.
    #[test]
    fn panels_and_blocks_give_the_same_bits() {
        let (tokens, top_k, count) = (130, 3, 4);
        for (cpu, bfloat16) in Cpu::supported().into_iter().flat_map(|cpu| [(cpu, false), (cpu, true)]) {
            let context = Context { cpu, threads: Threads::new(3).unwrap(), format: Format::new(cpu, bfloat16) };
            let clamped = Activation::ClampedSwiglu { alpha: 1.702, limit: 0.1 };
            let modes = [
                (Activation::Silu, false, false),
                (Activation::Silu, false, true),
                (clamped, true, false),
                (Activation::Relu, true, false),
            ];
            let sizes = [(1, 1), (67, 45), (192, 64), (130, 1100)];
            for ((hidden, width), (activation, biased, scales_inputs)) in
                sizes.into_iter().flat_map(|size| modes.map(|mode| (size, mode)))
            {
                let weights: Vec<_> = (0..3 * count).map(|seed| numbers(seed, width * hidden)).collect();
                let gated = activation != Activation::Relu;
                let mut experts = Experts::new(hidden, width, activation, gated);
                let (width_bias, hidden_bias) = (numbers(102, width), numbers(103, hidden));
                let biases = if biased {
                    Biases { gate: Some(&width_bias), up: Some(&width_bias), down: Some(&hidden_bias) }
                } else {
                    Biases::default()
                };
                for expert in weights.chunks_exact(3) {
                    let source = |i: usize, rows| {
                        Source::new(DType::F32, rows, width * hidden / rows, bytes_of(&expert[i])).unwrap()
                    };
                    let gate = gated.then(|| source(0, width));
                    experts.push(&context, gate, [source(1, width), source(2, hidden)], biases);
                }
                // Expert 0 gets more pairs than a block holds, expert 2 none.
                let selected: Vec<i32> =
                    (0..tokens).flat_map(|token| [0, if token % 7 == 0 { 3 } else { 1 }, 3]).collect();
                let factors = numbers(100, tokens * top_k);
                let x = numbers(101, tokens * hidden);
                let input = Input::new(&context, &x, hidden);
                let pairs = pairs_by_expert(&selected, experts.count());
                let blocks = blocks(&pairs);
                let routing = Routing { top_k, selected: &selected, weights: &factors, scales_inputs };
                let work = |sums| Routed {
                    context: &context,
                    experts: &experts,
                    routing,
                    input: input.rows(),
                    blocks: &blocks,
                    watched: Some((&factors, Disjoint::new(sums))),
                };
                let empty = || {
                    let pairs = selected.len();
                    (vec![f32::NAN; pairs * hidden], vec![f32::NAN; pairs], vec![0.0; blocks.len() * width])
                };
                let (mut by_panel, mut by_block) = (empty(), empty());
                work(&mut by_panel.2).by_panel(Disjoint::new(&mut by_panel.0), &mut by_panel.1);
                work(&mut by_block.2).by_block(Disjoint::new(&mut by_block.0), Disjoint::new(&mut by_block.1));
                let bits = |(outputs, norms, sums): &(Vec<f32>, Vec<f32>, Vec<f64>)| -> Vec<u64> {
                    let values = outputs.iter().chain(norms).map(|value| u64::from(value.to_bits()));
                    values.chain(sums.iter().map(|sum| sum.to_bits())).collect()
                };
                assert!(
                    bits(&by_panel) == bits(&by_block),
                    "{cpu:?}, bfloat16 {bfloat16}, {hidden} x {width}, {activation:?}"
                );
                assert!(by_block.1.iter().all(|&norm| norm.is_finite() && norm > 0.0));
            }
        }
    }
}
