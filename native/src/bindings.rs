//! The border to JavaScript: checks every shape, so that the operations below may rely on them.
//!
//! Functions are synchronous and call nothing back. They read and write typed arrays in place; results go into arrays
//! that JavaScript has allocated. A shape that does not fit is an error with the code `InvalidArg`; a panic becomes an
//! error too.

// Node-API hands strings over as owned values; methods belong to the engine even where they need nothing of it.
#![allow(clippy::needless_pass_by_value, clippy::unused_self)]

use std::collections::HashMap;

use napi::bindgen_prelude::ClassInstance;
use napi::{Error, Result, Status};
use napi_derive::napi;

use crate::attention::{Shape, attention};
use crate::cache::{Cache, Segment};
use crate::cached_attention::{CachedShape, attend_cached};
use crate::codecs::{DType, Order, Source, add_scaled_row};
use crate::dispatch::Cpu;
use crate::experts::{ActivationSums, Biases, Experts, Routing, expert_activation, routed};
use crate::gated_product::add_gated_product;
use crate::math::Activation;
use crate::memory::{Buffer, Disjoint};
use crate::packed::{Format, Packed};
use crate::picked::Picked;
use crate::picked_product::{product_of_picked, subtract_product};
use crate::product::{Context, head_linear, linear};
use crate::softmax::Sight;
use crate::threads::Threads;
use crate::{assignment, memory, peak, sums};

mod descent;
mod elementwise;
mod recurrent;
mod rounding;
mod weights;

/// An array of JavaScript that a function writes to.
type Output<'a, T> = &'a mut [T];

fn invalid(message: impl ToString) -> Error {
    Error::new(Status::InvalidArg, message)
}

fn check(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(invalid(message())) }
}

/// Number of rows of an array of rows of `columns` numbers.
fn rows_of<T>(values: &[T], columns: usize, what: &str) -> Result<usize> {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    check(rows * columns == values.len(), || format!("{what}: {} values are not rows of {columns}", values.len()))?;
    Ok(rows)
}

/// Checks that an array has `factors[0] * factors[1] * ...` numbers.
fn check_length<T>(values: &[T], factors: &[usize], what: &str) -> Result<()> {
    let length = factors.iter().try_fold(1_usize, |product, &factor| product.checked_mul(factor));
    check(length == Some(values.len()), || format!("{what}: {} values are not {factors:?}", values.len()))
}

/// Checks that an output shares no memory with an input.
fn check_apart<T, U>(output: &[T], input: &[U], what: &str) -> Result<()> {
    let (output, input) = (output.as_ptr_range(), input.as_ptr_range());
    let apart = output.end.cast::<u8>() <= input.start.cast() || input.end.cast::<u8>() <= output.start.cast();
    check(apart || output.is_empty() || input.is_empty(), || format!("{what}: an output shares memory with an input"))
}

fn check_indices(indices: &[i32], count: usize, what: &str) -> Result<()> {
    let outside = indices.iter().find(|&&index| usize::try_from(index).map_or(true, |index| index >= count));
    outside.map_or(Ok(()), |index| Err(invalid(format!("{what}: index {index} is not below {count}"))))
}

/// Rows of an array of rows of `columns` numbers: all of them, or those that are given.
fn picked<'a>(values: &'a [f32], columns: usize, rows: Option<&'a [i32]>, what: &str) -> Result<Picked<'a>> {
    let count = rows_of(values, columns, what)?;
    if let Some(rows) = rows {
        check_indices(rows, count, what)?;
    }
    Ok(Picked::new(values, columns, rows))
}

fn source<'a>(dtype: &str, data: &'a [u8], rows: usize, columns: usize) -> Result<Source<'a>> {
    let dtype = DType::from_name(dtype).ok_or_else(|| invalid(format!("{dtype} is not a floating-point type")))?;
    Source::new(dtype, rows, columns, data).map_err(invalid)
}

/// A window or chunk of 0 means none.
fn sight(window: u32, chunk: u32) -> Sight {
    let limit = |size: u32| if size == 0 { usize::MAX } else { size as usize };
    Sight { window: limit(window), chunk: limit(chunk) }
}

fn check_sinks(sinks: Option<&[f32]>, heads: usize, out: &[f32], what: &str) -> Result<()> {
    let Some(sinks) = sinks else { return Ok(()) };
    check_length(sinks, &[heads], &format!("{what}: sinks"))?;
    check_apart(out, sinks, what)
}

/// Reads segments `[segments, 4]` and checks them against what the cache will keep after they are appended.
fn check_segments(cache: &Cache, segments: &[u32]) -> Result<Vec<Segment>> {
    let read = |&[sequence, tokens, prefix, length]: &[u32; 4]| {
        let prefix = (length > 0).then_some((prefix, length as usize));
        Segment { sequence, tokens: tokens as usize, prefix }
    };
    let segments: Vec<_> = segments.as_chunks::<4>().0.iter().map(read).collect();
    let mut added = HashMap::new();
    for &Segment { sequence, tokens, .. } in &segments {
        let again = added.insert(sequence, tokens).is_some();
        check(!again, || format!("attendCached: sequence {sequence} is in two segments"))?;
    }
    for &Segment { sequence, prefix, .. } in &segments {
        let Some((prefix, length)) = prefix else { continue };
        check(prefix != sequence, || format!("attendCached: sequence {sequence} is its own prefix"))?;
        let kept = cache.length(prefix) + added.get(&prefix).copied().unwrap_or(0);
        check(length <= kept, || {
            format!("attendCached: sequence {prefix} has {kept} tokens, of which {length} cannot be a prefix")
        })?;
    }
    Ok(segments)
}

/// How JavaScript names an activation; `alpha` belongs to `clamped_swiglu`, `limit` to it and to `clamped_silu`.
#[napi(object, object_to_js = false)]
pub struct ActivationKind {
    /// Its name.
    pub kind: String,
    /// Factor inside the sigmoid.
    pub alpha: Option<f64>,
    /// Bound of gate and up values.
    pub limit: Option<f64>,
}

fn activation_of(activation: &ActivationKind) -> Result<Activation> {
    let &ActivationKind { ref kind, alpha, limit } = activation;
    if kind == "clamped_swiglu" {
        let (alpha, limit) = (alpha.unwrap_or(f64::NAN), limit.unwrap_or(f64::NAN));
        let fits = alpha.is_finite() && limit >= 0.0;
        check(fits, || format!("alpha {alpha} and limit {limit} are not those of an activation"))?;
        return Ok(Activation::ClampedSwiglu { alpha: alpha as f32, limit: limit as f32 });
    }
    if kind == "clamped_silu" {
        let limit = limit.unwrap_or(f64::NAN);
        check(limit >= 0.0, || format!("limit {limit} is not that of an activation"))?;
        return Ok(Activation::ClampedSilu { limit: limit as f32 });
    }
    Activation::from_name(kind).ok_or_else(|| invalid(format!("there is no activation \"{kind}\"")))
}

/// Names of the instruction sets that this machine supports, best first.
#[napi]
pub fn cpu_variants() -> Vec<&'static str> {
    Cpu::supported().into_iter().map(Cpu::name).collect()
}

/// Version of this library, to be compared with that of the package that loads it.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Version of the compiler that built this library.
#[napi]
pub fn compiler() -> &'static str {
    env!("REAM_COMPILER")
}

/// A weight made ready for products.
#[napi]
pub struct PackedMatrix(Option<Packed>);

#[napi]
impl PackedMatrix {
    /// Gives the memory back. The matrix cannot be used any more.
    #[napi]
    pub fn dispose(&mut self) {
        self.0 = None;
    }
}

impl PackedMatrix {
    fn get(&self, context: &Context) -> Result<&Packed> {
        let matrix = self.0.as_ref().ok_or_else(|| invalid("the matrix was disposed"))?;
        check(matrix.format == context.format, || "the matrix belongs to a backend of another precision".into())?;
        Ok(matrix)
    }
}

/// The routed experts of a layer made ready for products.
#[napi]
pub struct PackedExperts(Option<Experts>, Context);

#[napi]
impl PackedExperts {
    /// Adds the next expert: gate (where the experts have them), up `[width, hidden]`, down `[hidden, width]`, and their
    /// biases.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn push(
        &mut self,
        gate_dtype: Option<String>,
        gate: Option<&[u8]>,
        up_dtype: String,
        up: &[u8],
        down_dtype: String,
        down: &[u8],
        gate_bias: Option<&[f32]>,
        up_bias: Option<&[f32]>,
        down_bias: Option<&[f32]>,
    ) -> Result<()> {
        let Self(experts, context) = self;
        let experts = experts.as_mut().ok_or_else(|| invalid("the experts were disposed"))?;
        let (hidden, width) = (experts.hidden, experts.width);
        let gate = gate_dtype.zip(gate).map(|(dtype, data)| source(&dtype, data, width, hidden)).transpose()?;
        check(gate.is_some() == experts.gated(), || "experts: all have a gate or none has one".into())?;
        check(gate.is_some() || gate_bias.is_none(), || "experts: a bias of a gate that is not there".into())?;
        let up = source(&up_dtype, up, width, hidden)?;
        let down = source(&down_dtype, down, hidden, width)?;
        for (bias, size) in [(gate_bias, width), (up_bias, width), (down_bias, hidden)] {
            bias.map_or(Ok(()), |bias| check_length(bias, &[size], "experts: bias"))?;
        }
        let biases = Biases { gate: gate_bias, up: up_bias, down: down_bias };
        experts.push(context, gate, [up, down], biases);
        Ok(())
    }

    /// Takes an expert of others as the next one, without a copy.
    #[napi(catch_unwind)]
    pub fn share(&mut self, from: &PackedExperts, expert: u32) -> Result<()> {
        let Self(experts, context) = self;
        let experts = experts.as_mut().ok_or_else(|| invalid("the experts were disposed"))?;
        let (from, expert) = from.get_expert(context, expert)?;
        check(experts.share(from, expert), || "experts: an expert of another form is shared".into())
    }

    /// Gives the memory back that no others share. The experts cannot be used any more.
    #[napi]
    pub fn dispose(&mut self) {
        self.0 = None;
    }
}

impl PackedExperts {
    fn get(&self, context: &Context) -> Result<&Experts> {
        let experts = self.0.as_ref().ok_or_else(|| invalid("the experts were disposed"))?;
        check(self.1.format == context.format, || "the experts belong to a backend of another precision".into())?;
        Ok(experts)
    }

    fn get_expert(&self, context: &Context, expert: u32) -> Result<(&Experts, usize)> {
        let experts = self.get(context)?;
        let index = expert as usize;
        check(index < experts.count(), || format!("there is no expert {index} among {}", experts.count()))?;
        Ok((experts, index))
    }
}

/// Keys and values that a layer keeps.
#[napi]
pub struct KeyValues(Option<Cache>, Format);

#[napi]
impl KeyValues {
    /// Bytes in use.
    #[napi(getter)]
    pub fn bytes(&self) -> f64 {
        self.0.as_ref().map_or(0.0, |cache| cache.bytes() as f64)
    }

    /// Tokens of a sequence.
    #[napi]
    pub fn length(&self, sequence: u32) -> f64 {
        self.0.as_ref().map_or(0.0, |cache| cache.length(sequence) as f64)
    }

    /// Forgets the tokens of a sequence from `length` on.
    #[napi(catch_unwind)]
    pub fn truncate(&mut self, sequence: u32, length: u32) {
        if let Some(cache) = &mut self.0 {
            cache.truncate(sequence, length as usize);
        }
    }

    /// Gives the memory back. The cache cannot be used any more.
    #[napi]
    pub fn dispose(&mut self) {
        self.0 = None;
    }
}

impl KeyValues {
    fn get_mut(&mut self, context: &Context) -> Result<&mut Cache> {
        let cache = self.0.as_mut().ok_or_else(|| invalid("the cache was disposed"))?;
        check(self.1 == context.format, || "the cache belongs to a backend of another precision".into())?;
        Ok(cache)
    }
}

/// The operations, with an instruction set, a number of threads and a precision.
#[napi]
pub struct Engine(Context);

#[napi]
impl Engine {
    /// `bfloat16`: whether products with weights round their inputs to bfloat16. `threads`: 0 for all. `variant`: name
    /// of the instruction set; undefined for the best.
    #[napi(constructor, catch_unwind)]
    pub fn new(bfloat16: bool, threads: u32, variant: Option<String>) -> Result<Self> {
        let cpu = Cpu::select(variant.as_deref()).map_err(invalid)?;
        let threads = Threads::new(threads as usize).map_err(invalid)?;
        Ok(Self(Context { cpu, threads, format: Format::new(cpu, bfloat16) }))
    }

    /// Name of the instruction set.
    #[napi(getter)]
    pub fn variant(&self) -> &'static str {
        self.0.cpu.name()
    }

    /// Number of threads.
    #[napi(getter)]
    pub fn threads(&self) -> u32 {
        self.0.threads.count() as u32
    }

    /// Bytes of freed buffers that are kept for the next ones, of all engines together.
    #[napi(getter)]
    pub fn kept_bytes(&self) -> f64 {
        memory::kept_bytes() as f64
    }

    /// Packs a weight `[rows, columns]`.
    #[napi(catch_unwind)]
    pub fn matrix(&self, dtype: String, data: &[u8], rows: u32, columns: u32) -> Result<PackedMatrix> {
        let source = source(&dtype, data, rows as usize, columns as usize)?;
        Ok(PackedMatrix(Some(Packed::new(self.0.cpu, &self.0.threads, self.0.format, source))))
    }

    /// Sum of the words of a packed weight, for measurements: its time is that of reading the weight.
    #[napi(catch_unwind)]
    pub fn checksum(&self, matrix: &PackedMatrix) -> Result<u32> {
        Ok(matrix.get(&self.0)?.checksum(self.0.cpu, &self.0.threads))
    }

    /// Products in the first-level cache, for measurements; returns the number of operations.
    #[napi(catch_unwind)]
    pub fn peak(&self, rounds: u32) -> f64 {
        peak::peak(&self.0, rounds as usize)
    }

    /// No experts yet, to which `push` adds.
    #[napi(catch_unwind)]
    pub fn experts(&self, hidden: u32, width: u32, activation: ActivationKind, gated: bool) -> Result<PackedExperts> {
        let experts = Experts::new(hidden as usize, width as usize, activation_of(&activation)?, gated);
        Ok(PackedExperts(Some(experts), self.0.clone()))
    }

    /// x times the transposed matrix plus bias.
    #[napi(catch_unwind)]
    pub fn linear(&self, x: &[f32], matrix: &PackedMatrix, bias: Option<&[f32]>, out: Output<f32>) -> Result<()> {
        let matrix = matrix.get(&self.0)?;
        let tokens = rows_of(x, matrix.columns, "linear")?;
        check_length(out, &[tokens, matrix.rows], "linear: output")?;
        check_apart(out, x, "linear")?;
        if let Some(bias) = bias {
            check_length(bias, &[matrix.rows], "linear: bias")?;
            check_apart(out, bias, "linear")?;
        }
        linear(&self.0, x, matrix, bias, out);
        Ok(())
    }

    /// x times the transposed matrix of each head.
    #[napi(catch_unwind)]
    pub fn head_linear(&self, x: &[f32], heads: Vec<ClassInstance<PackedMatrix>>, out: Output<f32>) -> Result<()> {
        let heads = heads.iter().map(|matrix| matrix.get(&self.0)).collect::<Result<Vec<_>>>()?;
        let &first = heads.first().ok_or_else(|| invalid("headLinear: there are no heads"))?;
        let alike = heads.iter().all(|head| (head.rows, head.columns) == (first.rows, first.columns));
        check(alike, || "headLinear: the heads have different shapes".into())?;
        let size = heads.len().checked_mul(first.columns).ok_or_else(|| invalid("headLinear: heads are too large"))?;
        let tokens = rows_of(x, size, "headLinear")?;
        check_length(out, &[tokens, heads.len(), first.rows], "headLinear: output")?;
        check_apart(out, x, "headLinear")?;
        head_linear(&self.0, x, &heads, out);
        Ok(())
    }

    /// Causal attention; `window` 0: all earlier positions.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn attention(
        &self,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        sequences: u32,
        length: u32,
        heads: u32,
        key_value_heads: u32,
        head_size: u32,
        value_size: u32,
        scale: f64,
        window: u32,
        chunk: u32,
        sinks: Option<&[f32]>,
        mask: Option<&[u8]>,
        out: Output<f32>,
    ) -> Result<()> {
        let shape = Shape {
            sequences: sequences as usize,
            length: length as usize,
            heads: heads as usize,
            key_value_heads: key_value_heads as usize,
            head_size: head_size as usize,
            value_size: value_size as usize,
            scale: scale as f32,
            sight: sight(window, chunk),
            sinks,
            mask,
        };
        let Shape { sequences, length, heads, key_value_heads, head_size, value_size, .. } = shape;
        check(key_value_heads > 0 && heads % key_value_heads == 0, || {
            format!("attention: {heads} heads cannot share {key_value_heads} heads of keys")
        })?;
        check_length(q, &[sequences, length, heads, head_size], "attention: q")?;
        check_length(k, &[sequences, length, key_value_heads, head_size], "attention: k")?;
        check_length(v, &[sequences, length, key_value_heads, value_size], "attention: v")?;
        check_length(out, &[sequences, length, heads, value_size], "attention: output")?;
        check_sinks(sinks, heads, out, "attention")?;
        if let Some(mask) = mask {
            check_length(mask, &[sequences, length], "attention: mask")?;
            check_apart(out, mask, "attention")?;
        }
        for input in [q, k, v] {
            check_apart(out, input, "attention")?;
        }
        attention(&self.0, q, k, v, shape, out);
        Ok(())
    }

    /// An empty cache of keys and values.
    #[napi(catch_unwind)]
    pub fn key_value_cache(&self, key_value_heads: u32, head_size: u32, value_size: u32) -> Result<KeyValues> {
        let (heads, head_size, value_size) = (key_value_heads as usize, head_size as usize, value_size as usize);
        check(heads > 0 && head_size > 0 && value_size > 0, || {
            format!("keyValueCache: {heads} heads of {head_size} and {value_size} keep nothing")
        })?;
        // Larger ones could overflow the size of a page.
        check(heads.saturating_mul(head_size.max(value_size)) <= 1 << 24, || {
            format!("keyValueCache: {heads} heads of {head_size} are too large")
        })?;
        Ok(KeyValues(Some(Cache::new(&self.0, heads, head_size, value_size)), self.0.format))
    }

    /// Appends to a cache and attends to it. `segments` `[segments, 4]`: sequence, tokens, sequence of the prefix and
    /// its length, 0 where there is none; `window` 0: all earlier positions.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn attend_cached(
        &self,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        cache: &mut KeyValues,
        segments: &[u32],
        heads: u32,
        scale: f64,
        window: u32,
        chunk: u32,
        sinks: Option<&[f32]>,
        out: Output<f32>,
    ) -> Result<()> {
        let cache = cache.get_mut(&self.0)?;
        let heads = heads as usize;
        check(heads > 0 && heads.is_multiple_of(cache.heads), || {
            format!("attendCached: {heads} heads cannot share {} heads of keys", cache.heads)
        })?;
        rows_of(segments, 4, "attendCached: segments")?;
        check_apart(out, segments, "attendCached")?;
        let segments = check_segments(cache, segments)?;
        let tokens = segments.iter().map(|segment| segment.tokens).sum();
        check_length(q, &[tokens, heads, cache.head_size], "attendCached: q")?;
        check_length(k, &[tokens, cache.heads, cache.head_size], "attendCached: k")?;
        check_length(v, &[tokens, cache.heads, cache.value_size], "attendCached: v")?;
        check_length(out, &[tokens, heads, cache.value_size], "attendCached: output")?;
        check_sinks(sinks, heads, out, "attendCached")?;
        for input in [q, k, v] {
            check_apart(out, input, "attendCached")?;
        }
        let shape = CachedShape { heads, scale: scale as f32, sight: sight(window, chunk), sinks };
        attend_cached(&self.0, cache, q, k, v, &segments, shape, out);
        Ok(())
    }

    /// The routed block.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn routed(
        &self,
        x: &[f32],
        experts: &PackedExperts,
        top_k: u32,
        selected: &[i32],
        weights: &[f32],
        scales_inputs: bool,
        output: Output<f32>,
        norms: Output<f32>,
        factors: Option<&[f32]>,
        sums: Option<Output<f64>>,
    ) -> Result<()> {
        let experts = experts.get(&self.0)?;
        let tokens = rows_of(x, experts.hidden, "routed")?;
        let top_k = top_k as usize;
        check_length(selected, &[tokens, top_k], "routed: selected")?;
        check_length(weights, &[tokens, top_k], "routed: weights")?;
        check_length(output, &[x.len()], "routed: output")?;
        check_length(norms, &[tokens, top_k], "routed: norms")?;
        check_indices(selected, experts.count(), "routed: selected")?;
        for out in [&*output, &*norms] {
            check_apart(out, x, "routed")?;
            check_apart(out, weights, "routed")?;
            check_apart(out, selected, "routed")?;
        }
        check_apart(output, norms, "routed")?;
        check(!scales_inputs || experts.can_scale_inputs(), || {
            "routed: inputs of experts with biases of gate or up are not scaled".into()
        })?;
        let activations = match (factors, sums) {
            (Some(factors), Some(sums)) => {
                check_length(factors, &[tokens, top_k], "routed: factors")?;
                check_length(sums, &[experts.count(), experts.width], "routed: sums")?;
                check_apart(sums, factors, "routed")?;
                Some(ActivationSums { factors, sums })
            }
            _ => None,
        };
        let routing = Routing { top_k, selected, weights, scales_inputs };
        routed(&self.0, x, experts, routing, output, norms, activations);
        Ok(())
    }

    /// Activation of one expert for all tokens.
    #[napi(catch_unwind)]
    pub fn expert_activation(&self, x: &[f32], experts: &PackedExperts, expert: u32, out: Output<f32>) -> Result<()> {
        let (experts, expert) = experts.get_expert(&self.0, expert)?;
        let tokens = rows_of(x, experts.hidden, "expertActivation")?;
        check_length(out, &[tokens, experts.width], "expertActivation: output")?;
        check_apart(out, x, "expertActivation")?;
        expert_activation(&self.0, x, experts, expert, out);
        Ok(())
    }

    /// Outputs of one expert for given activations.
    #[napi(catch_unwind)]
    pub fn expert_down(
        &self,
        activation: &[f32],
        experts: &PackedExperts,
        expert: u32,
        out: Output<f32>,
    ) -> Result<()> {
        let (experts, expert) = experts.get_expert(&self.0, expert)?;
        let tokens = rows_of(activation, experts.width, "expertDown")?;
        check_length(out, &[tokens, experts.hidden], "expertDown: output")?;
        check_apart(out, activation, "expertDown")?;
        linear(&self.0, activation, experts.down(expert), experts.down_bias(expert), out);
        Ok(())
    }

    /// Adds weighted sums of gated activations.
    #[napi(catch_unwind)]
    pub fn add_gated_activations(
        &self,
        sums: Output<f64>,
        x: &[f32],
        experts: &PackedExperts,
        factors: Option<&[f32]>,
    ) -> Result<()> {
        let experts = experts.get(&self.0)?;
        let tokens = rows_of(x, experts.hidden, "addGatedActivations")?;
        check_length(sums, &[experts.count(), experts.width], "addGatedActivations: sums")?;
        check_apart(sums, x, "addGatedActivations")?;
        if let Some(factors) = factors {
            check_length(factors, &[tokens, experts.count()], "addGatedActivations: factors")?;
            check_apart(sums, factors, "addGatedActivations")?;
        }
        sums::add_gated_activations(&self.0, sums, x, experts, factors);
        Ok(())
    }

    /// Adds sums of cosines between outputs.
    #[napi(catch_unwind)]
    pub fn add_output_cosines(&self, sums: Output<f64>, x: &[f32], experts: &PackedExperts) -> Result<()> {
        let experts = experts.get(&self.0)?;
        rows_of(x, experts.hidden, "addOutputCosines")?;
        check_length(sums, &[experts.count(), experts.count()], "addOutputCosines: sums")?;
        check_apart(sums, x, "addOutputCosines")?;
        sums::add_output_cosines(&self.0, sums, x, experts);
        Ok(())
    }

    /// Adds aᵀ b, for some rows of either where they are given.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn add_transposed_product(
        &self,
        sums: Output<f64>,
        a: &[f32],
        b: &[f32],
        m: u32,
        n: u32,
        a_rows: Option<&[i32]>,
        b_rows: Option<&[i32]>,
    ) -> Result<()> {
        let (m, n) = (m as usize, n as usize);
        let picked_a = picked(a, m, a_rows, "addTransposedProduct: a")?;
        let picked_b = picked(b, n, b_rows, "addTransposedProduct: b")?;
        let same = m == 0 || n == 0 || picked_a.len() == picked_b.len();
        check(same, || format!("addTransposedProduct: {} rows and {} rows", picked_a.len(), picked_b.len()))?;
        check_length(sums, &[m, n], "addTransposedProduct: sums")?;
        check_apart(sums, a, "addTransposedProduct")?;
        check_apart(sums, b, "addTransposedProduct")?;
        sums::add_transposed_product(&self.0, sums, picked_a, picked_b);
        Ok(())
    }

    /// Adds the squares of the columns of rows.
    #[napi(catch_unwind)]
    pub fn add_column_squares(&self, sums: Output<f64>, rows: &[f32]) -> Result<()> {
        rows_of(rows, sums.len(), "addColumnSquares")?;
        check_apart(sums, rows, "addColumnSquares")?;
        sums::add_column_squares(&self.0, sums, rows);
        Ok(())
    }

    /// a bᵀ in float32, for some rows of a where they are given, each number times its factor where they are.
    #[napi(catch_unwind)]
    pub fn product(
        &self,
        a: &[f32],
        b: &[f32],
        k: u32,
        rows: Option<&[i32]>,
        factors: Option<&[f32]>,
        out: Output<f32>,
    ) -> Result<()> {
        let k = k as usize;
        let (picked, n) = (picked(a, k, rows, "product: a")?, rows_of(b, k, "product: b")?);
        check_length(out, &[picked.len(), n], "product: output")?;
        check_apart(out, a, "product")?;
        check_apart(out, b, "product")?;
        if let Some(factors) = factors {
            check_length(factors, &[out.len()], "product: factors")?;
            check_apart(out, factors, "product")?;
        }
        product_of_picked(&self.0, picked, b, factors, out);
        Ok(())
    }

    /// Adds sum over rows x of (f ∘ G (f ∘ V x)) xᵀ.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn add_gated_product(
        &self,
        sums: Output<f64>,
        x: &[f32],
        rows: &[i32],
        factors: &[f32],
        v: &[f32],
        g: &[f32],
        columns: u32,
    ) -> Result<()> {
        let columns = columns as usize;
        let picked = picked(x, columns, Some(rows), "addGatedProduct: x")?;
        let width = rows_of(v, columns, "addGatedProduct: v")?;
        check_length(factors, &[rows.len(), width], "addGatedProduct: factors")?;
        check_length(g, &[width, width], "addGatedProduct: g")?;
        check_length(sums, &[width, columns], "addGatedProduct: sums")?;
        for input in [x, factors, v, g] {
            check_apart(sums, input, "addGatedProduct")?;
        }
        check_apart(sums, rows, "addGatedProduct")?;
        add_gated_product(&self.0, sums, picked, factors, v, g);
        Ok(())
    }

    /// Takes a bᵀ from some rows.
    #[napi(catch_unwind)]
    pub fn subtract_product(&self, values: Output<f32>, rows: &[i32], a: &[f32], b: &[f32], k: u32) -> Result<()> {
        let k = k as usize;
        let n = rows_of(b, k, "subtractProduct: b")?;
        check_length(a, &[rows.len(), k], "subtractProduct: a")?;
        let count = rows_of(values, n, "subtractProduct: values")?;
        check_indices(rows, count, "subtractProduct: rows")?;
        let mut seen = vec![false; count];
        let again = rows.iter().find(|&&row| std::mem::replace(&mut seen[row.cast_unsigned() as usize], true));
        again.map_or(Ok(()), |row| Err(invalid(format!("subtractProduct: row {row} comes twice"))))?;
        check_apart(values, rows, "subtractProduct")?;
        check_apart(values, a, "subtractProduct")?;
        check_apart(values, b, "subtractProduct")?;
        subtract_product(&self.0, values, rows, a, b, k);
        Ok(())
    }

    /// Linear assignment: the column of each row, for each cost.
    #[napi(catch_unwind)]
    pub fn assignment(&self, cost: &[f64], n: u32, out: Output<i32>) -> Result<()> {
        let n = n as usize;
        let count = cost.len().checked_div(n * n).unwrap_or(0);
        check_length(cost, &[count, n, n], "assignment")?;
        check_length(out, &[count, n], "assignment: output")?;
        let found = assignment::assignments(&self.0.threads, cost, n, out);
        check(found, || "assignment: a cost is not a finite number".into())
    }

    /// Adds factor * tensor; `axis` is "rows", "columns" or, without an order, undefined.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn add_scaled(
        &self,
        sums: Output<f32>,
        dtype: String,
        data: &[u8],
        rows: u32,
        columns: u32,
        factor: f64,
        axis: Option<String>,
        order: Option<&[i32]>,
    ) -> Result<()> {
        let (rows, columns) = (rows as usize, columns as usize);
        let source = source(&dtype, data, rows, columns)?;
        check_length(sums, &[rows, columns], "addScaled: sums")?;
        check_apart(sums, data, "addScaled")?;
        let order = order.unwrap_or_default();
        check_apart(sums, order, "addScaled")?;
        let (order, length) = match axis.as_deref() {
            None => (Order::Same, 0),
            Some("rows") => (Order::Rows(order), rows),
            Some("columns") => (Order::Columns(order), columns),
            Some(axis) => return Err(invalid(format!("addScaled: there is no axis \"{axis}\""))),
        };
        if let Order::Rows(indices) | Order::Columns(indices) = order {
            check_length(indices, &[length], "addScaled: order")?;
            check_indices(indices, length, "addScaled: order")?;
        }
        let (cpu, sums) = (self.0.cpu, Disjoint::new(sums));
        self.0.threads.run(
            rows,
            || Buffer::of::<f32>(columns),
            |scratch, row| {
                // SAFETY: each row belongs to one task.
                let sums = unsafe { sums.range(row * columns, columns) };
                add_scaled_row(cpu, sums, source, row, factor, order, scratch.as_mut_slice());
            },
        );
        Ok(())
    }
}
