//! The factor R of a Gram matrix H = R Rᵀ, R upper triangular: Cholesky's with rows and columns in reverse, by blocks of 64
//! columns from the last to the first.
//!
//! What blocks take from each other are float32 products, subtracted in float64; the blocks on the diagonal are factored
//! in float64. `docs/weight-pruning.md` tells why this factor, and not that of the inverse.

use std::ops::Range;

use crate::dispatch::multiversion;
use crate::memory::{Buffer, Disjoint, bytes_of};
use crate::packed::{Format, PANEL};
use crate::product::{BLOCK_ROWS, Context, Rows, Tile, block_rows, row_blocks};
use crate::vector::prefetch_bytes;

/// Steps of a product that are summed in float32.
const DEPTH: usize = 512;
/// Smallest share of its diagonal entry that a column must keep after what it has in common with later ones: below, float32
/// cannot tell it from nothing.
const LEAST: f64 = 1.0 / (1 << 22) as f64;

/// A factor, its columns in some order. Vectors are by position in that order.
pub struct Factor {
    /// Number of columns.
    pub columns: usize,
    /// Which column has each position; none: its own.
    pub order: Option<Vec<u32>>,
    /// Diagonal of R.
    pub diagonal: Vec<f32>,
    /// Diagonal of R, or 0 where that of the Gram matrix is 0.
    pub importance: Vec<f32>,
    /// What was added to the diagonal of H.
    pub added: Vec<f64>,
    /// Rᵀ `[columns, columns]`: row j holds `R_ij` for i <= j; the rest is arbitrary.
    transposed: Buffer,
}

impl Factor {
    /// Factors the Gram matrix, of which the upper triangle is read, plus what is added to its diagonal (by column). None
    /// if that is not positive definite.
    pub fn new(context: &Context, gram: &[f64], added: &[f64], order: Option<&[i32]>) -> Option<Self> {
        let n = added.len();
        let order: Option<Vec<u32>> = order.map(|order| order.iter().map(|column| column.cast_unsigned()).collect());
        let place = |position: usize| order.as_ref().map_or(position, |order| order[position] as usize);
        let matrix = Matrix { gram, added, n, order: order.as_deref() };
        let mut transposed = Buffer::of::<f32>(n * n);
        let mut rows = Buffer::of::<f32>(n * n);
        let mut sums = Buffer::of::<f64>(n * PANEL);
        let mut panel = Buffer::of::<f32>(n * PANEL);
        let mut diagonal = vec![0.0; n];
        for block in (0..n.div_ceil(PANEL)).rev() {
            let columns = block * PANEL..n.min((block + 1) * PANEL);
            gather(context, transposed.as_slice(), n, &columns, panel.as_mut_slice());
            remaining(context, matrix, &columns, rows.as_slice(), panel.as_slice(), sums.as_mut_slice());
            let own = &mut sums.as_mut_slice::<f64>()[columns.start * PANEL..columns.end * PANEL];
            let factored = factor_block(own, |k| matrix.entry(columns.start + k, columns.start + k))?;
            for (k, row) in factored.iter().enumerate().take(columns.len()) {
                let j = columns.start + k;
                diagonal[j] = row[k] as f32;
                let out = &mut transposed.as_mut_slice::<f32>()[j * n + columns.start..][..=k];
                out.iter_mut().zip(row).for_each(|(out, &value)| *out = value as f32);
            }
            let own = &mut rows.as_mut_slice::<f32>()[columns.start * n..];
            for (k, row) in factored.iter().enumerate().take(columns.len()) {
                (0..=k).for_each(|i| own[i * n + columns.start + k] = row[i] as f32);
            }
            let inverse = &mut panel.as_mut_slice::<f32>()[..columns.len() * PANEL];
            invert_block(&factored[..], inverse);
            solve(context, n, &columns, sums.as_slice(), inverse, rows.as_mut_slice(), transposed.as_mut_slice());
        }
        let unseen = |position: usize| gram[place(position) * (n + 1)] == 0.0;
        let importance = diagonal.iter().enumerate().map(|(p, &d)| if unseen(p) { 0.0 } else { d }).collect();
        let added = (0..n).map(|position| added[place(position)]).collect();
        Some(Self { columns: n, order, diagonal, importance, added, transposed })
    }

    /// Rᵀ `[columns, columns]`, of which the lower triangle is meant.
    pub fn transposed(&self) -> &[f32] {
        &self.transposed.as_slice()[..self.columns * self.columns]
    }

    /// The column of the matrix at a position.
    pub fn column(&self, position: usize) -> usize {
        self.order.as_ref().map_or(position, |order| order[position] as usize)
    }
}

/// The matrix that is factored.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    gram: &'a [f64],
    added: &'a [f64],
    n: usize,
    order: Option<&'a [u32]>,
}

impl Matrix<'_> {
    fn entry(&self, i: usize, j: usize) -> f64 {
        let place = |position: usize| self.order.map_or(position, |order| order[position] as usize);
        let (a, b) = (place(i), place(j));
        self.gram[a.min(b) * self.n + a.max(b)] + if i == j { self.added[a] } else { 0.0 }
    }

    /// Asks for a row of some columns, unless they are in another order.
    fn fetch_row(&self, i: usize, columns: &Range<usize>) {
        if self.order.is_none() {
            prefetch_bytes(self.gram.as_ptr().wrapping_add(i * self.n + columns.start).cast(), PANEL * 8);
        }
    }

    /// Entries of row i in some columns, none of which is before i unless they are the row's own block.
    fn write_row(&self, i: usize, columns: &Range<usize>, out: &mut [f64]) {
        if self.order.is_none() && i < columns.start {
            out.copy_from_slice(&self.gram[i * self.n..][columns.clone()]);
        } else {
            out.iter_mut().zip(columns.clone()).for_each(|(out, j)| *out = self.entry(i, j));
        }
    }
}

/// Rows that are asked for ahead of their use: a row's part is so short that the processor's own prefetcher stays behind.
const AHEAD: usize = 8;

/// The block's columns of the rows of Rᵀ after it, side by side: the second operand of its products.
fn gather(context: &Context, transposed: &[f32], n: usize, columns: &Range<usize>, panel: &mut [f32]) {
    let panel = Disjoint::new(panel.as_chunks_mut::<PANEL>().0);
    // Only the last block, after which nothing comes, may be narrow.
    context.threads.pieces(n - columns.end, 128, |piece| {
        // SAFETY: pieces are disjoint.
        for (k, out) in piece.clone().zip(unsafe { panel.range(piece.start, piece.len()) }) {
            prefetch_bytes(
                transposed.as_ptr().wrapping_add((columns.end + k + AHEAD) * n + columns.start).cast(),
                PANEL * 4,
            );
            out.copy_from_slice(&transposed[(columns.end + k) * n + columns.start..][..PANEL]);
        }
    });
}

/// What is left of the block's columns, rows 0 .. end: `H_ij` - sum over later k of `R_ik R_jk`, to sums `[rows, 64]`.
fn remaining(context: &Context, matrix: Matrix, columns: &Range<usize>, rows: &[f32], panel: &[f32], sums: &mut [f64]) {
    let n = matrix.n;
    let (blocks, size) = row_blocks(columns.end);
    let sums = Disjoint::new(sums);
    context.threads.run(blocks, Tile::default, |tile, block| {
        let range = block_rows(block, size, columns.end);
        // SAFETY: each row belongs to one task.
        let sums = unsafe { sums.range(range.start * PANEL, range.len() * PANEL) };
        let sums = sums.as_chunks_mut::<PANEL>().0;
        for (i, sums) in range.clone().zip(&mut *sums) {
            matrix.fetch_row(i + AHEAD, columns);
            matrix.write_row(i, columns, &mut sums[..columns.len()]);
        }
        for from in (columns.end..n).step_by(DEPTH) {
            let steps = DEPTH.min(n - from);
            let panel = &panel[(from - columns.end) * PANEL..][..steps * PANEL];
            let input = Rows::float32(&rows[from..n * n], n);
            tile.multiply_panel(context.cpu, Format::F32, input, range.clone(), bytes_of(panel), steps);
            subtract(context.cpu, &tile.sums()[..range.len() * PANEL], sums.as_flattened_mut());
        }
    });
}

multiversion! {
    fn subtract(values: &[f32], sums: &mut [f64]) = subtract_body;
}

#[inline(always)]
fn subtract_body(values: &[f32], sums: &mut [f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum -= f64::from(value));
}

/// A block on the diagonal, transposed: row j holds `R_ij` for i <= j.
type Block = Vec<[f64; PANEL]>;

/// Factors a block `[width, 64]` whose lower triangle need not be there. `entry(k)` is what the diagonal was at first.
fn factor_block(sums: &[f64], entry: impl Fn(usize) -> f64) -> Option<Block> {
    let sums = sums.as_chunks::<PANEL>().0;
    let mut r: Block = vec![[0.0; PANEL]; PANEL];
    for (i, row) in sums.iter().enumerate() {
        (i..sums.len()).for_each(|j| r[j][i] = row[j]);
    }
    for j in (0..sums.len()).rev() {
        let square = r[j][j];
        // Not true of NaN either.
        if !(square > LEAST * entry(j) && square < f64::INFINITY) {
            return None;
        }
        let root = square.sqrt();
        r[j][..j].iter_mut().for_each(|value| *value /= root);
        r[j][j] = root;
        let (before, row) = r.split_at_mut(j);
        for (i, other) in before.iter_mut().enumerate() {
            let factor = row[0][i];
            other[..=i].iter_mut().zip(&row[0]).for_each(|(value, part)| *value -= factor * part);
        }
    }
    Some(r)
}

/// The inverse M of the transposed block, to `[width, 64]`: X = S M solves X Rᵀ = S.
pub fn invert_block(block: &[[f64; PANEL]], out: &mut [f32]) {
    let mut inverse = vec![[0.0_f64; PANEL]; out.len() / PANEL];
    for k in 0..inverse.len() {
        let (before, row) = inverse.split_at_mut(k);
        let row = &mut row[0];
        for (other, &factor) in before.iter().zip(&block[k]) {
            row.iter_mut().zip(other).for_each(|(value, part)| *value -= factor * part);
        }
        row[k] += 1.0;
        for value in row {
            *value /= block[k][k];
        }
    }
    out.iter_mut().zip(inverse.as_flattened()).for_each(|(out, &value)| *out = value as f32);
}

/// `R_ij` for the rows i before the block, from what is left of them and the inverse of the block; to R and Rᵀ.
fn solve(
    context: &Context,
    n: usize,
    columns: &Range<usize>,
    sums: &[f64],
    inverse: &[f32],
    rows: &mut [f32],
    transposed: &mut [f32],
) {
    let width = columns.len();
    let (blocks, size) = row_blocks(columns.start);
    let (rows, transposed) = (Disjoint::new(rows), Disjoint::new(transposed));
    let scratch = || (Tile::default(), vec![0.0; BLOCK_ROWS * PANEL]);
    context.threads.run(blocks, scratch, |(tile, left), block| {
        let range = block_rows(block, size, columns.start);
        let sums = &sums[range.start * PANEL..range.end * PANEL];
        left.iter_mut().zip(sums).for_each(|(left, &sum)| *left = sum as f32);
        let input = Rows::float32(left, PANEL);
        tile.multiply_panel(context.cpu, Format::F32, input, 0..range.len(), bytes_of(inverse), width);
        for (k, i) in range.clone().enumerate() {
            // SAFETY: each row belongs to one task.
            let out = unsafe { rows.range(i * n + columns.start, width) };
            out.copy_from_slice(&tile.row(k)[..width]);
        }
        for k in 0..width {
            // SAFETY: as above, of columns here.
            let out = unsafe { transposed.range((columns.start + k) * n + range.start, range.len()) };
            out.iter_mut().zip(tile.sums().chunks_exact(PANEL)).for_each(|(out, row)| *out = row[k]);
        }
    });
}
