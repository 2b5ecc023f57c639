import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DType } from "../../src/checkpoint/tensor.js";
import { Random } from "../../src/random.js";
import { cases, expectClose, expectSame, normals, randomTensor, tensorOf, withThreads } from "./native-cases.js";

/** Rounding of a float32 sum of normal products, relative to the largest result. */
const ROUNDING = 3e-6;

const size = (max: number) => fc.integer({ min: 1, max });

describe.each(cases)("$variant $precision", ({ variant, precision, native, reference }) => {
  test.each([
    [1, 1, 1],
    [6, 64, 512],
    [7, 65, 513],
    [97, 63, 31],
    [200, 130, 1100],
  ])("linear of %i tokens to %i rows of %i columns", (tokens, rows, columns) => {
    const random = new Random(tokens);
    const weight = randomTensor(random, rows, columns, "BF16");
    const x = normals(random, tokens * columns);
    const bias = normals(random, rows);
    for (const added of [undefined, bias]) {
      const expected = reference.linear(x, reference.matrix(weight), added);
      expectClose(native.linear(x, native.matrix(weight), added), expected, ROUNDING);
    }
  });

  test("linear of any shape", () => {
    const shape = fc.record({ tokens: size(20), rows: size(140), columns: size(70), seed: fc.nat() });
    fc.assert(
      fc.property(shape, ({ tokens, rows, columns, seed }) => {
        const random = new Random(seed);
        const weight = randomTensor(random, rows, columns);
        const x = normals(random, tokens * columns);
        const expected = reference.linear(x, reference.matrix(weight));
        // A single small result may be the difference of large terms: 70 of them at most.
        const scale = Math.max(...expected.map(Math.abs), Math.sqrt(columns));
        const actual = native.linear(x, native.matrix(weight));
        for (const [i, value] of expected.entries())
          expect(Math.abs(actual[i]! - value) / scale).toBeLessThan(ROUNDING);
      }),
      { numRuns: 30 },
    );
  });

  test.each([
    [1, 1, 1, 1],
    [1, 16, 130, 40],
    [7, 3, 65, 513],
    [200, 2, 32, 31],
  ])("linear of %i tokens with %i heads of %i rows and %i columns", (tokens, count, rows, columns) => {
    const random = new Random(tokens);
    const weights = Array.from({ length: count }, () => randomTensor(random, rows, columns, "BF16"));
    const x = normals(random, tokens * count * columns);
    const heads = weights.map((weight) => native.matrix(weight));
    const actual = native.headLinear(x, heads);
    expectClose(
      actual,
      reference.headLinear(
        x,
        weights.map((weight) => reference.matrix(weight)),
      ),
      ROUNDING,
    );
    const part = (values: Float32Array, size: number, head: number) =>
      values.filter((_, i) => Math.floor(i / size) % count === head);
    for (const [h, head] of heads.entries()) {
      expectSame(part(actual, rows, h), native.linear(part(x, columns, h), head));
    }
    for (const backend of withThreads(variant, precision, [1, 3])) {
      const matrices = weights.map((weight) => backend.matrix(weight));
      expectSame(backend.headLinear(x, matrices), actual);
    }
  });

  test("matrices of every float type", () => {
    const random = new Random(5);
    const x = normals(random, 3 * 40);
    for (const dtype of ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"] satisfies DType[]) {
      const weight = randomTensor(random, 70, 40, dtype);
      // At an odd offset, as in a file.
      const moved = new Uint8Array(weight.data.length + 3).subarray(3);
      moved.set(weight.data);
      const expected = reference.linear(x, reference.matrix(weight));
      expectClose(native.linear(x, native.matrix({ ...weight, data: moved })), expected, ROUNDING);
    }
  });

  test("no tokens, NaN and infinity", () => {
    const matrix = native.matrix(tensorOf(new Float32Array(6).fill(1), 2, 3));
    expect(native.linear(new Float32Array(0), matrix)).toEqual(new Float32Array(0));
    expect(native.linear(Float32Array.of(1, Number.NaN, 1), matrix)).toEqual(Float32Array.of(Number.NaN, Number.NaN));
    expect(native.linear(Float32Array.of(1, Infinity, 1), matrix)).toEqual(Float32Array.of(Infinity, Infinity));
  });

  test("a freed buffer's former content does not show", () => {
    const random = new Random(6);
    for (const value of [Number.NaN, 1e30]) {
      native.matrix(tensorOf(new Float32Array(65 * 33).fill(value), 65, 33)).dispose();
      const weight = randomTensor(random, 65, 33);
      const x = normals(random, 33);
      expectClose(native.linear(x, native.matrix(weight)), reference.linear(x, reference.matrix(weight)), ROUNDING);
    }
  });

  test("product and transposed product", () => {
    const random = new Random(7);
    for (const [m, n, k] of [
      [1, 1, 1],
      [70, 66, 530],
      [100, 7, 1030],
    ] as const) {
      const a = normals(random, m * k);
      const b = normals(random, n * k);
      expectClose(native.product(a, b, k), reference.product(a, b, k), ROUNDING);
      const actual = new Float64Array(m * n).fill(2);
      const expected = new Float64Array(m * n).fill(2);
      native.addTransposedProduct(actual, a, b, m, n);
      reference.addTransposedProduct(expected, a, b, m, n);
      expectClose(actual, expected, ROUNDING);
      const [squares, expectedSquares] = [new Float64Array(m).fill(2), new Float64Array(m).fill(2)];
      native.addColumnSquares(squares, a);
      reference.addColumnSquares(expectedSquares, a);
      expectSame(squares, expectedSquares);
    }
  });

  test.each([
    [1, 1, 1, 1],
    [97, 63, 65, 7],
    [1300, 70, 130, 100],
  ])("products of %i of some rows: %i columns, %i and %i outputs", (count, k, n, m) => {
    const random = new Random(count);
    const all = count + 50;
    const rows = Int32Array.from(random.permutation(all).subarray(0, count));
    const picked = (values: Float32Array, columns: number) =>
      Float32Array.from(
        { length: count * columns },
        (_, i) => values[rows[Math.floor(i / columns)]! * columns + (i % columns)]!,
      );
    const [x, y] = [normals(random, all * k), normals(random, all * n)];
    const [v, outer, factors] = [normals(random, n * k), normals(random, m * n), normals(random, count * n)];
    const gram = new Float64Array(n * n);
    reference.addTransposedProduct(gram, outer, outer, n, n);
    const g = new Float32Array(gram);
    const results = [native, reference, ...withThreads(variant, precision, [1, 3])].map((backend) => {
      const made = backend.product(x, v, k, { rows, factors });
      const left = normals(new Random(1), all * m);
      backend.subtractProduct(left, rows, made, outer, n);
      const [products, gated, squares] = [new Float64Array(k * n), new Float64Array(n * k), new Float64Array(k * k)];
      backend.addTransposedProduct(products, x, y, k, n, { a: rows, b: rows });
      backend.addGatedProduct(gated, x, rows, factors, v, g, k);
      backend.addGram(squares, x, k, false, rows);
      return { made, left, products, gated, squares };
    });
    const [actual, expected, ...others] = results as [(typeof results)[0], (typeof results)[0], ...typeof results];
    for (const name of ["made", "left", "products", "gated", "squares"] as const) {
      expectClose(actual[name], expected[name], ROUNDING);
      for (const other of others) expectSame(other[name], actual[name]);
    }
    // As those of the rows by themselves.
    const own = picked(x, k);
    const plain = native.product(own, v, k);
    expectSame(
      actual.made,
      plain.map((value, i) => value * factors[i]!),
    );
    const sums = new Float64Array(k * n);
    native.addTransposedProduct(sums, own, picked(y, n), k, n);
    expectSame(actual.products, sums);
  });

  test("the same bytes with any number of threads", () => {
    const random = new Random(8);
    const weight = randomTensor(random, 200, 300);
    const x = normals(random, 250 * 300);
    const results = withThreads(variant, precision, [1, 2, 3]).map((backend) => {
      const sums = new Float64Array(300 * 300);
      backend.addTransposedProduct(sums, x, x, 300, 300);
      return [backend.linear(x, backend.matrix(weight)), backend.product(x, x, 300), sums];
    });
    for (const result of results) for (const [i, array] of result.entries()) expectSame(array, results[0]![i]!);
  });

  test("scaled tensors are added exactly", () => {
    const random = new Random(9);
    for (const dtype of ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"] satisfies DType[]) {
      const tensor = randomTensor(random, 37, 53, dtype);
      for (const axis of ["rows", "columns", undefined] as const) {
        const order = random.permutation(axis === "rows" ? 37 : 53);
        const start = normals(random, 37 * 53);
        const [actual, expected] = [start.slice(), start.slice()];
        native.addScaled(actual, tensor, 0.3, axis && { axis, order });
        reference.addScaled(expected, tensor, 0.3, axis && { axis, order });
        expectSame(actual, expected);
      }
    }
  });

  test("tells the memory that it keeps of freed weights, and takes it again", () => {
    const weight = randomTensor(new Random(9), 1024, 999, "F32");
    const bytes = 1024 * (precision === "f32" ? 999 * 4 : 1000 * 2);
    const matrix = native.matrix(weight);
    const before = native.keptBytes;
    matrix.dispose();
    expect(native.keptBytes - before).toBeGreaterThanOrEqual(bytes);
    expect(native.keptBytes - before).toBeLessThan(1.2 * bytes + 2 ** 22);
    const again = native.matrix(weight);
    expect(native.keptBytes).toBe(before);
    again.dispose();
  });

  test("shapes that do not fit are range errors", () => {
    const matrix = native.matrix(tensorOf(new Float32Array(6), 2, 3));
    const four = new Float32Array(4);
    const refused: (() => unknown)[] = [
      () => native.linear(four, matrix),
      () => native.linear(new Float32Array(3), matrix, four),
      ...[native, reference].flatMap((backend) => {
        const head = (rows: number, columns: number) =>
          backend.matrix(tensorOf(new Float32Array(rows * columns), rows, columns));
        return [
          () => backend.headLinear(four, []),
          () => backend.headLinear(four, [head(1, 2), head(2, 2)]),
          () => backend.headLinear(four, [head(1, 2), head(1, 1)]),
          () => backend.headLinear(four, [head(1, 3)]),
          () => backend.headLinear(new Float32Array(3), [head(1, 2), head(1, 2)]),
          () => backend.headLinear(new Float32Array(6), [head(1, 2), head(1, 2)]),
        ];
      }),
      () => native.headLinear(four, [matrix, reference.matrix(tensorOf(four, 2, 2))]),
      () => native.matrix({ dtype: "F32", shape: [2, 2], data: new Uint8Array(15) }),
      () => native.matrix({ dtype: "F32", shape: [4], data: new Uint8Array(16) }),
      () => native.matrix({ dtype: "I32", shape: [2, 2], data: new Uint8Array(16) }),
      () => native.matrix({ dtype: "F32", shape: [2 ** 32 + 2, 2], data: new Uint8Array(16) }),
      () => native.linear(four, reference.matrix(tensorOf(four, 2, 2))),
      () => native.product(four, new Float32Array(3), 4),
      () => native.addTransposedProduct(new Float64Array(3), four, four, 2, 2),
      () => native.addColumnSquares(new Float64Array(3), four),
      ...[native, reference].flatMap((backend) => [
        () => backend.product(four, four, 2, { rows: Int32Array.of(0, 2) }),
        () => backend.product(four, four, 2, { factors: new Float32Array(3) }),
        () => backend.addTransposedProduct(new Float64Array(4), four, four, 2, 2, { a: Int32Array.of(0) }),
        () => backend.subtractProduct(four, Int32Array.of(0, 0), new Float32Array(4), new Float32Array(4), 2),
        () => backend.subtractProduct(four, Int32Array.of(0, -1), new Float32Array(4), new Float32Array(4), 2),
        () => backend.addGram(new Float64Array(4), four, 2, false, Int32Array.of(2)),
        () => backend.addGatedProduct(new Float64Array(4), four, Int32Array.of(1), new Float32Array(3), four, four, 2),
      ]),
      () => native.addScaled(four, tensorOf(four, 2, 2), 1, { axis: "rows", order: Int32Array.of(0, 2) }),
      () => native.addScaled(four, tensorOf(four, 2, 2), 1, { axis: "columns", order: Int32Array.of(0, -1) }),
      () => native.addScaled(four, tensorOf(four, 2, 2), 1, { axis: "rows", order: Int32Array.of(0) }),
      () => native.addScaled(four, { dtype: "F32", shape: [2, 2], data: new Uint8Array(four.buffer) }, 1),
    ];
    for (const call of refused) expect(call).toThrow(RangeError);
    matrix.dispose();
    matrix.dispose();
    expect(() => native.linear(new Float32Array(3), matrix)).toThrow(/disposed/);
  });
});
