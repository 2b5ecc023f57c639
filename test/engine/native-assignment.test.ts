import fc from "fast-check";
import { expect, test } from "vitest";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { assignments, assignment as reference } from "../../src/engine/reference/assignment.js";
import { Random } from "../../src/random.js";

const native = createNativeBackend({ precision: "f32", threads: 1 });

function total(cost: Float64Array, columns: Int32Array): number {
  return columns.reduce((sum, column, row) => sum + cost[row * columns.length + column]!, 0);
}

function* permutations(n: number, start: number[] = []): Generator<number[]> {
  if (start.length === n) yield start;
  for (let i = 0; i < n; i++) if (!start.includes(i)) yield* permutations(n, [...start, i]);
}

test("no assignment of up to 6 rows is cheaper", () => {
  const costs = fc
    .integer({ min: 1, max: 6 })
    .chain((n) =>
      fc.tuple(fc.constant(n), fc.float64Array({ minLength: n * n, maxLength: n * n, min: -9, max: 9, noNaN: true })),
    );
  fc.assert(
    fc.property(costs, ([n, cost]) => {
      const columns = native.assignment(cost, n);
      expect([...columns].sort()).toEqual(Array.from({ length: n }, (_, i) => i));
      const best = Math.min(...[...permutations(n)].map((p) => total(cost, Int32Array.from(p))));
      expect(total(cost, columns)).toBeLessThanOrEqual(best + 1e-12);
    }),
    { numRuns: 60 },
  );
});

test("the same assignment as the reference, ties included", () => {
  for (let seed = 0; seed < 40; seed++) {
    const random = new Random(seed);
    const n = 1 + random.below(60);
    // Few different integers: many ties.
    const cost = Float64Array.from({ length: n * n }, () => (seed % 2 === 0 ? random.below(5) : random.normal()));
    expect(native.assignment(cost, n)).toEqual(reference(cost, n));
  }
});

test("several costs at once, with several threads, have their own assignments", () => {
  const [n, count] = [23, 7];
  const random = new Random(3);
  const costs = Float64Array.from({ length: count * n * n }, () => random.normal());
  const each = Array.from({ length: count }, (_, i) => [...reference(costs.subarray(i * n * n, (i + 1) * n * n), n)]);
  const together = createNativeBackend({ precision: "f32", threads: 3 }).assignment(costs, n);
  expect([...together]).toEqual(each.flat());
  expect(assignments(costs, n)).toEqual(together);
  costs.fill(Number.NaN, 3 * n * n, 3 * n * n + n);
  expect(() => native.assignment(costs, n)).toThrow(RangeError);
});

test("no cycle of exchanges makes a large assignment cheaper", () => {
  // The certificate of optimality: in the graph of rows, row i may take the column of row j at the difference of cost;
  // the assignment is optimal exactly if no cycle has a negative sum (Bellman-Ford finds none).
  const n = 200;
  const random = new Random(1);
  const cost = Float64Array.from({ length: n * n }, () => random.normal());
  const columns = native.assignment(cost, n);
  const distance = new Float64Array(n);
  let changed = true;
  for (let round = 0; changed && round <= n; round++) {
    changed = false;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        const through = distance[i]! + cost[i * n + columns[j]!]! - cost[i * n + columns[i]!]!;
        if (through < distance[j]! - 1e-12) {
          distance[j] = through;
          changed = true;
        }
      }
    }
  }
  expect(changed).toBe(false);
});

test("bad costs are range errors", () => {
  expect(native.assignment(new Float64Array(0), 0)).toEqual(new Int32Array(0));
  expect(() => native.assignment(new Float64Array(3), 2)).toThrow(RangeError);
  expect(() => native.assignment(Float64Array.of(1, 2, 3, Number.NaN), 2)).not.toThrow(TypeError);
  expect(() => native.assignment(new Float64Array(4).fill(Number.NaN), 2)).toThrow(RangeError);
});
