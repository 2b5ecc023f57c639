//! Gram matrices of a layer's inputs, and what a change of its weights does to its outputs. Both need the upper triangle
//! only, and so half the work of a product.

use crate::dispatch::multiversion;
use crate::memory::{Buffer, Disjoint, bytes_of};
use crate::packed::{Format, PANEL};
use crate::picked::Picked;
use crate::product::{Context, Rows, Tile, block_rows, panel_columns, row_blocks};
use crate::sums::add;
use crate::vector::prefetch_bytes;

/// Tokens whose products are summed in float32 (by 512, see `product.rs`): about what one expert sees of 8,192.
const TOKENS: usize = 1024;

/// Adds xᵀ x to the upper triangle of sums `[columns, columns]` for rows x `[tokens, columns]`; `anew` takes the place of it.
pub fn add_gram(context: &Context, sums: &mut [f64], x: Picked, anew: bool) {
    let columns = x.columns();
    if anew && x.is_empty() {
        sums.chunks_exact_mut(columns.max(1)).enumerate().for_each(|(row, sums)| sums[row..].fill(0.0));
    }
    let panels = columns.div_ceil(PANEL);
    let (blocks, size) = row_blocks(columns);
    let most = TOKENS.min(x.len());
    let mut columns_of_x = Buffer::of::<f32>(columns * most);
    let mut panels_of_x = Buffer::of::<f32>(panels * PANEL * most);
    let sums = Disjoint::new(sums);
    let above = |block: usize, panel: usize| block * size < panel_columns(panel, columns).end;
    let pairs = (0..panels).flat_map(|panel| (0..blocks).map(move |block| (block, panel)));
    let tasks: Vec<_> = pairs.filter(|&(block, panel)| above(block, panel)).collect();
    for first_token in (0..x.len()).step_by(TOKENS) {
        let x = x.part(first_token, TOKENS);
        let tokens = x.len();
        x.transpose(context, columns_of_x.as_mut_slice());
        x.split_panels(context, panels_of_x.as_mut_slice());
        let rows = Rows::float32(&columns_of_x.as_slice()[..columns * tokens], tokens);
        let panel_numbers = &panels_of_x.as_slice::<f32>()[..panels * PANEL * tokens];
        context.threads.run(tasks.len(), Tile::default, |tile, task| {
            let (block, panel) = tasks[task];
            let panel_data = bytes_of(&panel_numbers[panel * PANEL * tokens..(panel + 1) * PANEL * tokens]);
            let (range, places) = (block_rows(block, size, columns), panel_columns(panel, columns));
            let range = range.start..range.end.min(places.end);
            // The sums come from memory while the product is computed.
            for row in range.clone() {
                // SAFETY: each (row, panel) belongs to one task.
                let sums = unsafe { sums.range(row * columns + places.start, places.len()) };
                prefetch_bytes(sums.as_ptr().cast(), size_of_val(sums));
            }
            tile.multiply_panel(context.cpu, Format::F32, rows, range.clone(), panel_data, tokens);
            for (i, row) in range.enumerate() {
                let first = places.start.max(row);
                // SAFETY: as above.
                let sums = unsafe { sums.range(row * columns + first, places.end - first) };
                if anew && first_token == 0 {
                    sums.fill(0.0);
                }
                add(context.cpu, &tile.row(i)[first - places.start..], 1.0, sums);
            }
        });
    }
}

/// Columns of a strip of the Gram matrix: eight vectors of AVX-512 in float64.
const STRIP: usize = 64;
/// Rows of the difference whose products with a strip are summed at a time.
const ROWS: usize = 2;

/// trace(D H Dᵀ) for D `[rows, columns]` and the upper triangle of H, in float64.
pub fn output_error(context: &Context, difference: &[f32], gram: &[f64], columns: usize) -> f64 {
    let strips = columns.div_ceil(STRIP);
    let mut errors = vec![0.0; strips];
    let shared = Disjoint::new(&mut errors);
    // The long strips come first, so that threads end together.
    context.threads.run(
        strips,
        || Buffer::of::<f64>(columns * STRIP),
        |buffer, task| {
            let strip = strips - 1 - task;
            let places = strip * STRIP..columns.min((strip + 1) * STRIP);
            let products = &mut buffer.as_mut_slice::<f64>()[..places.end * STRIP];
            for (i, products) in products.chunks_exact_mut(STRIP).enumerate() {
                products.fill(0.0);
                for j in places.start.max(i)..places.end {
                    // What lies above the diagonal counts twice.
                    products[j - places.start] = gram[i * columns + j] * if i == j { 1.0 } else { 2.0 };
                }
            }
            // SAFETY: each strip belongs to one task.
            let error = unsafe { shared.range(strip, 1) };
            strip_error(context.cpu, difference, columns, products, places.start, &mut error[0]);
        },
    );
    errors.iter().sum()
}

multiversion! {
    /// Sum over rows d of (sum over i of `d_i` products[i, j]) `d_j`, for the strip's columns j from `first` on.
    fn strip_error(difference: &[f32], columns: usize, products: &[f64], first: usize, error: &mut f64) = strip_error_body;
}

#[inline(always)]
fn strip_error_body(difference: &[f32], columns: usize, products: &[f64], first: usize, error: &mut f64) {
    let products = products.as_chunks::<STRIP>().0;
    let zeros = vec![0.0; columns];
    for rows in difference.chunks(ROWS * columns) {
        let row = |r: usize| &rows.get(r * columns..(r + 1) * columns).unwrap_or(&zeros)[..products.len()];
        let rows: [&[f32]; ROWS] = [row(0), row(1)];
        let mut sums = [[0.0_f64; STRIP]; ROWS];
        for ((products, &a), &b) in products.iter().zip(rows[0]).zip(rows[1]) {
            let (a, b) = (f64::from(a), f64::from(b));
            let [first, second] = &mut sums;
            for ((first, second), product) in first.iter_mut().zip(second).zip(products) {
                *first += a * product;
                *second += b * product;
            }
        }
        for (sums, row) in sums.iter().zip(rows) {
            let terms = sums.iter().zip(&row[first..]).map(|(sum, &value)| sum * f64::from(value));
            *error += terms.sum::<f64>();
        }
    }
}
