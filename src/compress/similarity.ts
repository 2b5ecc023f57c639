import type { Settings } from "./settings.js";

/** Similarities of all pairs of experts, each `[experts, experts]`. */
export interface Similarity {
  readonly gate: Float64Array | undefined;
  readonly output: Float64Array | undefined;
  /** What groups are made by: larger is nearer. */
  readonly combined: Float64Array;
}

/** What the similarities are computed from; a part that a method does not use is absent. */
export interface SimilarityInputs {
  readonly experts: number;
  /** Sum over tokens of g gᵀ, g the router logits: `[experts, experts]`. */
  readonly gateGram?: Float64Array | undefined;
  /** Mean outputs of the experts, gated or not: `[experts, hidden]`. */
  readonly meanOutputs?: Float64Array | undefined;
  /** Mean over tokens of the cosine of two experts' outputs: `[experts, experts]`. */
  readonly tokenCosines?: Float64Array | undefined;
}

/** Similarity of all pairs by the parts that the settings name (Eq. 4, 5, 7, 8, or the official code's). */
export function similarity(inputs: SimilarityInputs, settings: Settings): Similarity {
  const unit = settings.similarityScale === "unit";
  const scale = (cosines: Float64Array) => (unit ? cosines.map((c) => (c + 1) / 2) : cosines);
  const n = inputs.experts;
  const gate = inputs.gateGram && gateSimilarity(inputs.gateGram, n, settings.gateSimilarity, scale);
  const cosines = inputs.tokenCosines ?? (inputs.meanOutputs && rowCosines(inputs.meanOutputs, n));
  const output = cosines && scale(cosines);
  const parts = [gate, output].filter((part) => part !== undefined);
  const combined = new Float64Array(n * n);
  for (const part of parts) {
    for (let i = 0; i < combined.length; i++) combined[i]! += unit ? part[i]! / parts.length : part[i]!;
  }
  return { gate, output, combined };
}

function gateSimilarity(
  gram: Float64Array,
  n: number,
  kind: Settings["gateSimilarity"],
  scale: (cosines: Float64Array) => Float64Array,
): Float64Array {
  const cosines = gramCosines(gram, n);
  if (kind !== "distance") return scale(cosines);
  // Distance of the unit vectors, relative to the largest in the layer (official code).
  const distances = cosines.map((c) => Math.sqrt(Math.max(0, 2 - 2 * c)));
  const largest = distances.reduce((a, b) => Math.max(a, b), 0);
  return distances.map((d) => (largest > 0 ? 1 - d / largest : 1));
}

/** Cosines of the vectors whose inner products are given. A zero vector has cosine 0 with every other. */
function gramCosines(gram: Float64Array, n: number): Float64Array {
  const norms = Float64Array.from({ length: n }, (_, i) => Math.sqrt(gram[i * n + i]!));
  return gram.map((product, index) => {
    const [i, j] = [Math.floor(index / n), index % n];
    const norm = norms[i]! * norms[j]!;
    if (i === j) return 1;
    return norm > 0 ? Math.min(1, Math.max(-1, product / norm)) : 0;
  });
}

/** Cosines of the rows of a `[n, size]` array. */
export function rowCosines(rows: Float64Array, n: number): Float64Array {
  const size = rows.length / n;
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let k = 0; k < size; k++) sum += rows[i * size + k]! * rows[j * size + k]!;
      gram[i * n + j] = sum;
      gram[j * n + i] = sum;
    }
  }
  return gramCosines(gram, n);
}
