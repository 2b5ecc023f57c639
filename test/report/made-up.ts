import { Random } from "../../src/random.js";
import type {
  CompressionReport,
  Front,
  HeldOutScores,
  LayerGroups,
  LayerObservation,
  PairedDifference,
  ReportTask,
  StudyReport,
  StudyRow,
} from "../../src/report/data.js";
import { frontierOf } from "./paper-study.js";

const DOMAINS = ["general", "math", "code"] as const;
const TASKS: readonly ReportTask[] = [
  { name: "mmlu", suite: "mc", items: 14042 },
  { name: "arc_challenge", suite: "mc", items: 1172 },
  { name: "hellaswag", suite: "mc", items: 10042 },
  { name: "winogrande", suite: "mc", items: 1267 },
  { name: "gsm8k", suite: "gen", items: 1319 },
  { name: "ifeval", suite: "gen", items: 541 },
  { name: "humaneval", suite: "gen", items: 164 },
  { name: "livecodebench", suite: "gen", items: 880 },
];
const METHODS = ["REAM", "REAP", "HC-SMoE", "Freq"] as const;
/** How much worse than the first each method is. */
const PENALTY: Readonly<Record<string, number>> = { REAM: 0, REAP: 0.8, "HC-SMoE": 2.5, Freq: 9 };
const MIXES = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
  [0.5, 0.5, 0],
  [0.5, 0, 0.5],
  [0, 0.5, 0.5],
  [0.8, 0.1, 0.1],
  [0.1, 0.8, 0.1],
  [0.1, 0.1, 0.8],
  [0.33, 0.33, 0.33],
] as const;

/** A study with everything that a report can show: 80 rows. Its numbers are made up and mean nothing. */
export function madeUpStudy({ layers = 48, experts = 128 } = {}): StudyReport {
  const random = new Random(11);
  const original = Object.fromEntries(TASKS.map(({ name }) => [name, 45 + 45 * random.next()]));
  const kept = [experts * 0.75, experts * 0.5];
  const rows = kept.flatMap((left) =>
    METHODS.flatMap((method) => MIXES.map((mix) => studyRow(random, method, left, mix, original, layers, experts))),
  );
  const fronts = kept.flatMap((left) =>
    METHODS.map((method): Front => {
      const frontier = frontierOf(rows, method, left);
      const hypervolume = 900 + 60 * random.next() - 40 * PENALTY[method]! - (left < kept[0]! ? 200 : 0);
      const share = () => ({ mc: 2 * random.next() - 1, gen: 2 * random.next() - 1 });
      return {
        method,
        experts: left,
        frontier,
        hypervolume,
        interval: [hypervolume - 35, hypervolume + 35],
        optimal: [frontier.length, MIXES.length],
        correlations: { shares: Object.fromEntries(DOMAINS.map((domain) => [domain, share()])), mcGen: -0.8 },
      };
    }),
  );
  return {
    model: { name: "Made-Up-30B-A3B", experts },
    methods: METHODS,
    domains: DOMAINS,
    tasks: TASKS,
    original: { ...averages(original), tasks: original, heldOut: heldOut(random, 0) },
    rows,
    fronts,
    foretellings: kept.flatMap((left) => [
      { experts: left, measure: "kl" as const, n: 40, pearson: 0.82, spearman: 0.79, regret: 0.6 },
      { experts: left, measure: "kl" as const, domain: "math", n: 40, pearson: 0.31, regret: 2.5 },
      { experts: left, measure: "rank" as const, n: 40, pearson: 0.5, spearman: 0.44, regret: 1.1 },
    ]),
    observation: Array.from({ length: layers }, (_, layer) => observed(random, layer, layers, experts)),
    groupings: [
      { title: `REAM, ${kept[0]} experts`, experts, layers: grouped(random, layers, experts, kept[0]!) },
      { title: `REAP, ${kept[0]} experts`, experts, layers: pruned(layers, experts, kept[0]!) },
    ],
    provenance: [
      { name: "ream", value: "0.1.0" },
      { name: "command", value: "ream study study.yaml --out study" },
      { name: "seed", value: "42" },
      { name: "calibration digest", value: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" },
      { name: "begun", value: "2026-05-04 09:12 UTC" },
    ],
  };
}

/** One compressed model with its plan and evaluation. */
/** About what layers lose. */
const LOSSES = {
  "all groups merged": 0.13,
  "centroids alone": 0.026,
  guarded: 0.024,
  refitted: 0.003,
};

export function madeUpCompression({ layers = 60, experts = 256 } = {}): CompressionReport {
  const random = new Random(12);
  const original = Object.fromEntries(TASKS.map(({ name }) => [name, 45 + 45 * random.next()]));
  const after = experts * 0.75;
  const row = studyRow(random, "REAM", after, MIXES[9], original, layers, experts);
  return {
    model: "Made-Up-235B-A22B",
    method: "ream",
    experts: { before: experts, after },
    topK: 8,
    sizes: [
      { name: "Checkpoint", before: 470e9, after: 361e9, unit: "bytes" },
      { name: "Parameters", before: 235_093_634_560, after: 180_446_167_040, unit: "count" },
    ],
    layers: grouped(random, layers, experts, after),
    layerErrors: row.layerErrors!,
    losses: Object.entries(LOSSES).map(([name, size]) => ({
      name,
      errors: Array.from({ length: layers }, (_, layer) => ({
        layer,
        error: size * (1 + layer / layers + random.next()),
      })),
      domains: Object.fromEntries(DOMAINS.map((domain, i) => [domain, size * (1.2 + i / 3)])),
    })),
    observation: Array.from({ length: layers }, (_, layer) => observed(random, layer, layers, experts)),
    evaluation: {
      tasks: TASKS,
      original: { ...averages(original), tasks: original, heldOut: heldOut(random, 0) },
      compressed: row,
    },
    seconds: 7412,
    memoryBytes: 21.4e9,
    provenance: [{ name: "ream", value: "0.1.0" }],
  };
}

function studyRow(
  random: Random,
  method: string,
  left: number,
  mix: readonly [number, number, number],
  original: Readonly<Record<string, number>>,
  layers: number,
  experts: number,
): StudyRow {
  const ratio = left / experts;
  const loss = PENALTY[method]! + 14 * (1 - ratio) ** 2 * 4;
  const changes = TASKS.map(({ name, suite, items = 1000 }): [string, PairedDifference] => {
    const focus = suite === "mc" ? mix[0] : name === "gsm8k" ? mix[1] : mix[2];
    const value = -loss * (1.5 - focus) * (0.6 + 0.8 * random.next()) + 1.4 * random.next();
    const reach = 60 / Math.sqrt(items);
    return [name, { value, interval: [value - reach, value + reach], p: Math.exp(-((value / reach) ** 2) * 2) }];
  });
  const differences = Object.fromEntries(changes);
  const tasks = Object.fromEntries(
    changes.map(([name, { value }]) => [name, Math.max(0, Math.min(100, original[name]! + value))]),
  );
  return {
    method,
    experts: left,
    mix: Object.fromEntries(DOMAINS.map((domain, i) => [domain, mix[i]!])),
    ...averages(tasks),
    tasks,
    differences,
    heldOut: heldOut(random, (loss / 40) * (1.3 - Math.max(...mix) * 0.4)),
    layerErrors: Array.from({ length: layers }, (_, layer) => ({
      layer,
      error: (0.02 + 0.01 * PENALTY[method]! + 0.05 * (1 - ratio)) * (1 + layer / layers + 0.4 * random.next()),
    })),
    seconds: 1200 + 900 * random.next() + 300 * PENALTY[method]!,
    memoryBytes: 9e9 + 4e9 * random.next(),
  };
}

function averages(tasks: Readonly<Record<string, number>>) {
  const mean = (suite: string) => {
    const own = TASKS.filter((task) => task.suite === suite);
    return own.reduce((sum, { name }) => sum + tasks[name]!, 0) / own.length;
  };
  const [mc, gen] = [mean("mc"), mean("gen")];
  return { mc, gen, avg: (mc + gen) / 2 };
}

function heldOut(random: Random, divergence: number): Readonly<Record<string, HeldOutScores>> {
  const scores = (place: number): HeldOutScores => {
    const own = divergence * (0.6 + 0.3 * place + 0.5 * random.next());
    return { perplexity: 6.2 * Math.exp(own / 2) - place, agreement: 1 - Math.min(0.5, own / 1.5), divergence: own };
  };
  return Object.fromEntries(DOMAINS.map((domain, i) => [domain, scores(i)]));
}

function observed(random: Random, layer: number, layers: number, experts: number): LayerObservation {
  const steep = 1 + (3 * layer) / layers;
  const saliency = Array.from({ length: experts }, () => random.next() ** steep + 0.02);
  const special = 0.3 + 0.7 * (layer / layers);
  const leaning = Array.from({ length: experts }, () => Math.floor(3 * random.next()));
  const usage = DOMAINS.map((_, domain) => {
    const raw = leaning.map((own) => (own === domain ? 1 + 4 * special * random.next() : 1 - special * random.next()));
    const sum = raw.reduce((a, b) => a + b, 0);
    return raw.map((value) => value / sum);
  });
  return { layer, saliency, usage: Object.fromEntries(DOMAINS.map((domain, i) => [domain, usage[i]!])) };
}

/** Every expert that is not kept goes to a centroid; early ones take more. */
function grouped(random: Random, layers: number, experts: number, after: number): readonly LayerGroups[] {
  return Array.from({ length: layers }, (_, layer) => {
    const members = Array.from({ length: after }, (_, centroid) => [centroid]);
    for (let expert = after; expert < experts; expert++) members[Math.floor(after * random.next() ** 3)]!.push(expert);
    const groups = members.map((own) => ({
      members: own,
      weights: own
        .map((_, place) => (place === 0 ? 0.6 : 0.4 / (own.length - 1)))
        .map((w) => (own.length === 1 ? 1 : w)),
    }));
    return { layer, groups };
  });
}

function pruned(layers: number, experts: number, after: number): readonly LayerGroups[] {
  return Array.from({ length: layers }, (_, layer) => ({
    layer,
    groups: Array.from({ length: after }, (_, kept) => ({ members: [kept + (experts - after)], weights: [1] })),
  }));
}
