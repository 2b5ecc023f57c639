import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Random } from "../../../src/random.js";
import { BACKENDS, correlatedInputs, gramOf, normals } from "./matrices.js";

const [, reference] = BACKENDS[0]!;

describe.each(BACKENDS)("solveGram: %s", (_, backend) => {
  const shapes = fc.record({ rows: fc.integer({ min: 0, max: 130 }), columns: fc.integer({ min: 1, max: 150 }) });

  test("X H is B", () => {
    fc.assert(
      fc.property(shapes, fc.nat(), ({ rows, columns }, seed) => {
        const random = new Random(seed);
        const gram = gramOf(reference, correlatedInputs(random, 2 * columns + 5, columns), columns);
        const added = new Float64Array(columns).fill(0.1);
        const factor = backend.factorGram(gram, added, undefined)!;
        const wanted = normals(random, rows * columns);
        const b = new Float32Array(rows * columns);
        for (let row = 0; row < rows; row++) {
          for (let j = 0; j < columns; j++) {
            let sum = 0.1 * wanted[row * columns + j]!;
            for (let i = 0; i < columns; i++)
              sum += wanted[row * columns + i]! * gram[Math.min(i, j) * columns + Math.max(i, j)]!;
            b[row * columns + j] = sum;
          }
        }
        const given = b.slice();
        const x = backend.solveGram(factor, b);
        expect(b).toEqual(given);
        // What is lost depends on how near to singular H is; its share of B does not.
        const back = product(x, gram, columns, 0.1);
        const scale = Math.sqrt(b.reduce((sum, value) => sum + value ** 2, 0) / Math.max(1, b.length));
        for (const [i, value] of b.entries()) expect(Math.abs(back[i]! - value)).toBeLessThan(1e-4 * (scale + 1));
        factor.dispose();
      }),
      { numRuns: 12 },
    );
  });

  test("refuses a factor with an order, and rows that do not fit", () => {
    const gram = Float64Array.of(2, 1, 0, 2);
    const ordered = backend.factorGram(gram, new Float64Array(2), Int32Array.of(1, 0))!;
    expect(() => backend.solveGram(ordered, new Float32Array(2))).toThrow(RangeError);
    const plain = backend.factorGram(gram, new Float64Array(2), undefined)!;
    expect(() => backend.solveGram(plain, new Float32Array(3))).toThrow(RangeError);
    for (const value of backend.solveGram(plain, Float32Array.of(3, 3))) expect(value).toBeCloseTo(1, 6);
  });
});

/** x (H + added I) */
function product(x: Float32Array, gram: Float64Array, columns: number, added: number): Float64Array {
  const out = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += columns) {
    for (let j = 0; j < columns; j++) {
      let sum = added * x[row + j]!;
      for (let i = 0; i < columns; i++) sum += x[row + i]! * gram[Math.min(i, j) * columns + Math.max(i, j)]!;
      out[row + j] = sum;
    }
  }
  return out;
}
