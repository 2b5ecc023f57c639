//! What the kernels of an instruction set can do at most: the bar that products are measured against.

use crate::dispatch::Cpu;
use crate::packed::PANEL;
use crate::product::{Context, Rows, Tile, row_bytes, write_row};
use crate::tile::MOST_ROWS;

/// Rows of a product; all tiles read the same first few rows.
const ROWS: usize = 48;
/// Short, so that rows, panel and sums stay in the first-level cache.
const DEPTH: usize = 128;

/// Multiplies in the first-level cache, `rounds` times in each thread; returns the operations, a multiplication and an
/// addition counted as two.
pub fn peak(context: &Context, rounds: usize) -> f64 {
    let threads = context.threads.count();
    let stride = row_bytes(context.format, DEPTH);
    context.threads.run(
        threads,
        || (Tile::default(), input(context.cpu, context, stride)),
        |(tile, input), _| {
            let panel = vec![0_u8; DEPTH * PANEL * context.format.panel_bytes()];
            for _ in 0..rounds {
                let rows = Rows::written(context.format, input, DEPTH);
                let indices = (0..ROWS).map(|row| row % MOST_ROWS);
                tile.multiply_panel(context.cpu, context.format, rows, indices, std::hint::black_box(&panel), DEPTH);
                std::hint::black_box(tile.sums());
            }
        },
    );
    (2 * threads * rounds * ROWS * DEPTH * PANEL) as f64
}

fn input(cpu: Cpu, context: &Context, stride: usize) -> Vec<u8> {
    let mut bytes = vec![0_u8; MOST_ROWS * stride];
    for row in bytes.chunks_exact_mut(stride) {
        write_row(cpu, context.format, &[1.0; DEPTH], row);
    }
    bytes
}
