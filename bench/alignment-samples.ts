/**
 * What fewer tokens for the alignment of neurons (`--samples`) change, and what they save: permutations by several numbers of
 * tokens, judged by what they cost (Eq. 6) by 32,768 tokens, on the demo's model:
 *
 *     npm run build && node dist/bench/alignment-samples.js [--model FOLDER] [--sequences N] [--experts N] [--threads N]
 *
 * Not sequential, so that every layer is compared on the same inputs. Prints a table of: neurons that are placed elsewhere; how
 * much of what alignment takes off the costs is lost; the processor's time. `--domain` NAME=FILE as in `ream compress`;
 * default: the demo's texts.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode } from "../src/checkpoint/dtypes.js";
import { SafetensorsFile } from "../src/checkpoint/safetensors.js";
import type { Plan } from "../src/compress/plan.js";
import { compress } from "../src/pipeline/compress.js";
import { follow } from "../src/pipeline/follow.js";
import type { CompressOptions } from "../src/pipeline/options.js";
import { planOptions } from "./plan-options.js";

const SIZES = [256, 512, 1024, 2048, 4096];
/** As published. */
const MOST = 32_768;
const { common } = planOptions(512);

async function run(changes: Partial<CompressOptions>): Promise<{ plan: Plan; cpu: number }> {
  const began = process.cpuUsage();
  const { plan } = await follow(compress({ ...common, method: "ream", ...changes }), () => undefined);
  const { user, system } = process.cpuUsage(began);
  return { plan, cpu: (user + system) / 1e6 };
}

/** Costs of all pairs that are aligned, by layer, centroid and member. */
async function readCosts(folder: string): Promise<Map<string, Float32Array>> {
  const costs = new Map<string, Float32Array>();
  const file = await SafetensorsFile.open(join(folder, "trace.safetensors"));
  try {
    for (const name of file.tensors.keys()) {
      if (!/\.cost_(act|wt)\./.test(name)) continue;
      const pair = name.replace(/cost_(act|wt)\./, "");
      const values = decode(await file.read(name));
      const sums = costs.get(pair);
      costs.set(pair, sums === undefined ? values : sums.map((sum, i) => sum + values[i]!));
    }
  } finally {
    await file.close();
  }
  return costs;
}

function permutations({ layers }: Plan): Map<string, readonly number[]> {
  const pairs = layers.flatMap(({ layer, groups }) =>
    groups.flatMap(({ members, permutations }) =>
      Object.entries(permutations).map(
        ([member, order]) => [`layers.${layer}.${members[0]}.${member}`, order] as const,
      ),
    ),
  );
  return new Map(pairs);
}

const folder = mkdtempSync(join(tmpdir(), "ream-alignment-"));
try {
  const most = await run({ samples: MOST, trace: folder });
  const costs = await readCosts(folder);
  const best = permutations(most.plan);
  const costOf = (pair: string, order: readonly number[]) =>
    order.reduce((sum, member, neuron) => sum + costs.get(pair)![neuron * order.length + member]!, 0);
  const total = (orders: ReadonlyMap<string, readonly number[]>) =>
    [...best.keys()].reduce((sum, pair) => sum + costOf(pair, orders.get(pair)!), 0);
  const unaligned = new Map([...best].map(([pair, order]) => [pair, order.map((_, neuron) => neuron)]));
  const won = total(unaligned) - total(best);
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  console.log(
    "| tokens | neurons placed elsewhere | of what alignment wins is lost | processor, s |\n|---|---|---|---|",
  );
  const tell = (name: string, { plan, cpu }: { plan: Plan; cpu: number }) => {
    const own = permutations(plan);
    const moved = [...best].flatMap(([pair, order]) => order.map((member, i) => member !== own.get(pair)![i]));
    const share = moved.filter((each) => each).length / moved.length;
    const lost = (total(own) - total(best)) / won;
    console.log(`| ${[name, percent(share), percent(lost), cpu.toFixed(1)].join(" | ")} |`);
  };
  tell(MOST.toLocaleString("en"), await run({ samples: MOST }));
  for (const samples of SIZES) tell(samples.toLocaleString("en"), await run({ samples }));
  tell("weights alone", await run({ alignActivations: false }));
} finally {
  rmSync(folder, { recursive: true });
}
