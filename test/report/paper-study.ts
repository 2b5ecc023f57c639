import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Front, ReportTask, Scores, StudyReport, StudyRow } from "../../src/report/data.js";

interface PaperScores {
  readonly mc: number;
  readonly gen: number;
  readonly avg: number;
  readonly [task: string]: unknown;
}

interface PaperRow extends PaperScores {
  readonly method: string;
  readonly experts: number;
  readonly mix: Readonly<Record<string, number>>;
}

interface PaperResults {
  readonly original: PaperScores;
  readonly rows: readonly PaperRow[];
  readonly hypervolume: Readonly<Record<string, Readonly<Record<string, readonly [number, number]>>>>;
  readonly correlations: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, number>>>>>>;
}

const TASKS = ["ifeval", "aime25", "gsm8k", "gpqa_diamond", "humaneval", "livecodebench"];
const DOMAINS = ["general", "math", "code"];

/** The ten mixes of Tables 5 and 6; single domains were tried with one method only and are left out. */
function isMix({ mix }: PaperRow): boolean {
  return Math.max(...Object.values(mix)) < 1;
}

/** Tables 5 and 6, Figs. 2 and 3 of the paper. It has no intervals, so its report has none. */
export function paperStudy(): StudyReport {
  const file = fileURLToPath(new URL("../goldens/paper/results.json", import.meta.url));
  const paper = JSON.parse(readFileSync(file, "utf8")) as PaperResults;
  const methods = [...new Set(paper.rows.map(({ method }) => method))];
  const rows = paper.rows.filter(isMix).map((row): StudyRow => {
    return { method: row.method, experts: row.experts, mix: row.mix, ...scoresOf(row) };
  });
  const fronts = [96, 64].flatMap((experts) =>
    methods.map((method): Front => {
      const [hypervolume, optimal] = paper.hypervolume[experts]![method]!;
      const found = paper.correlations[experts]?.[method];
      const share = (domain: string) =>
        [domain, { mc: found![`${domain}_mc`]!, gen: found![`${domain}_gen`]! }] as const;
      return {
        method,
        experts,
        frontier: frontierOf(rows, method, experts),
        hypervolume,
        optimal: [optimal, 10],
        ...(found && { correlations: { shares: Object.fromEntries(DOMAINS.map(share)), mcGen: found.mc_gen! } }),
      };
    }),
  );
  return {
    model: { name: "Qwen3-30B-A3B-Instruct-2507", experts: 128 },
    methods,
    domains: DOMAINS,
    tasks: TASKS.map((name): ReportTask => ({ name, suite: "gen" })),
    original: scoresOf(paper.original),
    rows,
    fronts,
    provenance: [{ name: "source", value: "arXiv 2604.04356v1, Tables 5 and 6" }],
  };
}

function scoresOf(scores: PaperScores): Scores {
  const { mc, gen, avg } = scores;
  return { mc, gen, avg, tasks: Object.fromEntries(TASKS.map((task) => [task, scores[task] as number])) };
}

/** Indices of the rows that no other of the same method and ratio beats in both scores. */
export function frontierOf(rows: readonly StudyRow[], method: string, experts: number): readonly number[] {
  const own = [...rows.entries()].filter(([, row]) => row.method === method && row.experts === experts);
  const beats = (a: StudyRow, b: StudyRow) => a.mc! >= b.mc! && a.gen! >= b.gen! && (a.mc! > b.mc! || a.gen! > b.gen!);
  return own.filter(([, row]) => !own.some(([, other]) => beats(other, row))).map(([index]) => index);
}
