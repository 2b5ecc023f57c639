//! Lightning attention (Qin et al. 2024): linear attention with a constant decay for each head.

use crate::dispatch::multiversion;
use crate::math::exp;
use crate::product::Context;
use crate::recurrent::{COLUMNS, Panel, Segment, Shape, scan};

/// S = e^decay S + k vᵀ, o = Sᵀ q for the tokens of each segment; `log_decay` `[heads]`.
pub fn linear_attention(
    context: &Context,
    qkv: &[f32],
    log_decay: &[f32],
    shape: Shape,
    segments: &[Segment],
    out: &mut [f32],
) {
    scan(context, qkv, shape, segments, out, |panel, token, head, values, outputs| {
        let (q, k) = qkv[token * shape.row()..][..2 * shape.keys()].split_at(shape.keys());
        let part = head * shape.key_size..(head + 1) * shape.key_size;
        attend(context.cpu, panel, &q[part.clone()], &k[part], exp(log_decay[head]), values, outputs);
    });
}

multiversion! {
    /// One token at the columns of a panel.
    fn attend(
        panel: &mut Panel,
        q: &[f32],
        k: &[f32],
        decay: f32,
        values: &[f32; COLUMNS],
        outputs: &mut [f32; COLUMNS],
    ) = attend_body;
}

#[inline(always)]
fn attend_body(
    panel: &mut Panel,
    q: &[f32],
    k: &[f32],
    decay: f32,
    values: &[f32; COLUMNS],
    outputs: &mut [f32; COLUMNS],
) {
    let mut sums = [0.0; COLUMNS];
    for ((row, &q), &k) in panel.iter_mut().zip(q).zip(k) {
        for ((state, value), sum) in row.iter_mut().zip(values).zip(&mut sums) {
            *state = *state * decay + k * value;
            *sum += q * *state;
        }
    }
    *outputs = sums;
}
