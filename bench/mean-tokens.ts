/**
 * What a sample of tokens for the mean outputs (`--statistics sampled=N`) changes, and what it saves: plans with several sizes of the
 * sample beside plans with all tokens, on the demo's model:
 *
 *     npm run build && node dist/bench/mean-tokens.js [--model FOLDER] [--sequences N] [--experts N] [--seeds N] [--threads N]
 *
 * Not sequential, so that every layer is compared on the same inputs. Prints a table of: experts that are absorbed by another
 * centroid or are kept, mean over seeds; the same between plans of all tokens of other text; how many the run itself tells to be
 * within its error; the processor's time. `--domain` NAME=FILE as in `ream compress`; default: the demo's texts.
 */

import type { LayerPlan } from "../src/compress/plan.js";
import { compress } from "../src/pipeline/compress.js";
import type { CompressOptions } from "../src/pipeline/options.js";
import { planOptions } from "./plan-options.js";

const SIZES = [256, 1024, 4096, 16_384];
const { common, number } = planOptions(2048, { seeds: "3" });

interface Run {
  readonly layers: readonly LayerPlan[];
  /** Share of the absorbed experts whose similarity is within the standard error of the next candidate's. */
  readonly within: number;
  readonly cpu: number;
}

async function run(changes: Partial<CompressOptions>): Promise<Run> {
  const began = process.cpuUsage();
  const steps = compress({ ...common, ...changes });
  const told = { all: 0, within: 0 };
  for (let step = await steps.next(); ; step = await steps.next()) {
    if (step.done) {
      const { user, system } = process.cpuUsage(began);
      return { layers: step.value.plan.layers, within: told.within / told.all, cpu: (user + system) / 1e6 };
    }
    if (step.value.type !== "sampling" || step.value.decisions === undefined) continue;
    told.all += step.value.decisions.all;
    told.within += step.value.decisions.within;
  }
}

/** Share of the experts absorbed in one plan that are kept in another, or absorbed by another centroid there. */
function moved(a: Run, b: Run): number {
  const centroids = ({ layers }: Run) =>
    layers.map(({ groups }) => new Map(groups.flatMap(({ members }) => members.slice(1).map((e) => [e, members[0]!]))));
  const [ours, theirs] = [centroids(a), centroids(b)];
  const all = ours.flatMap((layer, l) => [...layer].map(([expert, centroid]) => theirs[l]!.get(expert) === centroid));
  return all.filter((same) => !same).length / all.length;
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
// The seed chooses the text too, so that each sample is compared with all tokens of the same text.
const exact: Run[] = [];
for (let seed = 0; seed < number("seeds"); seed++) exact.push(await run({ statistics: "exact", seed }));
const cpu = (runs: readonly Run[]) => mean(runs.map((each) => each.cpu)).toFixed(1);
console.log("| tokens | experts that join another group | within the error told | processor, s |\n|---|---|---|---|");
console.log(`| all | | | ${cpu(exact)} |`);
console.log(`| all, of other text | ${percent(mean(exact.slice(1).map((each) => moved(exact[0]!, each))))} | | |`);
for (const meanTokens of SIZES) {
  const sampled: Run[] = [];
  for (const seed of exact.keys()) sampled.push(await run({ statistics: `sampled=${meanTokens}`, seed }));
  const changed = percent(mean(sampled.map((each, seed) => moved(exact[seed]!, each))));
  const within = percent(mean(sampled.map((each) => each.within)));
  console.log(`| ${[meanTokens.toLocaleString("en"), changed, within, cpu(sampled)].join(" | ")} |`);
}
