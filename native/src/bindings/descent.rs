//! The border of refits by descent.

use napi::Result;
use napi_derive::napi;

use super::{ActivationKind, Engine, Output, activation_of, check, check_apart, check_indices, check_length, rows_of};
use crate::adam::{Moments, adam_step};
use crate::expert_gradients::{Batch, ExpertWeights, Gradients, expert_gradients};

#[napi]
impl Engine {
    /// Gradients of half the sum of the squares of what experts leave of outputs; returns that sum.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn expert_gradients(
        &self,
        hidden: u32,
        width: u32,
        activation: ActivationKind,
        gate: Option<&[f32]>,
        up: &[f32],
        down: &[f32],
        gate_bias: Option<&[f32]>,
        up_bias: Option<&[f32]>,
        down_bias: Option<&[f32]>,
        x: &[f32],
        y: &[f32],
        rows: &[i32],
        offsets: &[i32],
        tokens: &[i32],
        factors: &[f32],
        input_factors: Option<&[f32]>,
        by_gate: Option<Output<f32>>,
        by_up: Output<f32>,
        by_down: Output<f32>,
    ) -> Result<f64> {
        let (hidden, width) = (hidden as usize, width as usize);
        check(hidden > 0 && width > 0, || "expertGradients: experts of no size".into())?;
        let count = offsets.len().saturating_sub(1);
        let size = [count, width, hidden];
        let inputs = [Some(up), Some(down), gate, by_gate.as_deref(), Some(by_up), Some(by_down)];
        for values in inputs.into_iter().flatten() {
            check_length(values, &size, "expertGradients: a matrix")?;
        }
        check(gate.is_some() == by_gate.is_some(), || "expertGradients: a gate and its gradient come together".into())?;
        for (bias, size) in [(gate_bias, width), (up_bias, width), (down_bias, hidden)] {
            bias.map_or(Ok(()), |bias| check_length(bias, &[count, size], "expertGradients: a bias"))?;
        }
        let known = rows_of(x, hidden, "expertGradients: x")?;
        check_length(y, &[known, hidden], "expertGradients: y")?;
        check_indices(rows, known, "expertGradients: rows")?;
        check_indices(tokens, rows.len(), "expertGradients: tokens")?;
        let ascend = offsets.is_sorted() && offsets.first() == Some(&0);
        let end = offsets.last().is_some_and(|&end| usize::try_from(end) == Ok(tokens.len()));
        check(ascend && end, || format!("expertGradients: offsets do not cut {} pairs", tokens.len()))?;
        for factors in [Some(factors), input_factors].into_iter().flatten() {
            check_length(factors, &[tokens.len()], "expertGradients: factors")?;
        }
        for output in [by_gate.as_deref(), Some(&*by_up), Some(&*by_down)].into_iter().flatten() {
            for input in [Some(up), Some(down), gate, gate_bias, up_bias, down_bias, Some(x), Some(y), Some(factors)] {
                input.map_or(Ok(()), |input| check_apart(output, input, "expertGradients"))?;
            }
        }
        let activation = activation_of(&activation)?;
        let weights = ExpertWeights { gate, up, down, gate_bias, up_bias, down_bias, hidden, width, activation };
        let batch = Batch { x, y, rows, offsets, tokens, factors, input_factors };
        let mut gradients = Gradients { gate: by_gate, up: by_up, down: by_down };
        Ok(expert_gradients(&self.0, &weights, &batch, &mut gradients))
    }

    /// A step of Adam.
    #[napi(catch_unwind)]
    pub fn adam_step(
        &self,
        weights: Output<f32>,
        gradients: &[f32],
        first: Output<f32>,
        second: Output<f32>,
        sizes: &[f32],
        step: u32,
    ) -> Result<()> {
        let all = [weights.len()];
        check_length(gradients, &all, "adamStep: gradients")?;
        check_length(first, &all, "adamStep: first moments")?;
        check_length(second, &all, "adamStep: second moments")?;
        rows_of(weights, sizes.len(), "adamStep: weights")?;
        check(step > 0, || "adamStep: steps are counted from 1".into())?;
        for input in [gradients, sizes, &*second] {
            check_apart(first, input, "adamStep")?;
            check_apart(weights, input, "adamStep")?;
        }
        check_apart(weights, first, "adamStep")?;
        check_apart(second, gradients, "adamStep")?;
        adam_step(&self.0, weights, gradients, &mut Moments { first, second }, sizes, step);
        Ok(())
    }
}
