/**
 * Speed of the kernels of a refit by descent, `expertGradients` and `adamStep`, beside what products in the cache reach:
 *
 *     npm run build && node dist/bench/gradients.js [--threads N] [--seconds S]
 *
 * Two shapes: experts of the demo's model, and of Qwen3-30B-A3B (eight of them, each with 64 tokens). Processor time counts, so that
 * other programs disturb little.
 */
import { parseArgs } from "node:util";
import { TokenPairs } from "../src/compress/reconstruct/token-pairs.js";
import type { JoinedExperts, RoutedBatch } from "../src/engine/descent.js";
import { loadBinary } from "../src/engine/native/load-binary.js";
import { createNativeBackend } from "../src/engine/native/native-backend.js";
import { Random } from "../src/random.js";
import { measureSpeed } from "./measure.js";

const SHAPES = [
  { hidden: 192, width: 48, experts: 48, tokens: 384, topK: 8 },
  { hidden: 2048, width: 768, experts: 8, tokens: 64, topK: 8 },
];

const { values: options } = parseArgs({
  options: { threads: { type: "string", default: "1" }, seconds: { type: "string", default: "2" } },
});
const [threads, seconds] = [Number(options.threads), Number(options.seconds)];
const backend = createNativeBackend({ precision: "f32", threads });
const random = new Random(1);
const normals = (length: number, scale = 1) => Float32Array.from({ length }, () => scale * random.normal());
console.log(backend.description);
const speed = (run: () => number) => measureSpeed(seconds, run).core;
const engine = new (loadBinary().Engine)(false, threads, backend.variant);
const cached = speed(() => engine.peak(1000));
console.log(`products in the cache: ${cached.toFixed(0)} GFLOP/s`);
for (const { hidden, width, experts: count, tokens, topK } of SHAPES) {
  const matrix = (columns: number) => normals(count * width * hidden, columns ** -0.5);
  const matrices = { gate: matrix(hidden), up: matrix(hidden), down: matrix(width) };
  const gradients = { gate: matrix(hidden), up: matrix(hidden), down: matrix(width) };
  const experts: JoinedExperts = { hidden, width, activation: "silu", matrices };
  const routed: number[][] = Array.from({ length: count }, () => []);
  for (let token = 0; token < tokens; token++)
    for (const expert of random.permutation(count).slice(0, topK)) routed[expert]!.push(token);
  const listed = routed.map((own) => [{ rows: Int32Array.from(own), factors: normals(own.length) }]);
  const pairs = new TokenPairs(tokens, listed).batch(Int32Array.from({ length: tokens }, (_, i) => i));
  const batch: RoutedBatch = { x: normals(tokens * hidden), y: normals(tokens * hidden), ...pairs };
  // Three products forward, six back.
  const operations = 9 * 2 * tokens * topK * hidden * width;
  const reached = speed(() => {
    backend.expertGradients(experts, batch, gradients);
    return operations;
  });
  const moments = { first: matrix(hidden), second: matrix(hidden).map(Math.abs) };
  const sizes = new Float32Array(count).fill(1e-6);
  let step = 0;
  const changed = speed(() => {
    backend.adamStep(matrices.up, gradients.up, moments, sizes, ++step);
    return matrices.up.length;
  });
  console.log(
    `${count} experts of [${width}, ${hidden}], ${(tokens * topK) / count} tokens each: gradients ${reached.toFixed(1)} GFLOP/s ` +
      `(${((100 * reached) / cached).toFixed(0)} %), ${(operations / reached / 1e6).toFixed(1)} ms a batch; ` +
      `a step of Adam ${(1 / changed).toFixed(2)} ns a weight`,
  );
}
