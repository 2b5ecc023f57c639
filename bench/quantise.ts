/**
 * Speed of rounding weights to the formats of quantised checkpoints, and of decoding these, in 10^9 bytes of bfloat16 weights
 * a second:
 *
 *     npm run build && node dist/bench/quantise.js [--threads N] [--rounds N] [--variants a,b] [--json]
 *
 * The weights are 512 MB in matrices of the size of experts, more than caches hold. Rounding includes packing. The best of
 * some rounds is told; formats take turns, so that other work on the machine disturbs all alike. "per core" divides by the
 * processor time used instead of the time that passed, which tells the speed also on a machine that does other work.
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
  /** The same for a second of processor time. */
  readonly roundPerCore: number;
  readonly decodePerCore: number;
}

type Measured = Omit<Speed, "variant" | "threads" | "format">;

function weights(): Tensor[] {
  const random = new Random(1);
  const noise = Uint16Array.from({ length: 65_536 }, () => (0x3c00 + random.below(256)) | (random.below(2) << 15));
  return Array.from({ length: Math.ceil(TOTAL_BYTES / BYTES) }, () => {
    const values = new Uint16Array(SHAPE[0] * SHAPE[1]);
    for (let at = 0; at < values.length; at += noise.length) values.set(noise, at);
    return { dtype: "BF16", shape: SHAPE, data: new Uint8Array(values.buffer) };
  });
}

/** 10^9 bytes a second, of time that passed and of processor time. */
function speed(count: number, work: () => void): { wall: number; core: number } {
  const cpu = process.cpuUsage();
  const start = performance.now();
  work();
  const wall = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  return { wall: (count * BYTES) / 1e6 / wall, core: (count * BYTES) / 1e3 / (user + system) };
}

function measure(backend: Backend, name: WeightFormatName, tensors: readonly Tensor[]): Measured {
  const format = weightFormat(name);
  const round = speed(tensors.length, () => {
    for (const tensor of tensors) format.encode(backend, tensor, "BF16");
  });
  const parts = format.encode(backend, tensors[0]!, "BF16");
  const decode = speed(DECODED, () => {
    for (let i = 0; i < DECODED; i++) format.decode(parts, SHAPE, 0, backend);
  });
  return { round: round.wall, decode: decode.wall, roundPerCore: round.core, decodePerCore: decode.core };
}

function better(a: Measured, b: Measured): Measured {
  return {
    round: Math.max(a.round, b.round),
    decode: Math.max(a.decode, b.decode),
    roundPerCore: Math.max(a.roundPerCore, b.roundPerCore),
    decodePerCore: Math.max(a.decodePerCore, b.decodePerCore),
  };
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
  const best = new Map<WeightFormatName, Measured>();
  for (let i = 0; i < Number(options.rounds); i++) {
    for (const name of WEIGHT_FORMAT_NAMES) {
      const found = measure(backend, name, tensors);
      best.set(name, better(best.get(name) ?? found, found));
    }
  }
  return [...best].map(([format, found]) => ({ variant, threads, format, ...found }));
});
if (options.json) console.log(JSON.stringify(speeds, null, 2));
else {
  const titles = ["round GB/s", "per core", "decode GB/s", "per core"];
  const line = (names: readonly string[], cells: readonly string[]) =>
    console.log([...names.map((name) => name.padEnd(16)), ...cells.map((cell) => cell.padStart(12))].join(" "));
  line(["instruction set", "threads", "format"], titles);
  for (const { variant, format, round, roundPerCore, decode, decodePerCore } of speeds) {
    const cells = [round, roundPerCore, decode, decodePerCore].map((value) => value.toFixed(2));
    line([variant, String(threads), format], cells);
  }
}
