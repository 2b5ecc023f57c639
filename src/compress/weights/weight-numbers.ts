import { notFinite } from "../not-finite.js";

/** @throws ReamError NOT_FINITE where a weight is NaN or infinite */
export function checkFinite(weight: Float32Array): void {
  // 0 times a number that is not finite is NaN. Four sums, since each waits for its last addition; `every` takes ten times
  // as long, about as much as a fast method itself.
  let [a, b, c, d] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 4 <= weight.length; i += 4) {
    a += 0 * weight[i]!;
    b += 0 * weight[i + 1]!;
    c += 0 * weight[i + 2]!;
    d += 0 * weight[i + 3]!;
  }
  for (; i < weight.length; i++) a += 0 * weight[i]!;
  if (Number.isNaN(a + b + c + d)) throw notFinite("weights of a matrix");
}
