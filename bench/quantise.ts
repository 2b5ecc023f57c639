/**
 * Speed of rounding weights to the formats of quantised checkpoints, and of decoding these, in 10^9 bytes of bfloat16 weights
 * a second:
 *
 *     npm run build && node dist/bench/quantise.js [--threads N] [--rounds N] [--variants a,b] [--json]
 *
 * The weights are 512 MB in matrices of the size of experts, more than caches hold. Rounding includes packing. The best of
 * some rounds is told; formats take turns, so that other work on the machine disturbs all alike.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { weightFormat } from "../src/checkpoint/quantised/formats.js";
import { WEIGHT_FORMAT_NAMES, type WeightFormatName } from "../src/checkpoint/quantised/weight-format.js";
import type { Tensor } from "../src/checkpoint/tensor.js";
import type { Backend } from "../src/engine/backend.js";
import { createNativeBackend, nativeVariants } from "../src/engine/native/native-backend.js";
import { Random } from "../src/random.js";

const SHAPE = [1536, 2048] as const;
const BYTES = 2 * SHAPE[0] * SHAPE[1];
const TOTAL_BYTES = 512e6;
/** Times that one matrix is decoded. */
const DECODED = 40;

interface Speed {
  readonly variant: string;
  readonly threads: number;
  readonly format: WeightFormatName;
  /** 10^9 bytes of bfloat16 a second. */
  readonly round: number;
  readonly decode: number;
}

function weights(): Tensor[] {
  const random = new Random(1);
  const noise = Uint16Array.from({ length: 65_536 }, () => (0x3c00 + random.below(256)) | (random.below(2) << 15));
  return Array.from({ length: Math.ceil(TOTAL_BYTES / BYTES) }, () => {
    const values = new Uint16Array(SHAPE[0] * SHAPE[1]);
    for (let at = 0; at < values.length; at += noise.length) values.set(noise, at);
    return { dtype: "BF16", shape: SHAPE, data: new Uint8Array(values.buffer) };
  });
}

/** 10^9 bytes a second. */
function speed(count: number, work: () => void): number {
  const start = performance.now();
  work();
  return (count * BYTES) / 1e6 / (performance.now() - start);
}

function measure(
  backend: Backend,
  name: WeightFormatName,
  tensors: readonly Tensor[],
): Pick<Speed, "round" | "decode"> {
  const format = weightFormat(name);
  const round = speed(tensors.length, () => {
    for (const tensor of tensors) format.encode(backend, tensor, "BF16");
  });
  const parts = format.encode(backend, tensors[0]!, "BF16");
  const decode = speed(DECODED, () => {
    for (let i = 0; i < DECODED; i++) format.decode(parts, SHAPE, 0, backend);
  });
  return { round, decode };
}

const { values: options } = parseArgs({
  options: {
    threads: { type: "string", default: String(availableParallelism()) },
    rounds: { type: "string", default: "5" },
    variants: { type: "string", default: nativeVariants()[0]! },
    json: { type: "boolean", default: false },
  },
});
const threads = Number(options.threads);
const tensors = weights();
const speeds: Speed[] = options.variants.split(",").flatMap((variant) => {
  const backend = createNativeBackend({ precision: "bf16", threads, variant });
  const best = new Map(WEIGHT_FORMAT_NAMES.map((name) => [name, { round: 0, decode: 0 }]));
  for (let i = 0; i < Number(options.rounds); i++) {
    for (const [name, before] of best) {
      const { round, decode } = measure(backend, name, tensors);
      best.set(name, { round: Math.max(before.round, round), decode: Math.max(before.decode, decode) });
    }
  }
  return [...best].map(([format, found]) => ({ variant, threads, format, ...found }));
});
if (options.json) console.log(JSON.stringify(speeds, null, 2));
else {
  console.log(`${"instruction set".padEnd(16)} ${"threads".padEnd(8)} ${"format".padEnd(16)} round GB/s  decode GB/s`);
  for (const { variant, format, round, decode } of speeds) {
    const cells = [round, decode].map((value, i) => value.toFixed(2).padStart(i === 0 ? 10 : 12));
    console.log(`${variant.padEnd(16)} ${String(threads).padEnd(8)} ${format.padEnd(16)} ${cells.join(" ")}`);
  }
}
