//! Linear attention with a decay for each head: constant in lightning attention (Qin et al. 2024), another at each token in
//! Mamba-2 (Dao & Gu 2024).

use crate::dispatch::multiversion;
use crate::math::exp;
use crate::product::Context;
use crate::recurrent::{COLUMNS, Panel, Segment, Shape, scan};

/// S = e^decay S + k vᵀ, o = Sᵀ q for the tokens of each segment; `log_decay` `[heads]` or `[tokens, heads]`.
pub fn linear_attention(
    context: &Context,
    qkv: &[f32],
    log_decay: &[f32],
    shape: Shape,
    segments: &[Segment],
    out: &mut [f32],
) {
    let constant = log_decay.len() == shape.value_heads;
    scan(context, qkv, shape, segments, out, |panel, token, head, values, outputs| {
        let (q, k) = qkv[token * shape.row()..][..2 * shape.keys()].split_at(shape.keys());
        let part = shape.key_head(head) * shape.key_size..(shape.key_head(head) + 1) * shape.key_size;
        let decay = if constant { head } else { token * shape.value_heads + head };
        attend(context.cpu, panel, &q[part.clone()], &k[part], exp(log_decay[decay]), values, outputs);
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
