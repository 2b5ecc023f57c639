//! Some rows of an array, read where they lie: the tokens of an expert among those of a layer.

use crate::layouts::{LINE, fill_panel, transpose_rows};
use crate::memory::Disjoint;
use crate::packed::PANEL;
use crate::product::{Context, Rows, panel_columns};

/// Rows of an array `[*, columns]`: all of them or, in their order, some.
#[derive(Clone, Copy)]
pub struct Picked<'a> {
    values: &'a [f32],
    columns: usize,
    rows: Option<&'a [i32]>,
}

impl<'a> Picked<'a> {
    /// Rows of `values`; `rows` are below their number.
    pub fn new(values: &'a [f32], columns: usize, rows: Option<&'a [i32]>) -> Self {
        Self { values, columns, rows }
    }

    /// All rows.
    pub fn all(values: &'a [f32], columns: usize) -> Self {
        Self::new(values, columns, None)
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.map_or_else(|| self.values.len() / self.columns.max(1), <[i32]>::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The array that the rows are in, as an operand of products.
    pub fn operand(&self) -> Rows<'a> {
        Rows::float32(self.values, self.columns)
    }

    /// Where a row is in the array.
    pub fn place(&self, row: usize) -> usize {
        self.rows.map_or(row, |rows| rows[row].cast_unsigned() as usize)
    }

    /// A row.
    pub fn row(&self, row: usize) -> &'a [f32] {
        let start = self.place(row) * self.columns;
        &self.values[start..start + self.columns]
    }

    /// Rows `first` and up to `most` of them.
    pub fn part(&self, first: usize, most: usize) -> Self {
        let end = self.len().min(first + most);
        match self.rows {
            Some(rows) => Self { rows: Some(&rows[first..end]), ..*self },
            None => Self { values: &self.values[first * self.columns..end * self.columns], ..*self },
        }
    }

    /// `[rows, columns]` to `[columns, rows]`.
    pub fn transpose(&self, context: &Context, out: &mut [f32]) {
        let count = self.len();
        let out = Disjoint::new(out);
        context.threads.pieces(self.columns.div_ceil(LINE), 2, |lines| {
            let columns = lines.start * LINE..self.columns.min(lines.end * LINE);
            // SAFETY: pieces are disjoint.
            let out = unsafe { out.range(columns.start * count, columns.len() * count) };
            transpose_rows(|row| &self.row(row)[columns.clone()], count, columns.len(), count, out);
        });
    }

    /// `[rows, columns]` to panels `[rows, 64]`, missing columns zero.
    pub fn split_panels(&self, context: &Context, out: &mut [f32]) {
        let count = self.len();
        let out = Disjoint::new(out);
        context.threads.run(
            self.columns.div_ceil(PANEL),
            || (),
            |(), panel| {
                let columns = panel_columns(panel, self.columns);
                // SAFETY: each task has its own panel.
                let out = unsafe { out.range(panel * PANEL * count, PANEL * count) };
                fill_panel(|row| &self.row(row)[columns.clone()], count, out);
            },
        );
    }
}
