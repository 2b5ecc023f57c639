import type { Backend } from "../../engine/backend.js";
import type { JoinedExperts, JoinedMatrices, Moments } from "../../engine/descent.js";
import { Random } from "../../random.js";
import type { TokenPairs } from "./token-pairs.js";

/** Tokens of an expert in a batch, in the mean: enough for fast products, few enough for many steps. */
const TOKENS_OF_EXPERT = 64;

/** What experts shall make of tokens. */
export interface DescentProblem {
  /** As they are at the start; their matrices are left alone. */
  readonly experts: JoinedExperts;
  readonly pairs: TokenPairs;
  /** Inputs `[*, hidden]`. */
  readonly x: Float32Array;
  /** What these experts together shall make of them `[*, hidden]`. */
  readonly y: Float32Array;
}

export interface DescentOptions {
  /** Size of the first steps, as a share of the root mean square of an expert's matrix. */
  readonly rate: number;
  /** How often every token is looked at. */
  readonly epochs: number;
  readonly seed: number;
  /** Lets others work; may throw to stop. @param share of the steps that is done */
  readonly pause: (share: number) => Promise<void>;
}

const PARTS = ["gate", "up", "down"] as const;

/**
 * Refits all matrices of experts together, so that what they make of the tokens comes near to y: steps of Adam (Kingma & Ba
 * 2015) on batches of tokens drawn without replacement, whose size falls to nothing along a half cosine (Loshchilov & Hutter
 * 2017). Every number of a matrix moves by about the same share of the matrix's root mean square, whatever the scale of
 * the outputs.
 *
 * @returns the matrices, or undefined where what is lost grows: the steps are too large
 */
export async function descend(
  backend: Backend,
  { experts, pairs, x, y }: DescentProblem,
  { rate, epochs, seed, pause }: DescentOptions,
): Promise<JoinedMatrices | undefined> {
  const matrices = mapped(experts.matrices, (values) => values.slice());
  const gradients = mapped(matrices, (values) => new Float32Array(values.length));
  const zeros = (values: Float32Array) => new Float32Array(values.length);
  const moments = mapped(matrices, (values): Moments => ({ first: zeros(values), second: zeros(values) }));
  const sizes = mapped(matrices, (values) => stepSizes(values, pairs.count, rate));
  const rows = pairs.routedRows();
  const length = Math.max(1, Math.round((TOKENS_OF_EXPERT * pairs.count * rows.length) / Math.max(1, pairs.pairs)));
  const steps = epochs * Math.ceil(rows.length / length);
  const random = new Random(seed);
  let step = 0;
  let most = Number.POSITIVE_INFINITY;
  for (let epoch = 0; epoch < epochs; epoch++) {
    const order = random.permutation(rows.length);
    let lost = 0;
    for (let begin = 0; begin < rows.length; begin += length) {
      const drawn = Int32Array.from(order.slice(begin, begin + length), (i) => rows[i]!).sort();
      const batch = { x, y, ...pairs.batch(drawn) };
      lost += backend.expertGradients({ ...experts, matrices }, batch, gradients);
      const share = (1 + Math.cos((Math.PI * step++) / steps)) / 2;
      for (const part of PARTS) {
        if (matrices[part] === undefined) continue;
        const own = sizes[part]!.map((size) => share * size);
        backend.adamStep(matrices[part], gradients[part]!, moments[part]!, own, step);
      }
      await pause(step / steps);
    }
    // NaN too is no progress.
    if (!(lost < most)) return undefined;
    if (epoch === 0) most = lost;
  }
  return matrices;
}

/** `make` of each matrix. */
function mapped<T>({ gate, up, down }: JoinedMatrices, make: (values: Float32Array) => T) {
  return { gate: gate && make(gate), up: make(up), down: make(down) };
}

/** Of each expert, the rate times the root mean square of its matrix. */
function stepSizes(values: Float32Array, count: number, rate: number): Float32Array {
  const size = values.length / count;
  return Float32Array.from({ length: count }, (_, expert) => {
    let squares = 0;
    for (let i = expert * size; i < (expert + 1) * size; i++) squares += values[i]! ** 2;
    return rate * Math.sqrt(squares / size);
  });
}
