//! Sums over tokens: products in float32 over blocks of tokens, the blocks added in float64 in their order.

use crate::codecs::{DType, Source};
use crate::dispatch::multiversion;
use crate::elementwise::add_squares;
use crate::experts::Experts;
use crate::memory::{Buffer, Disjoint, bytes_of};
use crate::packed::{Format, PANEL, pack_panel};
use crate::picked::Picked;
use crate::product::{BLOCK_ROWS, Context, Input, Rows, Tile, block_rows, panel_columns, row_blocks};

/// Tokens whose products are summed in float32.
const TOKENS: usize = 1024;
/// Most bytes of expert outputs that are kept at a time.
const OUTPUT_BYTES: usize = 128 << 20;

/// Adds aᵀ b to sums `[m, n]` for as many rows a `[tokens, m]` as b `[tokens, n]`.
pub fn add_transposed_product(context: &Context, sums: &mut [f64], a: Picked, b: Picked) {
    let (m, n) = (a.columns(), b.columns());
    if m == 0 || n == 0 {
        return;
    }
    let most = TOKENS.min(a.len());
    let mut columns_of_a = Buffer::of::<f32>(m * most);
    let mut panels_of_b = Buffer::of::<f32>(n.next_multiple_of(PANEL) * most);
    for first in (0..a.len()).step_by(TOKENS) {
        let (a, b) = (a.part(first, TOKENS), b.part(first, TOKENS));
        a.transpose(context, columns_of_a.as_mut_slice());
        b.split_panels(context, panels_of_b.as_mut_slice());
        add_products(context, sums, columns_of_a.as_slice(), panels_of_b.as_slice(), a.len(), n);
    }
}

/// Adds aᵀ b to sums `[m, n]` for aᵀ `[m, tokens]` and b in panels.
pub(crate) fn add_products(
    context: &Context,
    sums: &mut [f64],
    columns_of_a: &[f32],
    panels_of_b: &[f32],
    tokens: usize,
    n: usize,
) {
    let m = sums.len() / n;
    let (blocks, size) = row_blocks(m);
    let rows = Rows::float32(&columns_of_a[..m * tokens], tokens);
    let sums = Disjoint::new(sums);
    context.threads.run(n.div_ceil(PANEL) * blocks, Tile::default, |tile, task| {
        let (panel, block) = (task / blocks, task % blocks);
        let panel_data = bytes_of(&panels_of_b[panel * PANEL * tokens..(panel + 1) * PANEL * tokens]);
        let (range, columns) = (block_rows(block, size, m), panel_columns(panel, n));
        tile.multiply_panel(context.cpu, Format::F32, rows, range.clone(), panel_data, tokens);
        for (i, row) in range.enumerate() {
            // SAFETY: each (row, panel) belongs to one task.
            add(context.cpu, tile.row(i), 1.0, unsafe { sums.range(row * n + columns.start, columns.len()) });
        }
    });
}

multiversion! {
    /// Adds factor * values to sums.
    pub(crate) fn add(values: &[f32], factor: f64, sums: &mut [f64]) = add_body;
}

#[inline(always)]
fn add_body(values: &[f32], factor: f64, sums: &mut [f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += factor * f64::from(value));
}

/// Adds the square of every number of rows `[tokens, width]` to its column of sums `[width]`, row after row.
pub fn add_column_squares(context: &Context, sums: &mut [f64], rows: &[f32]) {
    if !sums.is_empty() {
        add_column_squares_of(context.cpu, rows, sums);
    }
}

multiversion! {
    fn add_column_squares_of(rows: &[f32], sums: &mut [f64]) = add_column_squares_body;
}

#[inline(always)]
fn add_column_squares_body(rows: &[f32], sums: &mut [f64]) {
    for row in rows.chunks_exact(sums.len()) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) * f64::from(value));
    }
}

/// Adds to sums `[count, width]`, for every expert e, the sum over tokens of `factors[t, e] * h_e(x_t)`, h the gated
/// activation; factors `[tokens, count]`, or 1 everywhere.
pub fn add_gated_activations(
    context: &Context,
    sums: &mut [f64],
    x: &[f32],
    experts: &Experts,
    factors: Option<&[f32]>,
) {
    let (count, width) = (experts.count(), experts.width);
    let input = Input::new(context, x, experts.hidden);
    let tokens = x.len() / experts.hidden.max(1);
    let (blocks, size) = row_blocks(tokens);
    let panels = experts.activation_panels();
    let sums = Disjoint::new(sums);
    context.threads.run(count * panels, Tile::default, |tile, task| {
        let (expert, panel) = (task / panels, task % panels);
        for block in 0..blocks {
            let range = block_rows(block, size, tokens);
            let first = range.start;
            let rows = range.map(|row| (row, None));
            experts.activate_panel(context, tile, input.rows(), rows, (expert, panel), |row, units, values| {
                let factor = factors.map_or(1.0, |factors| f64::from(factors[(first + row) * count + expert]));
                // SAFETY: each (expert, panel) belongs to one task.
                add(context.cpu, values, factor, unsafe { sums.range(expert * width + units.start, units.len()) });
            });
        }
    });
}

/// Adds to sums `[count, count]`, for every pair of experts, the sum over tokens of the cosine between their outputs.
pub fn add_output_cosines(context: &Context, sums: &mut [f64], x: &[f32], experts: &Experts) {
    let (count, hidden) = (experts.count(), experts.hidden);
    if count == 0 || hidden == 0 {
        return;
    }
    let most = (OUTPUT_BYTES / (size_of::<f32>() * count * hidden)).clamp(1, BLOCK_ROWS);
    let mut outputs = Buffer::of::<f32>(most * count * hidden);
    let mut norms = Buffer::of::<f64>(most * count);
    let mut cosines = Buffer::of::<f32>(most * count * count);
    for x in x.chunks(most * hidden) {
        let tokens = x.len() / hidden;
        all_outputs(context, x, experts, outputs.as_mut_slice(), norms.as_mut_slice());
        let per_token = Disjoint::new(cosines.as_mut_slice::<f32>());
        let (outputs, norms) = (outputs.as_slice::<f32>(), norms.as_slice::<f64>());
        let scratch = || (Tile::default(), Buffer::of::<u32>(PANEL * hidden));
        context.threads.run(tokens, scratch, |(tile, panel), token| {
            let outputs = &outputs[token * count * hidden..(token + 1) * count * hidden];
            let norms = &norms[token * count..(token + 1) * count];
            // SAFETY: each token belongs to one task.
            let out = unsafe { per_token.range(token * count * count, count * count) };
            token_cosines(context, tile, panel.as_mut_slice(), outputs, norms, out);
        });
        let cosines = cosines.as_slice::<f32>();
        let sums = Disjoint::new(&mut *sums);
        context.threads.pieces(count, 8, |rows| {
            // SAFETY: pieces are disjoint.
            let sums = unsafe { sums.range(rows.start * count, rows.len() * count) };
            for token in 0..tokens {
                add(context.cpu, &cosines[(token * count + rows.start) * count..][..sums.len()], 1.0, sums);
            }
        });
    }
}

/// Outputs of all experts `[tokens, count, hidden]` and their norms `[tokens, count]`.
fn all_outputs(context: &Context, x: &[f32], experts: &Experts, outputs: &mut [f32], norms: &mut [f64]) {
    let (count, hidden) = (experts.count(), experts.hidden);
    let tokens = x.len() / hidden;
    let input = Input::new(context, x, hidden);
    let (blocks, size) = row_blocks(tokens);
    let (outputs, norms) = (Disjoint::new(outputs), Disjoint::new(norms));
    context.threads.run(
        count * blocks,
        || experts.scratch(context),
        |scratch, task| {
            let (expert, range) = (task / blocks, block_rows(task % blocks, size, tokens));
            let mut squares = [0.0_f64; BLOCK_ROWS];
            let rows = range.clone().map(|row| (row, None));
            experts.forward(
                context,
                scratch,
                input.rows(),
                &rows,
                expert,
                |_, _, _| {},
                |row, columns, values| {
                    let start = ((range.start + row) * count + expert) * hidden + columns.start;
                    // SAFETY: each (token, expert) belongs to one task.
                    unsafe { outputs.range(start, columns.len()) }.copy_from_slice(values);
                    add_squares(context.cpu, values, &mut squares[row]);
                },
            );
            for (token, squares) in range.zip(squares) {
                // SAFETY: as above.
                let norm = unsafe { norms.range(token * count + expert, 1) };
                norm[0] = squares.sqrt();
            }
        },
    );
}

/// Cosines `[count, count]` between outputs `[count, hidden]` with the given norms; 0 where a norm is 0.
fn token_cosines(
    context: &Context,
    tile: &mut Tile,
    panel: &mut [u32],
    outputs: &[f32],
    norms: &[f64],
    out: &mut [f32],
) {
    let count = norms.len();
    let hidden = outputs.len() / count;
    let panel = &mut panel[..PANEL * hidden];
    let source = Source::new(DType::F32, count, hidden, bytes_of(outputs)).expect("all outputs have one size");
    let (blocks, size) = row_blocks(count);
    for index in 0..count.div_ceil(PANEL) {
        let columns = panel_columns(index, count);
        let rows = std::array::from_fn(|r| (index * PANEL + r < count).then_some((source, index * PANEL + r)));
        pack_panel(context.cpu, &rows, hidden, Format::F32, panel);
        for block in 0..blocks {
            let range = block_rows(block, size, count);
            tile.multiply_panel(
                context.cpu,
                Format::F32,
                Rows::float32(outputs, hidden),
                range.clone(),
                bytes_of(panel),
                hidden,
            );
            for (i, row) in range.enumerate() {
                let out = &mut out[row * count..(row + 1) * count][columns.clone()];
                for ((out, &dot), &norm) in out.iter_mut().zip(tile.row(i)).zip(&norms[columns.clone()]) {
                    let norm = norms[row] * norm;
                    *out = if norm == 0.0 { 0.0 } else { (f64::from(dot) / norm) as f32 };
                }
            }
        }
    }
}
