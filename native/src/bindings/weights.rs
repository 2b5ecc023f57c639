//! The border of the operations on weights by the Gram matrix of their inputs.

use napi::Result;
use napi_derive::napi;

use super::{Engine, Output, check, check_apart, check_indices, check_length, invalid, picked, rows_of};
use crate::codecs::DType;
use crate::factor::Factor;
use crate::gptq::{Groups, Quantised, gptq};
use crate::gram::{add_gram, output_error};
use crate::quantise::Grid;
use crate::smallest::zero_smallest;
use crate::solve::solve_gram;
use crate::sparsegpt::{Pattern, sparsegpt};

/// A Gram matrix's factor.
#[napi]
pub struct GramFactor(Option<Factor>);

#[napi]
impl GramFactor {
    /// Gives the memory back. The factor cannot be used any more.
    #[napi]
    pub fn dispose(&mut self) {
        self.0 = None;
    }
}

impl GramFactor {
    /// The factor, and the rows of a weight that fits it.
    fn of(&self, weight: &[f32], what: &str) -> Result<(&Factor, usize)> {
        let factor = self.0.as_ref().ok_or_else(|| invalid("the factor was disposed"))?;
        Ok((factor, rows_of(weight, factor.columns, what)?))
    }
}

#[napi]
impl Engine {
    /// Adds xᵀ x to the upper triangle of sums, or puts it there, for some rows where they are given.
    #[napi(catch_unwind)]
    pub fn add_gram(&self, sums: Output<f64>, x: &[f32], columns: u32, anew: bool, rows: Option<&[i32]>) -> Result<()> {
        let columns = columns as usize;
        let picked = picked(x, columns, rows, "addGram")?;
        check_length(sums, &[columns, columns], "addGram: sums")?;
        check_apart(sums, x, "addGram")?;
        add_gram(&self.0, sums, picked, anew);
        Ok(())
    }

    /// trace(D H Dᵀ).
    #[napi(catch_unwind)]
    pub fn output_error(&self, difference: &[f32], gram: &[f64], columns: u32) -> Result<f64> {
        let columns = columns as usize;
        rows_of(difference, columns, "outputError")?;
        check_length(gram, &[columns, columns], "outputError: gram")?;
        Ok(output_error(&self.0, difference, gram, columns))
    }

    /// Zeroes the smallest weights of each span.
    #[napi(catch_unwind)]
    pub fn zero_smallest(
        &self,
        weight: Output<f32>,
        columns: u32,
        span: u32,
        zeros: u32,
        norms: Option<&[f32]>,
    ) -> Result<()> {
        let (columns, span, zeros) = (columns as usize, span as usize, zeros as usize);
        rows_of(weight, columns, "zeroSmallest")?;
        let fits = span == weight.len() || (span > 0 && columns.is_multiple_of(span));
        check(fits && zeros <= span, || format!("zeroSmallest: {zeros} of {span} do not fit rows of {columns}"))?;
        if let Some(norms) = norms {
            check_length(norms, &[columns], "zeroSmallest: norms")?;
            check_apart(weight, norms, "zeroSmallest")?;
        }
        zero_smallest(&self.0, weight, columns, span, zeros, norms);
        Ok(())
    }

    /// Factors a Gram matrix and what is added to its diagonal; none if they are not positive definite.
    #[napi(catch_unwind)]
    pub fn factor_gram(&self, gram: &[f64], added: &[f64], order: Option<&[i32]>) -> Result<Option<GramFactor>> {
        let n = added.len();
        check_length(gram, &[n, n], "factorGram")?;
        if let Some(order) = order {
            check_length(order, &[n], "factorGram: order")?;
            check_indices(order, n, "factorGram: order")?;
        }
        Ok(Factor::new(&self.0, gram, added, order).map(|factor| GramFactor(Some(factor))))
    }

    /// Replaces B `[rows, columns]` by the X with X H = B.
    #[napi(catch_unwind)]
    pub fn solve_gram(&self, factor: &GramFactor, x: Output<f32>) -> Result<()> {
        let (factor, _) = factor.of(x, "solveGram")?;
        check(factor.order.is_none(), || "solveGram: the factor has an order".into())?;
        solve_gram(&self.0, factor, x);
        Ok(())
    }

    /// `SparseGPT` in place, with `counts` of blocks of `size` columns, else `zeros` in each run of `size`. Returns the
    /// error.
    #[napi(catch_unwind)]
    pub fn sparsegpt(
        &self,
        weight: Output<f32>,
        factor: &GramFactor,
        size: u32,
        counts: Option<&[i32]>,
        zeros: u32,
    ) -> Result<f64> {
        let (size, zeros) = (size as usize, zeros as usize);
        let (factor, rows) = factor.of(weight, "sparsegpt")?;
        check(factor.order.is_none(), || "sparsegpt: the factor has an order".into())?;
        check(size > 0, || "sparsegpt: blocks of 0 columns".into())?;
        let columns = factor.columns;
        let pattern = if let Some(counts) = counts {
            check_length(counts, &[columns.div_ceil(size)], "sparsegpt: counts")?;
            for (block, &count) in counts.iter().enumerate() {
                let weights = rows * (columns.min((block + 1) * size) - block * size);
                let fits = usize::try_from(count).is_ok_and(|count| count <= weights);
                check(fits, || format!("sparsegpt: {count} of {weights} weights"))?;
            }
            Pattern::Blocks(size, counts)
        } else {
            let fits = columns.is_multiple_of(size) && zeros <= size;
            check(fits, || format!("sparsegpt: {zeros} of {size} do not fit rows of {columns}"))?;
            Pattern::Runs(zeros, size)
        };
        Ok(sparsegpt(&self.0, weight, factor, pattern))
    }

    /// GPTQ with groups of `group` columns. Returns the error.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn gptq(
        &self,
        weight: &[f32],
        factor: &GramFactor,
        bits: u32,
        symmetric: bool,
        group: u32,
        scale_dtype: String,
        codes: Output<i8>,
        scales: Output<f32>,
        zeros: Output<i8>,
    ) -> Result<f64> {
        let (factor, rows) = factor.of(weight, "gptq")?;
        check(bits == 4 || bits == 8, || format!("gptq: {bits} bits"))?;
        check(group > 0, || "gptq: groups of 0 columns".into())?;
        let scale_dtype = DType::from_name(&scale_dtype)
            .filter(|dtype| matches!(dtype, DType::F32 | DType::F16 | DType::Bf16))
            .ok_or_else(|| invalid(format!("gptq: scales of type {scale_dtype}")))?;
        let groups = Groups { grid: Grid { bits, symmetric }, scale_dtype, size: group as usize };
        let count = factor.columns.div_ceil(groups.size);
        check_length(codes, &[weight.len()], "gptq: codes")?;
        check_length(scales, &[rows, count], "gptq: scales")?;
        check_length(zeros, &[rows, count], "gptq: zeros")?;
        check_apart(codes, weight, "gptq")?;
        check_apart(scales, weight, "gptq")?;
        check_apart(zeros, weight, "gptq")?;
        check_apart(codes, zeros, "gptq")?;
        check_apart(codes, scales, "gptq")?;
        check_apart(zeros, scales, "gptq")?;
        Ok(gptq(&self.0, weight, factor, groups, Quantised { codes, scales, zeros }))
    }
}
