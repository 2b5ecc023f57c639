//! The border of operations on rows and numbers.

use napi::Result;
use napi_derive::napi;

use super::{
    ActivationKind, Engine, Output, activation_of, check, check_apart, check_indices, check_length, invalid, rows_of,
};
use crate::choose_experts::{Groups, Rule, choose_experts};
use crate::elementwise;

/// How experts are chosen and weighed.
#[napi(object, object_to_js = false)]
pub struct ExpertChoice {
    /// Experts of a token.
    pub top_k: u32,
    /// Groups that experts are chosen from.
    pub groups: Option<ExpertGroups>,
    /// Whether weights are divided by their sum,
    pub normalise: bool,
    /// to which this is added,
    pub epsilon: Option<f64>,
    /// and which is at least this.
    pub floor: Option<f64>,
    /// Factor on the weights.
    pub scale: Option<f64>,
}

/// Groups of experts.
#[napi(object, object_to_js = false)]
pub struct ExpertGroups {
    /// Number of groups.
    pub count: u32,
    /// Groups that a token uses.
    pub kept: u32,
    /// `max` or `sum-of-two`: what they are ranked by.
    pub score: String,
}

/// Checks the arrays of a rotation; returns the number of tokens.
fn check_rotation(x: &[f32], heads: usize, head_size: usize, length: usize, cos: &[f32], sin: &[f32]) -> Result<usize> {
    let size = heads.checked_mul(head_size).ok_or_else(|| invalid("rotate: heads are too large"))?;
    let tokens = rows_of(x, size, "rotate")?;
    let half = rows_of(cos, length, "rotate: cos")?;
    check_length(sin, &[cos.len()], "rotate: sin")?;
    check(tokens == 0 || length > 0, || "rotate: sequences of length 0 have no tokens".into())?;
    check(2 * half <= head_size, || format!("rotate: {} dimensions do not fit a head of {head_size}", 2 * half))?;
    check_apart(x, cos, "rotate")?;
    check_apart(x, sin, "rotate")?;
    Ok(tokens)
}

fn groups_of(groups: &ExpertGroups, experts: usize) -> Result<Groups> {
    let (count, kept) = (groups.count as usize, groups.kept as usize);
    let best = match groups.score.as_str() {
        "max" => 1,
        "sum-of-two" => 2,
        other => return Err(invalid(format!("chooseExperts: groups are not ranked by {other}"))),
    };
    let fits = count > 0 && experts.is_multiple_of(count) && experts / count >= best && (1..=count).contains(&kept);
    check(fits, || format!("chooseExperts: {experts} experts are not {count} groups, {kept} of them kept"))?;
    Ok(Groups { count, kept, best })
}

#[napi]
impl Engine {
    /// Root mean square norm of rows.
    #[napi(catch_unwind)]
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], epsilon: f64, out: Output<f32>) -> Result<()> {
        rows_of(x, weight.len(), "rmsNorm")?;
        check_length(out, &[x.len()], "rmsNorm: output")?;
        check_apart(out, x, "rmsNorm")?;
        check_apart(out, weight, "rmsNorm")?;
        elementwise::rms_norm(&self.0, x, weight, epsilon, out);
        Ok(())
    }

    /// Norm of rows by their mean and variance.
    #[napi(catch_unwind)]
    pub fn layer_norm(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        epsilon: f64,
        out: Output<f32>,
    ) -> Result<()> {
        rows_of(x, weight.len(), "layerNorm")?;
        check_length(out, &[x.len()], "layerNorm: output")?;
        check_apart(out, x, "layerNorm")?;
        check_apart(out, weight, "layerNorm")?;
        if let Some(bias) = bias {
            check_length(bias, &[weight.len()], "layerNorm: bias")?;
            check_apart(out, bias, "layerNorm")?;
        }
        elementwise::layer_norm(&self.0, x, weight, bias, epsilon, out);
        Ok(())
    }

    /// Rotary embedding in place; the position of a token is its index modulo `length`.
    #[allow(clippy::too_many_arguments)]
    #[napi(catch_unwind)]
    pub fn rotate(
        &self,
        x: Output<f32>,
        heads: u32,
        head_size: u32,
        length: u32,
        adjacent: bool,
        cos: &[f32],
        sin: &[f32],
    ) -> Result<()> {
        let (heads, head_size, length) = (heads as usize, head_size as usize, length as usize);
        check_rotation(x, heads, head_size, length, cos, sin)?;
        elementwise::rotate(&self.0, x, heads, head_size, length, adjacent, |token| token % length, cos, sin);
        Ok(())
    }

    /// Rotary embedding in place, with the position of each token given.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn rotate_at(
        &self,
        x: Output<f32>,
        heads: u32,
        head_size: u32,
        length: u32,
        adjacent: bool,
        positions: &[i32],
        cos: &[f32],
        sin: &[f32],
    ) -> Result<()> {
        let (heads, head_size, length) = (heads as usize, head_size as usize, length as usize);
        let tokens = check_rotation(x, heads, head_size, length, cos, sin)?;
        check_length(positions, &[tokens], "rotateAt: positions")?;
        check_indices(positions, length, "rotateAt: positions")?;
        check_apart(x, positions, "rotateAt")?;
        let position = |token: usize| positions[token].cast_unsigned() as usize;
        elementwise::rotate(&self.0, x, heads, head_size, length, adjacent, position, cos, sin);
        Ok(())
    }

    /// Softmax of rows.
    #[napi(catch_unwind)]
    pub fn softmax(&self, logits: &[f32], columns: u32, out: Output<f32>) -> Result<()> {
        rows_of(logits, columns as usize, "softmax")?;
        check_length(out, &[logits.len()], "softmax: output")?;
        check_apart(out, logits, "softmax")?;
        elementwise::softmax(&self.0, logits, columns as usize, out);
        Ok(())
    }

    /// Gated activations.
    #[napi(catch_unwind)]
    pub fn gated(&self, gate: &[f32], up: &[f32], activation: ActivationKind, out: Output<f32>) -> Result<()> {
        check_length(up, &[gate.len()], "gated: up")?;
        check_length(out, &[gate.len()], "gated: output")?;
        check_apart(out, gate, "gated")?;
        check_apart(out, up, "gated")?;
        elementwise::gated(&self.0, gate, up, activation_of(&activation)?, out);
        Ok(())
    }

    /// sums = factor * sums + `terms_factor` * terms, computed in float64.
    #[napi(catch_unwind)]
    pub fn combine(&self, sums: Output<f32>, factor: f64, terms: &[f32], terms_factor: f64) -> Result<()> {
        check_length(terms, &[sums.len()], "combine: terms")?;
        check_apart(sums, terms, "combine")?;
        elementwise::combine(&self.0, sums, factor, terms, terms_factor);
        Ok(())
    }

    /// Experts and their weights, by numbers and scores of all experts.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn choose_experts(
        &self,
        numbers: &[f32],
        scores: &[f32],
        bias: Option<&[f32]>,
        experts: u32,
        choice: ExpertChoice,
        selected: Output<i32>,
        weights: Output<f32>,
    ) -> Result<()> {
        let (experts, top_k) = (experts as usize, choice.top_k as usize);
        let tokens = rows_of(numbers, experts, "chooseExperts")?;
        check(top_k <= experts, || format!("chooseExperts: {top_k} of {experts} experts"))?;
        check_length(scores, &[numbers.len()], "chooseExperts: scores")?;
        bias.map_or(Ok(()), |bias| check_length(bias, &[experts], "chooseExperts: bias"))?;
        check_length(selected, &[tokens, top_k], "chooseExperts: selected")?;
        check_length(weights, &[tokens, top_k], "chooseExperts: weights")?;
        for input in [Some(numbers), Some(scores), bias].into_iter().flatten() {
            check_apart(selected, input, "chooseExperts")?;
            check_apart(weights, input, "chooseExperts")?;
        }
        check_apart(selected, weights, "chooseExperts")?;
        let groups = choice.groups.map(|groups| groups_of(&groups, experts)).transpose()?;
        let rule = Rule {
            experts,
            top_k,
            bias,
            groups,
            normalise: choice.normalise,
            epsilon: choice.epsilon.unwrap_or(0.0),
            floor: choice.floor.unwrap_or(0.0),
            scale: choice.scale.unwrap_or(1.0),
        };
        choose_experts(&self.0, numbers, scores, &rule, selected, weights);
        Ok(())
    }
}
