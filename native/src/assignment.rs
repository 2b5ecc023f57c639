//! Linear assignment by shortest augmenting paths (Jonker & Volgenant 1987, in the form of Crouse 2016 that scipy uses;
//! ties are resolved alike).

use std::sync::atomic::{AtomicBool, Ordering};

use crate::memory::Disjoint;
use crate::threads::Threads;

/// Solves each of some costs `[count, n, n]`, to out `[count, n]`. False where a cost is not a finite number.
pub fn assignments(threads: &Threads, cost: &[f64], n: usize, out: &mut [i32]) -> bool {
    let finite = AtomicBool::new(true);
    let count = out.len().checked_div(n).unwrap_or(0);
    let out = Disjoint::new(out);
    threads.run(
        count,
        || (),
        |(), task| match assignment(&cost[task * n * n..(task + 1) * n * n], n) {
            // SAFETY: each of them belongs to one task.
            Some(columns) => unsafe { out.range(task * n, n) }.copy_from_slice(&columns),
            None => finite.store(false, Ordering::Relaxed),
        },
    );
    finite.into_inner()
}

/// The column of each row in the assignment that minimises the sum of `cost[row * n + column]`, or `None` where a cost
/// is not a finite number. O(n³).
pub fn assignment(cost: &[f64], n: usize) -> Option<Vec<i32>> {
    const NONE: usize = usize::MAX;
    let mut row_potential = vec![0.0; n];
    let mut column_potential = vec![0.0; n];
    let mut column_of_row = vec![NONE; n];
    let mut row_of_column = vec![NONE; n];
    let mut path = vec![NONE; n];
    let mut shortest = vec![f64::INFINITY; n];
    let mut visited_rows = Vec::with_capacity(n);
    let mut visited_columns = Vec::with_capacity(n);
    let mut remaining = Vec::with_capacity(n);
    for start in 0..n {
        shortest.fill(f64::INFINITY);
        visited_rows.clear();
        visited_columns.clear();
        remaining.clear();
        remaining.extend((0..n).rev());
        let mut lowest = 0.0;
        let mut row = start;
        let sink = loop {
            visited_rows.push(row);
            let costs = &cost[row * n..(row + 1) * n];
            let mut best = NONE;
            let mut best_cost = f64::INFINITY;
            for (index, &column) in remaining.iter().enumerate() {
                let reduced = lowest + costs[column] - row_potential[row] - column_potential[column];
                if reduced < shortest[column] {
                    path[column] = row;
                    shortest[column] = reduced;
                }
                // Among equally near columns a free one ends the search at once.
                let nearest = shortest[column];
                if nearest < best_cost || (same(nearest, best_cost) && row_of_column[column] == NONE) {
                    best_cost = nearest;
                    best = index;
                }
            }
            if !best_cost.is_finite() {
                return None;
            }
            lowest = best_cost;
            let column = remaining.swap_remove(best);
            visited_columns.push(column);
            match row_of_column[column] {
                NONE => break column,
                owner => row = owner,
            }
        };
        row_potential[start] += lowest;
        for &row in &visited_rows[1..] {
            row_potential[row] += lowest - shortest[column_of_row[row]];
        }
        for &column in &visited_columns {
            column_potential[column] -= lowest - shortest[column];
        }
        let mut column = sink;
        loop {
            let row = path[column];
            row_of_column[column] = row;
            let next = std::mem::replace(&mut column_of_row[row], column);
            if row == start {
                break;
            }
            column = next;
        }
    }
    Some(column_of_row.into_iter().map(|column| i32::try_from(column).expect("n fits an int32")).collect())
}

/// Exact equality: ties are what is asked for.
#[allow(clippy::float_cmp)]
fn same(a: f64, b: f64) -> bool {
    a == b
}

#[cfg(test)]
mod tests {
    use super::assignment;

    #[test]
    fn known_assignments() {
        assert_eq!(assignment(&[4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0], 3), Some(vec![1, 0, 2]));
        assert_eq!(
            assignment(&[0.0; 16], 4).map(|mut p| {
                p.sort_unstable();
                p
            }),
            Some(vec![0, 1, 2, 3])
        );
        assert_eq!(assignment(&[], 0), Some(vec![]));
    }

    #[test]
    fn costs_that_are_not_finite_are_refused() {
        assert_eq!(assignment(&[f64::NAN; 4], 2), None);
        assert_eq!(assignment(&[f64::INFINITY; 4], 2), None);
    }
}
