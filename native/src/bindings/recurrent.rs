//! The border of the operations that carry a state from token to token.

use napi::Result;
use napi_derive::napi;

use super::{Engine, Output, check, check_apart, check_length, invalid, rows_of};
use crate::convolution::{Filter, convolution};
use crate::delta_rule::delta_rule;
use crate::linear_attention::linear_attention;
use crate::memory::Disjoint;
use crate::recurrent::{Segment, Shape};

/// The state of each segment, or none.
type States<'a> = Vec<Option<Output<'a, f32>>>;

#[napi]
impl Engine {
    /// Causal depthwise convolution. `tokens` `[segments]`, states `[kernel - 1, channels]`.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn convolution(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        kernel: u32,
        silu: bool,
        tokens: &[u32],
        states: Vec<Option<&mut [f32]>>,
        out: Output<f32>,
    ) -> Result<()> {
        let kernel = kernel as usize;
        check(kernel > 0, || "convolution: a kernel of 0 tokens sees nothing".into())?;
        let channels = rows_of(weight, kernel, "convolution: weight")?;
        let rows = rows_of(x, channels, "convolution")?;
        check_length(out, &[x.len()], "convolution: output")?;
        let bias_or_empty = bias.unwrap_or_default();
        bias.map_or(Ok(()), |bias| check_length(bias, &[channels], "convolution: bias"))?;
        let inputs = [x, weight, bias_or_empty];
        let segments = segments(tokens, states, rows, &[kernel - 1, channels], &inputs, out, "convolution")?;
        convolution(&self.0, x, Filter { weight, bias, kernel, silu }, &segments, out);
        Ok(())
    }

    /// Gated delta rule. `tokens` `[segments]`, states `[value_heads, key_size, value_size]`.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn delta_rule(
        &self,
        qkv: &[f32],
        log_decay: &[f32],
        beta: &[f32],
        key_heads: u32,
        value_heads: u32,
        key_size: u32,
        value_size: u32,
        tokens: &[u32],
        states: Vec<Option<&mut [f32]>>,
        out: Output<f32>,
    ) -> Result<()> {
        let [key_heads, value_heads, key_size, value_size] =
            [key_heads, value_heads, key_size, value_size].map(|size| size as usize);
        let shape = Shape { key_heads, value_heads, key_size, value_size };
        let rows = check_heads(qkv, shape, out, "deltaRule")?;
        check_length(beta, &[rows, value_heads], "deltaRule: beta")?;
        if log_decay.len() != beta.len() {
            check_length(log_decay, &[rows, value_heads, key_size], "deltaRule: logDecay")?;
        }
        let state = [value_heads, key_size, value_size];
        let segments = segments(tokens, states, rows, &state, &[qkv, log_decay, beta], out, "deltaRule")?;
        delta_rule(&self.0, qkv, log_decay, beta, shape, &segments, out);
        Ok(())
    }

    /// Linear attention. `tokens` `[segments]`, states `[value_heads, key_size, value_size]`.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn linear_attention(
        &self,
        qkv: &[f32],
        log_decay: &[f32],
        key_heads: u32,
        value_heads: u32,
        key_size: u32,
        value_size: u32,
        tokens: &[u32],
        states: Vec<Option<&mut [f32]>>,
        out: Output<f32>,
    ) -> Result<()> {
        let [key_heads, value_heads, key_size, value_size] =
            [key_heads, value_heads, key_size, value_size].map(|size| size as usize);
        let shape = Shape { key_heads, value_heads, key_size, value_size };
        let rows = check_heads(qkv, shape, out, "linearAttention")?;
        if log_decay.len() != value_heads {
            check_length(log_decay, &[rows, value_heads], "linearAttention: logDecay")?;
        }
        let state = [value_heads, key_size, value_size];
        let segments = segments(tokens, states, rows, &state, &[qkv, log_decay], out, "linearAttention")?;
        linear_attention(&self.0, qkv, log_decay, shape, &segments, out);
        Ok(())
    }
}

/// Checks tokens and outputs of heads; returns the number of tokens.
fn check_heads(qkv: &[f32], shape: Shape, out: &[f32], what: &str) -> Result<usize> {
    let Shape { key_heads, value_heads, key_size, value_size } = shape;
    check(key_heads > 0 && value_heads > 0 && value_heads.is_multiple_of(key_heads), || {
        format!("{what}: {value_heads} heads of values cannot share {key_heads} heads of keys")
    })?;
    check(key_size > 0 && value_size > 0, || format!("{what}: heads of {key_size} and {value_size} are empty"))?;
    let keys = key_heads.checked_mul(key_size).and_then(|keys| keys.checked_mul(2));
    let values = value_heads.checked_mul(value_size);
    let row = keys.zip(values).and_then(|(keys, values)| keys.checked_add(values));
    let row = row.ok_or_else(|| invalid(format!("{what}: heads are too large")))?;
    let tokens = rows_of(qkv, row, what)?;
    check_length(out, &[tokens, value_heads, value_size], &format!("{what}: output"))?;
    Ok(tokens)
}

/// Checks that segments cover all rows, with a state of the given shape each, and that what is written shares no memory
/// with an input or something else that is written. Segments without tokens are left out.
fn segments<'a>(
    tokens: &[u32],
    states: States<'a>,
    rows: usize,
    state_shape: &[usize],
    inputs: &[&[f32]],
    out: &[f32],
    what: &str,
) -> Result<Vec<Segment<'a>>> {
    check_length(&states, &[tokens.len()], &format!("{what}: states"))?;
    let covered: usize = tokens.iter().map(|&tokens| tokens as usize).sum();
    check(covered == rows, || format!("{what}: segments of {covered} tokens do not cover {rows}"))?;
    let mut written: Vec<_> = states.iter().flatten().map(|state| &**state).collect();
    for state in &written {
        check_length(state, state_shape, &format!("{what}: state"))?;
    }
    written.push(out);
    for array in &written {
        inputs.iter().try_for_each(|input| check_apart(array, input, what))?;
        check_apart(array, tokens, what)?;
    }
    written.sort_by_key(|array| array.as_ptr());
    written.windows(2).try_for_each(|pair| check_apart(pair[0], pair[1], what))?;
    let mut first = 0;
    let place = |(&tokens, state): (&u32, Option<&'a mut [f32]>)| {
        let tokens = tokens as usize;
        first += tokens;
        Segment { first: first - tokens, tokens, state: state.map(Disjoint::new) }
    };
    Ok(tokens.iter().zip(states).map(place).filter(|segment| segment.tokens > 0).collect())
}
