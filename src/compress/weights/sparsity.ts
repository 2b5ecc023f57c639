import { ReamError } from "../../errors.js";

/**
 * How many weights become zero: a share of all, or n:m: in each run of `of` neighbours of a row, `zeros` of them (Zhou et
 * al. 2021, arXiv 2102.04010; 2:4 is what sparse tensor cores multiply).
 */
export type Sparsity =
  | { readonly kind: "ratio"; readonly share: number }
  | { readonly kind: "n:m"; readonly zeros: number; readonly of: number };

/** `[rows, columns]` = `[out, in]` */
export type MatrixShape = readonly [rows: number, columns: number];

/**
 * Bits that a matrix of `bits` a weight would take if only what is not zero were stored: with a mask of one bit for each
 * weight, or the place in its run of each weight that is left (2 bits in 2:4, as sparse tensor cores read it).
 */
export function sparseBits([rows, columns]: MatrixShape, bits: number, sparsity: Sparsity): number {
  const weights = rows * columns;
  if (sparsity.kind === "ratio") return (weights - zerosOf(sparsity.share, weights)) * bits + weights;
  const left = (weights / sparsity.of) * (sparsity.of - sparsity.zeros);
  return left * (bits + Math.ceil(Math.log2(sparsity.of)));
}

/**
 * Reads "0.5", "50%" or "2:4". In n:m the first number counts the weights that become zero.
 *
 * @throws ReamError OPTION_INVALID
 */
export function parseSparsity(text: string): Sparsity {
  const pattern = /^([0-9]+):([0-9]+)$/.exec(text);
  if (pattern !== null) {
    const [zeros, of] = [Number(pattern[1]), Number(pattern[2])];
    if (zeros >= 1 && zeros < of && of <= LONGEST_RUN) return { kind: "n:m", zeros, of };
  }
  const number = /^([0-9]*\.?[0-9]+)(%?)$/.exec(text);
  if (number !== null) {
    const share = number[2] === "%" ? Number(number[1]) / 100 : Number(number[1]);
    if (share > 0 && share < 1) return { kind: "ratio", share };
  }
  throw new ReamError("OPTION_INVALID", `${JSON.stringify(text)} is not a sparsity.`, {
    hint: "Give a share between 0 and 1 (0.5 or 50%), or a pattern such as 2:4: 2 of 4 neighbours become zero.",
  });
}

/** Longest run of an n:m pattern. Published ones are 2:4, 4:8 and, rarely, 1:32. */
const LONGEST_RUN = 128;

/**
 * Checks that a matrix has its shape and can have the sparsity.
 *
 * @throws ReamError SPARSITY_SHAPE where the columns are not whole runs of an n:m pattern
 * @throws RangeError where the numbers are not `[rows, columns]`, or the sparsity is none
 */
export function checkSparsity(weight: Float32Array, [rows, columns]: MatrixShape, sparsity: Sparsity): void {
  if (weight.length !== rows * columns) throw new RangeError(`${weight.length} weights are not ${rows} x ${columns}`);
  if (sparsity.kind === "ratio") {
    if (!(sparsity.share >= 0 && sparsity.share <= 1)) throw new RangeError(`a share of ${sparsity.share} weights`);
    return;
  }
  const { zeros, of } = sparsity;
  const whole = Number.isInteger(zeros) && Number.isInteger(of);
  if (!(whole && zeros >= 0 && zeros <= of && of >= 1 && of <= LONGEST_RUN)) throw new RangeError(`${zeros} of ${of}`);
  if (columns % of !== 0) {
    throw new ReamError("SPARSITY_SHAPE", `${columns} columns are not whole runs of ${of}.`, {
      hint: `Choose a pattern whose second number divides ${columns}, or a share.`,
    });
  }
}

/**
 * floor(share * count). A share that is written in decimals is a binary fraction just beside them: a product that is
 * whole up to that rounding counts as whole (0.29 of 100 is 29, though 0.29 * 100 < 29).
 */
export function zerosOf(share: number, count: number): number {
  const product = share * count;
  const whole = Math.round(product);
  return Math.abs(product - whole) <= 4 * Number.EPSILON * product ? whole : Math.floor(product);
}
