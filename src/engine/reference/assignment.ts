/** Solves each of some costs `[count, n, n]`: `[count, n]` (backend.ts, `assignment`). */
export function assignments(costs: Float64Array, n: number): Int32Array {
  const count = n === 0 ? 0 : costs.length / n ** 2;
  if (!Number.isInteger(count)) throw new RangeError(`assignment: ${costs.length} costs are not of ${n} x ${n}`);
  const columns = new Int32Array(count * n);
  for (let i = 0; i < count; i++) columns.set(assignment(costs.subarray(i * n * n, (i + 1) * n * n), n), i * n);
  return columns;
}

/**
 * Linear assignment by shortest augmenting paths (Jonker & Volgenant 1987, in the form of Crouse 2016 that scipy uses,
 * ties resolved alike): the permutation p that minimises sum_i cost[i, p[i]].
 *
 * @param cost `[n, n]`, finite
 */
export function assignment(cost: Float64Array, n: number): Int32Array {
  if (!cost.every(Number.isFinite)) throw new RangeError("assignment: a cost is not a finite number");
  if (cost.length !== n * n) throw new RangeError(`assignment: ${cost.length} costs are not ${n} x ${n}`);
  const rowPotential = new Float64Array(n);
  const columnPotential = new Float64Array(n);
  const columnOfRow = new Int32Array(n).fill(-1);
  const rowOfColumn = new Int32Array(n).fill(-1);
  const path = new Int32Array(n);
  const shortest = new Float64Array(n);
  const rowSeen = new Uint8Array(n);
  const columnSeen = new Uint8Array(n);
  const remaining = new Int32Array(n);

  for (let start = 0; start < n; start++) {
    rowSeen.fill(0);
    columnSeen.fill(0);
    shortest.fill(Infinity);
    for (let i = 0; i < n; i++) remaining[i] = n - i - 1;
    let left = n;
    let lowest = 0;
    let row = start;
    let sink = -1;
    while (sink === -1) {
      rowSeen[row] = 1;
      let best = -1;
      let bestCost = Infinity;
      for (let k = 0; k < left; k++) {
        const column = remaining[k]!;
        const reduced = lowest + cost[row * n + column]! - rowPotential[row]! - columnPotential[column]!;
        if (reduced < shortest[column]!) {
          path[column] = row;
          shortest[column] = reduced;
        }
        // Among equally near columns a free one ends the search at once.
        if (shortest[column]! < bestCost || (shortest[column] === bestCost && rowOfColumn[column] === -1)) {
          bestCost = shortest[column]!;
          best = k;
        }
      }
      if (!Number.isFinite(bestCost)) throw new RangeError("assignment: a cost is not a finite number");
      lowest = bestCost;
      const column = remaining[best]!;
      if (rowOfColumn[column] === -1) sink = column;
      else row = rowOfColumn[column]!;
      columnSeen[column] = 1;
      remaining[best] = remaining[--left]!;
    }
    rowPotential[start]! += lowest;
    for (let i = 0; i < n; i++) {
      if (rowSeen[i] && i !== start) rowPotential[i]! += lowest - shortest[columnOfRow[i]!]!;
      if (columnSeen[i]) columnPotential[i]! -= lowest - shortest[i]!;
    }
    for (let column = sink; ; ) {
      const previous = path[column]!;
      rowOfColumn[column] = previous;
      const next = columnOfRow[previous]!;
      columnOfRow[previous] = column;
      if (previous === start) break;
      column = next;
    }
  }
  return columnOfRow;
}
