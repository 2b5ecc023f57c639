//! GPTQ (Frantar et al. 2022): see src/compress/weights/gptq.ts. A task is 64 rows, which go through all columns.

use std::ops::Range;

use crate::codecs::{DType, Source};
use crate::dispatch::multiversion;
use crate::factor::Factor;
use crate::memory::{Buffer, Disjoint, bytes_of};
use crate::packed::{Format, PANEL, pack_panel};
use crate::product::{Context, Tile};
use crate::quantise::{Grid, code_of, grid_of_range};
use crate::weight_panel::{BLOCK, Block, Lanes, panel_rows, panels, read_block, sums_before, whole_groups};

/// The integers of a weight's groups.
#[derive(Clone, Copy)]
pub struct Groups {
    /// Bits and symmetry.
    pub grid: Grid,
    /// Dtype of scales.
    pub scale_dtype: DType,
    /// Columns of a group.
    pub size: usize,
}

/// What a weight becomes: codes `[rows, columns]`, scales and zeros `[rows, groups]`.
pub struct Quantised<'a> {
    /// Codes.
    pub codes: &'a mut [i8],
    /// Scales.
    pub scales: &'a mut [f32],
    /// Zero points.
    pub zeros: &'a mut [i8],
}

/// What a task needs.
struct Scratch {
    tile: Tile,
    /// `[columns]`
    taken: Buffer,
    /// `[width]`
    sums: Buffer,
    weights: Buffer,
    codes: Vec<[i8; PANEL]>,
    /// `[groups]`
    grids: Vec<(Lanes, Lanes)>,
}

/// GPTQ of weight `[rows, columns]`. Returns trace(D H Dᵀ).
pub fn gptq(context: &Context, weight: &[f32], factor: &Factor, groups: Groups, out: Quantised) -> f64 {
    let n = factor.columns;
    if weight.is_empty() {
        return 0.0;
    }
    let rows = weight.len() / n;
    let count = n.div_ceil(groups.size);
    // One group, or another order than that of the groups: scales are those of the weights as given.
    let fixed = factor.order.is_some() || count == 1;
    let width = if fixed { BLOCK } else { whole_groups(groups.size) }.min(n);
    let scratch = || Scratch {
        tile: Tile::default(),
        taken: Buffer::of::<f32>(n * PANEL),
        sums: Buffer::of::<f32>(width * PANEL),
        weights: Buffer::of::<f32>(width * PANEL),
        codes: vec![[0; PANEL]; width],
        grids: vec![([0.0; PANEL], [0.0; PANEL]); count],
    };
    let mut errors = vec![0.0; panels(rows)];
    let shared = Disjoint::new(&mut errors);
    let Quantised { codes, scales, zeros } = out;
    let (codes, scales, zeros) = (Disjoint::new(codes), Disjoint::new(scales), Disjoint::new(zeros));
    context.threads.run(panels(rows), scratch, |scratch, panel| {
        let own = panel_rows(panel, rows);
        // SAFETY: each panel belongs to one task, here and below.
        let error = &mut unsafe { shared.range(panel, 1) }[0];
        // SAFETY: as above.
        let codes = unsafe { codes.range(own.start * n, own.len() * n) };
        let given = &weight[own.start * n..own.end * n];
        if fixed {
            given_grids(context, given, n, groups, &mut scratch.grids);
        }
        // Each column of the panel holds the weights as given until what is taken from them replaces them.
        read_panel(context, weight, own.clone(), factor, &mut scratch.taken);
        let (taken, _) = scratch.taken.as_mut_slice::<f32>().as_chunks_mut::<PANEL>();
        for start in (0..n).step_by(width) {
            let block = start..n.min(start + width);
            let sums = &mut scratch.sums.as_mut_slice::<f32>().as_chunks_mut::<PANEL>().0[..block.len()];
            let weights = &mut scratch.weights.as_mut_slice::<f32>().as_chunks_mut::<PANEL>().0[..block.len()];
            sums_before(context, &mut scratch.tile, factor, block.clone(), taken, sums);
            weights.copy_from_slice(&taken[block.clone()]);
            let taken = &mut taken[start..block.end];
            let mut columns = Block::new(context, &mut scratch.tile, factor, start, sums, weights, taken);
            quantise_block(context.cpu, &mut columns, groups, fixed, &mut scratch.grids, &mut scratch.codes);
            *error += columns.error();
            for (lane, codes) in codes.chunks_exact_mut(n).enumerate() {
                if factor.order.is_none() {
                    let codes = &mut codes[block.clone()];
                    codes.iter_mut().zip(&scratch.codes).for_each(|(code, lanes)| *code = lanes[lane]);
                    continue;
                }
                for (lanes, position) in scratch.codes.iter().zip(block.clone()) {
                    codes[factor.column(position)] = lanes[lane];
                }
            }
        }
        // SAFETY: as above.
        let scales = unsafe { scales.range(own.start * count, own.len() * count) };
        // SAFETY: as above.
        let zeros = unsafe { zeros.range(own.start * count, own.len() * count) };
        for (lane, (scales, zeros)) in scales.chunks_exact_mut(count).zip(zeros.chunks_exact_mut(count)).enumerate() {
            for ((scale, zero), grid) in scales.iter_mut().zip(zeros).zip(&scratch.grids) {
                (*scale, *zero) = (grid.0[lane], grid.1[lane] as i8);
            }
        }
    });
    errors.iter().sum::<f64>().max(0.0)
}

/// The weights of a panel's rows, to panel `[columns]`.
fn read_panel(context: &Context, weight: &[f32], rows: Range<usize>, factor: &Factor, panel: &mut Buffer) {
    let n = factor.columns;
    if factor.order.is_some() {
        let panel = &mut panel.as_mut_slice::<f32>().as_chunks_mut::<PANEL>().0[..n];
        return read_block(weight, rows, factor, 0..n, panel);
    }
    let source = Source::new(DType::F32, weight.len() / n, n, bytes_of(weight)).expect("the weight has whole rows");
    let rows: [_; PANEL] = std::array::from_fn(|lane| {
        let row = rows.start + lane;
        (row < rows.end).then_some((source, row))
    });
    pack_panel(context.cpu, &rows, n, Format::F32, &mut panel.as_mut_slice::<u32>()[..n * PANEL]);
}

/// Grids of the weights `[rows, columns]` as they are, to grids `[groups]`.
fn given_grids(context: &Context, weight: &[f32], columns: usize, groups: Groups, grids: &mut [(Lanes, Lanes)]) {
    for (lane, row) in weight.chunks_exact(columns).enumerate() {
        for (values, grid) in row.chunks(groups.size).zip(&mut *grids) {
            let mut range = (0.0, 0.0);
            range_of(context.cpu, values, &mut range);
            let (scale, zero) = grid_of_range(range.0, range.1, groups.grid, groups.scale_dtype);
            (grid.0[lane], grid.1[lane]) = (scale, f32::from(zero));
        }
    }
}

multiversion! {
    /// Widens a range to hold some values.
    fn range_of(values: &[f32], range: &mut (f32, f32)) = range_of_body;
    fn quantise_block(
        block: &mut Block<'_>,
        groups: Groups,
        fixed: bool,
        grids: &mut [(Lanes, Lanes)],
        codes: &mut [[i8; PANEL]]
    ) = quantise_block_body;
}

#[inline(always)]
fn range_of_body(values: &[f32], range: &mut (f32, f32)) {
    let (lanes, rest) = values.as_chunks::<PANEL>();
    let (mut low, mut high) = ([range.0; PANEL], [range.1; PANEL]);
    for values in lanes {
        widen(values, &mut low, &mut high);
    }
    range.0 = low.iter().chain(rest).fold(range.0, |low, &value| low.min(value));
    range.1 = high.iter().chain(rest).fold(range.1, |high, &value| high.max(value));
}

#[inline(always)]
fn widen(values: &Lanes, low: &mut Lanes, high: &mut Lanes) {
    low.iter_mut().zip(values).for_each(|(low, &value)| *low = if value < *low { value } else { *low });
    high.iter_mut().zip(values).for_each(|(high, &value)| *high = if value > *high { value } else { *high });
}

#[inline(always)]
fn quantise_block_body(
    block: &mut Block<'_>,
    groups: Groups,
    fixed: bool,
    grids: &mut [(Lanes, Lanes)],
    codes: &mut [[i8; PANEL]],
) {
    for (k, codes) in codes.iter_mut().enumerate().take(block.width()) {
        let position = block.position(k);
        if !fixed && position.is_multiple_of(groups.size) {
            let (mut low, mut high) = ([0.0; PANEL], [0.0; PANEL]);
            for ahead in k..block.width().min(k + groups.size) {
                widen(&block.foresee(ahead), &mut low, &mut high);
            }
            let (scales, zeros) = &mut grids[position / groups.size];
            for lane in 0..PANEL {
                let (scale, zero) = grid_of_range(low[lane], high[lane], groups.grid, groups.scale_dtype);
                (scales[lane], zeros[lane]) = (scale, f32::from(zero));
            }
        }
        let (scales, zeros) = &grids[block.factor().column(position) / groups.size];
        let updated = block.updated(k);
        let mut values = [0.0; PANEL];
        for lane in 0..PANEL {
            let code = code_of(updated[lane], scales[lane], zeros[lane], groups.grid.bits);
            codes[lane] = code;
            values[lane] = scales[lane] * (f32::from(code) - zeros[lane]);
        }
        block.put(k, &values, &updated);
    }
}
