//! The routed experts of a layer: `down(activation(gate x) * (up x))`.

use std::ops::Range;

use crate::codecs::Source;
use crate::elementwise::{add_squares, gate_values, scale};
use crate::math::Activation;
use crate::memory::{Buffer, Disjoint};
use crate::packed::{PANEL, Packed};
use crate::product::{Context, Input, Rows, Tile, block_rows, panel_columns, row_blocks, row_bytes, write_row};

/// Units of a gated activation in a panel of gate and up rows.
const UNITS: usize = PANEL / 2;
/// Most bytes of outputs of routed pairs that are kept at a time, before they are combined.
const PAIR_BYTES: usize = 256 << 20;

/// All routed experts of a layer, made ready for products.
pub struct Experts {
    /// Size of inputs and outputs.
    pub hidden: usize,
    /// Size of the activation.
    pub width: usize,
    activation: Activation,
    list: Vec<Expert>,
}

/// One expert.
pub struct Expert {
    gate_and_up: Packed,
    down: Packed,
}

impl Experts {
    /// No experts yet, of the given sizes.
    pub fn new(hidden: usize, width: usize, activation: Activation) -> Self {
        Self { hidden, width, activation, list: Vec::new() }
    }

    /// Packs the weights of the next expert: gate, up `[width, hidden]`, down `[hidden, width]`.
    pub fn push(&mut self, context: &Context, gate: Source, up: Source, down: Source) {
        let Context { cpu, ref threads, format } = *context;
        self.list.push(Expert {
            gate_and_up: Packed::paired(cpu, threads, format, gate, up),
            down: Packed::new(cpu, threads, format, down),
        });
    }

    /// Number of experts.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The down projection of an expert.
    pub fn down(&self, expert: usize) -> &Packed {
        &self.list[expert].down
    }

    /// Calls `each(row, units, values)` with the activations of a block of rows, a panel at a time.
    pub fn activate_panel(
        &self,
        context: &Context,
        tile: &mut Tile,
        input: Rows,
        rows: impl ExactSizeIterator<Item = usize>,
        (expert, panel): (usize, usize),
        mut each: impl FnMut(usize, Range<usize>, &[f32]),
    ) {
        let units = panel * UNITS..self.width.min((panel + 1) * UNITS);
        let count = rows.len();
        tile.multiply(context.cpu, input, rows, &self.list[expert].gate_and_up, panel);
        for row in 0..count {
            let (gate, up) = tile.row(row).split_at(UNITS);
            let mut values = [0.0; UNITS];
            gate_values(context.cpu, gate, up, self.activation, &mut values);
            each(row, units.clone(), &values[..units.len()]);
        }
    }

    /// Panels of the activation of an expert.
    pub fn activation_panels(&self) -> usize {
        self.width.div_ceil(UNITS)
    }

    /// Outputs of a block of rows; `each(row, columns, values)` is called a panel at a time, panels in order.
    pub fn forward(
        &self,
        context: &Context,
        scratch: &mut Scratch,
        input: Rows,
        rows: &(impl ExactSizeIterator<Item = usize> + Clone),
        expert: usize,
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
                    // The last panel also writes the zero that may pad the row.
                    let end = if units.end == self.width { stride } else { units.end * format.input_bytes() };
                    write_row(
                        cpu,
                        format,
                        values,
                        &mut activations[row * stride..][units.start * format.input_bytes()..end],
                    );
                },
            );
        }
        let down = self.down(expert);
        let activations = Rows::written(format, scratch.activations.as_slice(), self.width);
        for panel in 0..down.panels() {
            let columns = panel_columns(panel, self.hidden);
            scratch.tile.multiply(cpu, activations, 0..count, down, panel);
            for row in 0..count {
                each(row, columns.clone(), &scratch.tile.row(row)[..columns.len()]);
            }
        }
    }

    /// Scratch of a thread for `forward`.
    pub fn scratch(&self, context: &Context) -> Scratch {
        let bytes = crate::product::BLOCK_ROWS * row_bytes(context.format, self.width);
        Scratch { tile: Tile::default(), activations: Buffer::of::<u8>(bytes) }
    }
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
        experts.activate_panel(context, tile, input.rows(), range.clone(), (expert, task / blocks), each);
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
}

/// The routed block: output `[tokens, hidden]` = sum over the pairs of a token of weight * E(x), norms `[tokens, top_k]`
/// = ||E(x)||. The pairs of a token are summed in their order, whatever the number of threads.
pub fn routed(
    context: &Context,
    x: &[f32],
    experts: &Experts,
    routing: Routing,
    output: &mut [f32],
    norms: &mut [f32],
) {
    let (hidden, top_k) = (experts.hidden, routing.top_k);
    if hidden == 0 || top_k == 0 {
        return output.fill(0.0);
    }
    let most = (PAIR_BYTES / (size_of::<f32>() * hidden * top_k)).max(1);
    let pieces = x.chunks(most * hidden).zip(output.chunks_mut(most * hidden));
    let pairs = routing.selected.chunks(most * top_k).zip(routing.weights.chunks(most * top_k));
    for (((x, output), (selected, weights)), norms) in pieces.zip(pairs).zip(norms.chunks_mut(most * top_k)) {
        routed_piece(context, x, experts, Routing { top_k, selected, weights }, output, norms);
    }
}

fn routed_piece(
    context: &Context,
    x: &[f32],
    experts: &Experts,
    routing: Routing,
    output: &mut [f32],
    norms: &mut [f32],
) {
    let (hidden, top_k) = (experts.hidden, routing.top_k);
    let input = Input::new(context, x, hidden);
    let mut outputs = Buffer::of::<f32>(routing.selected.len() * hidden);
    {
        let pairs = pairs_by_expert(routing.selected, experts.count());
        let blocks = pairs.iter().enumerate().flat_map(|(expert, pairs)| {
            let (count, size) = row_blocks(pairs.len());
            (0..count).map(move |block| (expert, &pairs[block_rows(block, size, pairs.len())]))
        });
        let blocks: Vec<_> = blocks.collect();
        let outputs = Disjoint::new(outputs.as_mut_slice::<f32>());
        let norms = Disjoint::new(norms);
        context.threads.run(
            blocks.len(),
            || experts.scratch(context),
            |scratch, task| {
                let (expert, pairs) = blocks[task];
                let tokens = pairs.iter().map(|&pair| pair as usize / top_k);
                let mut squares = [0.0_f64; crate::product::BLOCK_ROWS];
                experts.forward(context, scratch, input.rows(), &tokens, expert, |row, columns, values| {
                    let pair = pairs[row] as usize;
                    // SAFETY: each pair belongs to one block.
                    let out = unsafe { outputs.range(pair * hidden + columns.start, columns.len()) };
                    scale(context.cpu, values, routing.weights[pair], out);
                    add_squares(context.cpu, values, &mut squares[row]);
                });
                for (&pair, squares) in pairs.iter().zip(squares) {
                    // SAFETY: as above.
                    let norm = unsafe { norms.range(pair as usize, 1) };
                    norm[0] = squares.sqrt() as f32;
                }
            },
        );
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

/// The pairs of each expert in ascending order (counting sort).
fn pairs_by_expert(selected: &[i32], experts: usize) -> Vec<Vec<u32>> {
    let mut lists = vec![Vec::new(); experts];
    for (pair, &expert) in (0..).zip(selected) {
        lists[expert.cast_unsigned() as usize].push(pair);
    }
    lists
}
