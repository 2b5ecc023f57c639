/**
 * Time of one layer beside PyTorch, on a synthetic checkpoint of three layers shaped like Qwen3-30B-A3B's, 128 -> 96 experts:
 *
 *     npm run build && node dist/bench/layer.js [--python PATH] [--threads N] [--sequences N] [--rounds N] [--model FOLDER] [--only NAME] [--out FILE]
 *
 * `ream-official` is compared with the same work in PyTorch (official_layer.py), and `reap` with running every expert on every
 * token, as REAP's observer does. `ream` is told with all tokens and with a sample for the mean outputs. Ours is the layer in
 * the middle, so that memory has been touched before, as PyTorch's has. The processor's time is told too: on a busy machine it
 * says more than the time that passed. Results go to --out as JSON (docs/performance.md is made of it).
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { pytorchDtype, runPyTorch } from "./run-pytorch.js";
import { machine, runReam, spread } from "./run-ream.js";
import { LENGTH, writeSynthetic, writeTokens } from "./synthetic.js";

const KEPT = 96;
const GROUP = 16;

interface Work {
  readonly name: string;
  /** Options of `ream compress`. */
  readonly args: readonly string[];
  /** The method of PyTorch that does the same. */
  readonly other?: "ream" | "reap";
  /** How much more text. */
  readonly more?: number;
  /** Where they are long. */
  readonly rounds?: number;
}

const { values: options } = parseArgs({
  options: {
    python: { type: "string" },
    threads: { type: "string", default: String(availableParallelism()) },
    sequences: { type: "string", default: "8" },
    rounds: { type: "string", default: "3" },
    model: { type: "string" },
    only: { type: "string" },
    out: { type: "string" },
  },
});
const [threads, sequences, most] = [options.threads, options.sequences, options.rounds].map(Number) as [
  number,
  number,
  number,
];

const WORKS: readonly Work[] = [
  { name: "ream-official", args: ["--method", "ream-official"], other: "ream" },
  { name: "reap", args: ["--method", "reap", "--no-sequential"], other: "reap" },
  { name: "ream, all tokens", args: ["--method", "ream", "--statistics", "exact"] },
  { name: "ream, sampled", args: ["--method", "ream"] },
  { name: "ream, all tokens", args: ["--method", "ream", "--statistics", "exact"], more: 3, rounds: 1 },
  { name: "ream, sampled", args: ["--method", "ream"], more: 3 },
];

const folder = options.model ?? mkdtempSync(join(tmpdir(), "ream-layer-"));
try {
  if (!existsSync(join(folder, "model.safetensors.index.json"))) writeSynthetic(folder, 3);
  const results = [];
  for (const work of WORKS.filter(({ name }) => options.only === undefined || name === options.only)) {
    const { name, args, other, more = 1, rounds = most } = work;
    const tokens = writeTokens(folder, more * sequences);
    const asked = { ...{ model: folder, tokens, layers: [1], kept: KEPT, group: GROUP }, threads, rounds };
    const theirs =
      other === undefined || options.python === undefined
        ? undefined
        : runPyTorch(options.python, { ...asked, method: other });
    const runs = [];
    for (let round = 0; round < rounds; round++)
      runs.push(
        await runReam(folder, ["--tokens", tokens, "--experts", String(KEPT), "--threads", String(threads), ...args]),
      );
    const middle = runs.map(({ layers }) => layers[1]!);
    const of = (times: "seconds" | "cpu") => ({
      ream: spread(middle.map((layer) => layer[times])),
      ...(theirs && { pytorch: spread(theirs.map((round) => total(round[times]))) }),
    });
    const result = {
      ...{ name, tokens: more * sequences * LENGTH, threads, backend: runs[0]!.backend },
      ...{ seconds: of("seconds"), cpu: of("cpu") },
      ...(theirs && { pytorchDtype: pytorchDtype() }),
      parts: { ream: middle.at(-1)!.phases, ...(theirs && { pytorch: theirs.at(-1)! }) },
      peakMemory: Math.max(...runs.map(({ peakMemory }) => peakMemory)),
    };
    results.push(result);
    console.log(JSON.stringify(result));
    if (options.out !== undefined)
      writeFileSync(options.out, `${JSON.stringify({ machine: machine(), results }, null, 2)}\n`);
  }
} finally {
  if (options.model === undefined) rmSync(folder, { recursive: true });
}

function total(parts: Readonly<Record<string, number>>): number {
  return Object.values(parts).reduce((a, b) => a + b, 0);
}
