//! Weights rounded to nearest in the formats of quantised checkpoints.

use napi::Result;
use napi_derive::napi;

use super::{Engine, Output, check, check_apart, check_length, invalid, source};
use crate::codecs::DType;
use crate::expand::{Kind, Scaled, expand};
use crate::quantise::Grid;
use crate::{rounding, rounding_floats};

fn scale_dtype(name: &str) -> Result<DType> {
    let dtype = DType::from_name(name).filter(|dtype| matches!(dtype, DType::Bf16 | DType::F16 | DType::F32));
    dtype.ok_or_else(|| invalid(format!("scales of type {name}")))
}

#[napi]
impl Engine {
    /// The greatest magnitude of a weight `[rows, columns]`.
    #[napi(catch_unwind)]
    pub fn largest(&self, dtype: String, data: &[u8], rows: u32, columns: u32) -> Result<f64> {
        let source = source(&dtype, data, rows as usize, columns as usize)?;
        Ok(f64::from(rounding::largest(&self.0, source)))
    }

    /// Rounds a weight `[rows, columns]` to integers: codes in whole words for each row, scales and zeros
    /// `[rows, columns / group]`.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn round_integers(
        &self,
        dtype: String,
        data: &[u8],
        rows: u32,
        columns: u32,
        bits: u32,
        group: u32,
        symmetric: bool,
        scales_dtype: String,
        codes: Output<u8>,
        scales: Output<u8>,
        zeros: Output<i8>,
    ) -> Result<()> {
        let (rows, columns, group) = (rows as usize, columns as usize, group as usize);
        let source = source(&dtype, data, rows, columns)?;
        let scales_dtype = scale_dtype(&scales_dtype)?;
        check(bits == 4 || bits == 8, || format!("integers of {bits} bits"))?;
        let groups = columns.checked_div(group).unwrap_or(0);
        check(groups * group == columns, || format!("{columns} columns are no groups of {group}"))?;
        check_apart(codes, data, "codes")?;
        check_apart(scales, data, "scales")?;
        check_apart(zeros, data, "zeros")?;
        check_length(codes, &[rows, rounding::packed_bytes(columns, bits)], "codes")?;
        check_length(scales, &[rows, groups, scales_dtype.bytes()], "scales")?;
        check_length(zeros, &[rows, groups], "zeros")?;
        rounding::integers(&self.0, source, Grid { bits, symmetric }, group, scales_dtype, codes, scales, zeros);
        Ok(())
    }

    /// Rounds a weight `[rows, columns]` to E4M3 with a scale for each block.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn round_e4m3(
        &self,
        dtype: String,
        data: &[u8],
        rows: u32,
        columns: u32,
        block_rows: u32,
        block_columns: u32,
        scales_dtype: String,
        powers_of_two: bool,
        codes: Output<u8>,
        scales: Output<u8>,
    ) -> Result<()> {
        let (rows, columns) = (rows as usize, columns as usize);
        let block = (block_rows as usize, block_columns as usize);
        let source = source(&dtype, data, rows, columns)?;
        let scales_dtype = scale_dtype(&scales_dtype)?;
        check(block.0 > 0 && block.1 > 0, || format!("blocks of {block:?}"))?;
        check_apart(codes, data, "codes")?;
        check_apart(scales, data, "scales")?;
        check_length(codes, &[rows, columns], "codes")?;
        let lengths = [rows.div_ceil(block.0), columns.div_ceil(block.1), scales_dtype.bytes()];
        check_length(scales, &lengths, "scales")?;
        rounding_floats::e4m3(&self.0, source, block, scales_dtype, powers_of_two, codes, scales);
        Ok(())
    }

    /// Rounds a weight `[rows, columns]` to E2M1: NVFP4 where `global` is given, else MXFP4.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn round_e2m1(
        &self,
        dtype: String,
        data: &[u8],
        rows: u32,
        columns: u32,
        global: Option<f64>,
        codes: Output<u8>,
        scales: Output<u8>,
    ) -> Result<()> {
        let (rows, columns) = (rows as usize, columns as usize);
        let source = source(&dtype, data, rows, columns)?;
        let group = if global.is_some() { 16 } else { 32 };
        check(columns % group == 0, || format!("{columns} columns are no groups of {group}"))?;
        check_apart(codes, data, "codes")?;
        check_apart(scales, data, "scales")?;
        check_length(codes, &[rows, columns / 2], "codes")?;
        check_length(scales, &[rows, columns / group], "scales")?;
        match global {
            Some(global) => rounding_floats::nvfp4(&self.0, source, global as f32, codes, scales),
            None => rounding_floats::mxfp4(&self.0, source, codes, scales),
        }
        Ok(())
    }

    /// Values of codes with their factors, in bytes of `out_dtype`; returns whether all are finite.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn expand(
        &self,
        kind: String,
        codes: &[u8],
        rows: u32,
        columns: u32,
        block_rows: u32,
        block_columns: u32,
        factors: &[f32],
        zeros: Option<&[i8]>,
        first_row: u32,
        out_dtype: String,
        out: Output<u8>,
    ) -> Result<bool> {
        let (rows, columns, first_row) = (rows as usize, columns as usize, first_row as usize);
        let block = (block_rows as usize, block_columns as usize);
        let kind = Kind::from_name(&kind).ok_or_else(|| invalid(format!("there are no codes \"{kind}\"")))?;
        let dtype = scale_dtype(&out_dtype)?;
        check(block.0 > 0 && block.1 > 0, || format!("blocks of {block:?}"))?;
        check_length(codes, &[rows, kind.row_bytes(columns)], "codes")?;
        check_length(out, &[rows, columns, dtype.bytes()], "values")?;
        check_apart(out, codes, "values")?;
        check_apart(out, factors, "values")?;
        let needed = (first_row + rows).div_ceil(block.0) * columns.div_ceil(block.1);
        check(factors.len() >= needed, || format!("{} factors, {needed} are needed", factors.len()))?;
        if let Some(zeros) = zeros {
            check_length(zeros, &[factors.len()], "zeros")?;
            check_apart(out, zeros, "values")?;
        }
        let scaled = Scaled { kind, codes, rows, columns, block, factors, zeros, first_row };
        Ok(expand(&self.0, scaled, dtype, out))
    }
}
