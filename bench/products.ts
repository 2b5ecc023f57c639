/**
 * Speed of the products of the native backend, and its ratio to the reference backend:
 *
 *     npm run build && node dist/bench/products.js [threads] [instruction sets ...]
 *
 * GFLOP/s counts a multiplication and an addition as two. "per core" divides by the processor time used instead of the
 * time that passed, which tells the kernel's speed also on a machine that does other work.
 */
import type { Tensor } from "../src/checkpoint/tensor.js";
import type { Backend, ExpertTensors, Precision } from "../src/engine/backend.js";
import { createNativeBackend, nativeVariants } from "../src/engine/native/native-backend.js";
import { createReferenceBackend } from "../src/engine/reference/reference-backend.js";
import { Random } from "../src/random.js";
import { measureSpeed } from "./measure.js";

/** Seconds for which a product is repeated. */
const DURATION = 0.5;
const HIDDEN = 2048;
const WIDTH = 768;
const EXPERTS = 16;
const TOP_K = 2;

/** A product to time, and its number of operations. */
interface Work {
  readonly name: string;
  readonly operations: number;
  run(): void;
}

function uniform(random: Random, length: number): Float32Array {
  return Float32Array.from({ length }, () => random.next() - 0.5);
}

function weight(random: Random, rows: number, columns: number): Tensor {
  const bits = Uint32Array.from(new Uint32Array(uniform(random, rows * columns).buffer), (value) => value >>> 16);
  return { dtype: "BF16", shape: [rows, columns], data: new Uint8Array(Uint16Array.from(bits).buffer) };
}

function linear(backend: Backend, tokens: number, rows: number, columns: number): Work {
  const random = new Random(1);
  const matrix = backend.matrix(weight(random, rows, columns));
  const x = uniform(random, tokens * columns);
  return {
    name: `linear ${tokens} x ${columns} -> ${rows}`,
    operations: 2 * tokens * rows * columns,
    run: () => void backend.linear(x, matrix),
  };
}

function experts(random: Random, count: number): ExpertTensors[] {
  const make = () => ({
    gate: weight(random, WIDTH, HIDDEN),
    up: weight(random, WIDTH, HIDDEN),
    down: weight(random, HIDDEN, WIDTH),
  });
  return Array.from({ length: count }, make);
}

function routed(backend: Backend, tokens: number): Work {
  const random = new Random(2);
  const packed = backend.experts(experts(random, EXPERTS), "silu");
  const x = uniform(random, tokens * HIDDEN);
  const choose = () => [...random.permutation(EXPERTS).slice(0, TOP_K)].sort((a, b) => a - b);
  const selected = Int32Array.from(Array.from({ length: tokens }, choose).flat());
  const routing = { tokens, topK: TOP_K, selected, weights: uniform(random, tokens * TOP_K) };
  return {
    name: `routed ${tokens} tokens, ${EXPERTS} experts, top ${TOP_K}`,
    operations: 6 * tokens * TOP_K * HIDDEN * WIDTH,
    run: () => void backend.routed(x, packed, routing),
  };
}

/** Packing weights; its "operations" are the bytes that are read. */
function packing(backend: Backend): Work {
  const tensors = experts(new Random(3), 4);
  return {
    name: "pack 4 experts (GB/s)",
    operations: 4 * 3 * 2 * HIDDEN * WIDTH,
    run: () => backend.experts(tensors, "silu").dispose(),
  };
}

function attention(backend: Backend, length: number): Work {
  const shape = { sequences: 1, length, heads: 8, keyValueHeads: 2, headSize: 128, scale: 0.1 };
  const random = new Random(4);
  const q = uniform(random, length * 8 * 128);
  const k = uniform(random, length * 2 * 128);
  return {
    name: `attention of ${length} tokens, 8 heads of 128`,
    operations: 2 * length * length * 8 * 128,
    run: () => void backend.attention(q, k, k, shape),
  };
}

function transposed(backend: Backend): Work {
  const [tokens, size] = [2048, 1024];
  const a = uniform(new Random(5), tokens * size);
  const sums = new Float64Array(size * size);
  return {
    name: `transposed product ${tokens} x ${size}`,
    operations: 2 * tokens * size * size,
    run: () => backend.addTransposedProduct(sums, a, a, size, size),
  };
}

function measure(work: Work, seconds: number) {
  return measureSpeed(seconds, () => {
    work.run();
    return work.operations;
  });
}

const works: ((backend: Backend) => Work)[] = [
  (backend) => linear(backend, 96, WIDTH, HIDDEN),
  (backend) => linear(backend, 384, WIDTH, HIDDEN),
  (backend) => linear(backend, 384, HIDDEN, WIDTH),
  (backend) => linear(backend, 1, HIDDEN, HIDDEN),
  (backend) => routed(backend, EXPERTS * 48),
  (backend) => routed(backend, EXPERTS * 192),
  (backend) => attention(backend, 2048),
  transposed,
  packing,
];

const [, , threadsText, ...chosen] = process.argv;
const threads = threadsText === undefined ? undefined : Number(threadsText);
const variants = chosen.length > 0 ? chosen : nativeVariants().slice(0, 1);
for (const precision of ["bf16", "f32"] satisfies Precision[]) {
  for (const variant of variants) {
    const native = createNativeBackend({ precision, threads, variant });
    console.log(`\n${precision}, ${native.description}`);
    for (const make of works) {
      const work = make(native);
      work.run();
      const { wall, core } = measure(work, DURATION);
      console.log(
        `${work.name.padEnd(44)} ${wall.toFixed(1).padStart(8)} GFLOP/s ${core.toFixed(1).padStart(8)} per core`,
      );
    }
  }
  const compared = (backend: Backend) => measure(linear(backend, 96, WIDTH, HIDDEN), 0).wall;
  const ratio = compared(createNativeBackend({ precision, threads })) / compared(createReferenceBackend(precision));
  console.log(`native / reference: ${ratio.toFixed(0)}`);
}
