//! Products with the Gram matrix of weights whose outputs are multiplied by factors of each token and then by something
//! fixed: sum over tokens of (f ∘ G (f ∘ V x)) xᵀ.

use crate::codecs::{DType, Source};
use crate::memory::{Buffer, Disjoint, bytes_of};
use crate::packed::{Format, PANEL, Packed};
use crate::picked::Picked;
use crate::product::{BLOCK_ROWS, Context, Rows, Tile, block_rows, panel_columns, row_blocks};
use crate::sums::add_products;

/// Tokens that are looked at together.
const TOKENS: usize = 1024;

/// Adds sum over tokens of (f ∘ G (f ∘ V x)) xᵀ to sums `[width, columns]`, for rows x `[tokens, columns]`, factors f
/// `[tokens, width]`, V `[width, columns]` and the symmetric G `[width, width]`.
pub fn add_gated_product(context: &Context, sums: &mut [f64], x: Picked, factors: &[f32], v: &[f32], g: &[f32]) {
    let columns = x.columns();
    let width = v.len() / columns.max(1);
    if width == 0 {
        return;
    }
    let pack = |weight, columns| {
        let source = Source::new(DType::F32, width, columns, bytes_of(weight)).expect("there are rows for the width");
        Packed::new(context.cpu, &context.threads, Format::F32, source)
    };
    let (v, g) = (pack(v, columns), pack(g, width));
    let most = TOKENS.min(x.len());
    let mut columns_of_z = Buffer::of::<f32>(width * most);
    let mut panels_of_x = Buffer::of::<f32>(columns.next_multiple_of(PANEL) * most);
    for first in (0..x.len()).step_by(TOKENS) {
        let x = x.part(first, TOKENS);
        let factors = &factors[first * width..(first + x.len()) * width];
        gated(context, x, factors, &v, &g, columns_of_z.as_mut_slice());
        x.split_panels(context, panels_of_x.as_mut_slice());
        add_products(context, sums, columns_of_z.as_slice(), panels_of_x.as_slice(), x.len(), columns);
    }
}

/// f ∘ G (f ∘ V x) of each row x, to out `[width, rows]`.
fn gated(context: &Context, x: Picked, factors: &[f32], v: &Packed, g: &Packed, out: &mut [f32]) {
    let (count, width) = (x.len(), v.rows);
    let out = Disjoint::new(out);
    let (blocks, size) = row_blocks(count);
    let scratch = || (Tile::default(), Buffer::of::<f32>(BLOCK_ROWS * width));
    context.threads.run(blocks, scratch, |(tile, made), block| {
        let range = block_rows(block, size, count);
        let made = made.as_mut_slice::<f32>();
        for panel in 0..v.panels() {
            let columns = panel_columns(panel, width);
            tile.multiply(context.cpu, x.operand(), range.clone().map(|row| x.place(row)), v, panel);
            for (i, row) in range.clone().enumerate() {
                let made = &mut made[i * width..][columns.clone()];
                let factors = &factors[row * width..][columns.clone()];
                made.iter_mut().zip(tile.row(i)).zip(factors).for_each(|((made, sum), factor)| *made = sum * factor);
            }
        }
        for panel in 0..g.panels() {
            let columns = panel_columns(panel, width);
            tile.multiply(context.cpu, Rows::float32(made, width), 0..range.len(), g, panel);
            for (i, row) in range.clone().enumerate() {
                let factors = &factors[row * width..][columns.clone()];
                tile.row_mut(i).iter_mut().zip(factors).for_each(|(sum, factor)| *sum *= factor);
            }
            for (c, column) in columns.enumerate() {
                // SAFETY: each (column, block) is written by one task.
                let out = unsafe { out.range(column * count + range.start, range.len()) };
                out.iter_mut().enumerate().for_each(|(i, out)| *out = tile.row(i)[c]);
            }
        }
    });
}
