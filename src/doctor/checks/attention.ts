import type { Backend, RotaryTable } from "../../engine/backend.js";
import { type Check, normals, SUMS } from "./check.js";

/** Two heads of queries for each of keys; more tokens than a page of the cache has. */
const [HEADS, KEYS, HEAD, TOKENS] = [4, 2, 20, 70];

function angles(pairing: RotaryTable["pairing"]): RotaryTable {
  const turns = Float32Array.from({ length: TOKENS * 8 }, (_, i) => Math.floor(i / 8) * 0.7 ** (i % 8));
  return { length: TOKENS, cos: turns.map(Math.cos), sin: turns.map(Math.sin), pairing };
}

function rotated(backend: Backend): Float32Array[] {
  const pairings = ["halves", "adjacent"] as const;
  return pairings.flatMap((pairing) => {
    const [all, some] = [normals(1, TOKENS * HEADS * HEAD), normals(2, 3 * HEADS * HEAD)];
    backend.rotate(all, HEADS, HEAD, angles(pairing));
    backend.rotateAt(some, HEADS, HEAD, angles(pairing), Int32Array.of(5, 69, 0));
    return [all, some];
  });
}

/** The same tokens at once, and with a cache in two steps. */
function attended(backend: Backend): Float32Array[] {
  const [q, k, v] = [
    normals(3, TOKENS * HEADS * HEAD),
    normals(4, TOKENS * KEYS * HEAD),
    normals(5, TOKENS * KEYS * HEAD),
  ];
  const shape = { heads: HEADS, scale: HEAD ** -0.5, sinks: normals(6, HEADS) };
  const whole = { ...shape, sequences: 1, length: TOKENS, keyValueHeads: KEYS, headSize: HEAD };
  const cache = backend.keyValueCache(KEYS, HEAD);
  const steps = [
    [0, TOKENS - 1],
    [TOKENS - 1, TOKENS],
  ].map(([from, to]) => {
    const part = (values: Float32Array) => {
      const row = values.length / TOKENS;
      return values.slice(from! * row, to! * row);
    };
    const segments = [{ sequence: 0, tokens: to! - from! }];
    return backend.attendCached(part(q), part(k), part(v), cache, segments, { ...shape, window: 66 });
  });
  cache.dispose();
  return [backend.attention(q, k, v, whole), backend.attention(q, k, v, { ...whole, window: 9, chunk: 32 }), ...steps];
}

/** Rotary embeddings and attention, float32 in both precisions. */
export const attentionChecks: readonly Check[] = [
  { operations: ["rotate", "rotateAt"], tolerance: SUMS, run: rotated },
  { operations: ["attention", "keyValueCache", "attendCached"], tolerance: 2 * SUMS, run: attended },
];
