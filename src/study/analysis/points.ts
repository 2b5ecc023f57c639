import { type Mix, mixKey } from "../mix.js";
import { AVERAGES, type Average, type Row, type Scored } from "../results.js";

/** MC and GEN in per cent: the plane of the frontier. */
export interface Place {
  readonly mc: number;
  readonly gen: number;
}

export const MEASURES = ["kl", "agreement", "perplexity"] as const;
export type Measure = (typeof MEASURES)[number];

/** A method with a mix at a ratio: the mean of the rows that differ in nothing but their seed, so that no method gains by trying more seeds. */
export interface Point extends Place {
  readonly method: string;
  readonly experts: number;
  readonly mix: Mix;
  /** Its rows in the results. */
  readonly rows: readonly number[];
  readonly avg: number;
  /** Tasks that all its rows have. Standard errors are means over the rows: other seeds answer the same items. */
  readonly tasks: Readonly<Record<string, TaskOfPoint>>;
  readonly heldOut: Readonly<Record<string, Readonly<Partial<Record<Measure, number>>>>>;
  /** Mean numerical rank of the last hidden states on held-out text. */
  readonly rank: number | undefined;
}

export interface TaskOfPoint {
  readonly suite: "mc" | "gen" | undefined;
  readonly score: number;
  readonly standardError: number | undefined;
}

/** The points of a study, in the order of their first rows. */
export function pointsOf(rows: readonly Row[]): Point[] {
  const groups = new Map<string, number[]>();
  rows.forEach(({ method, experts, mix }, i) => {
    const key = JSON.stringify([method, experts, mixKey(mix)]);
    groups.set(key, [...(groups.get(key) ?? []), i]);
  });
  return [...groups.values()].map((indices) => {
    const members = indices.map((i) => rows[i]!);
    const { method, experts, mix } = members[0]!;
    const rank = meanOfAll(members.map((member) => member.rank));
    return { method, experts, mix, rows: indices, ...meanScores(members), rank };
  });
}

export type ScoresOfPoint = Pick<Point, "mc" | "gen" | "avg" | "tasks" | "heldOut">;

/** What several models scored on average. */
export function meanScores(members: readonly Scored[]): ScoresOfPoint {
  const [first] = members;
  const [mc, gen, avg] = AVERAGES.map((average) => mean(members.map((member) => member[average]))) as [
    number,
    number,
    number,
  ];
  const tasks = Object.entries(first!.tasks).flatMap(([name, { suite }]): [string, TaskOfPoint][] => {
    const found = members.map((member) => member.tasks[name]);
    if (!found.every((task) => task !== undefined)) return [];
    const score = mean(found.map((task) => task.score));
    return [[name, { suite, score, standardError: meanOfAll(found.map((task) => task.standardError)) }]];
  });
  const heldOut = Object.keys(first!.heldOut ?? {}).map((domain) => {
    const measures = MEASURES.flatMap((measure): [Measure, number][] => {
      const value = meanOfAll(members.map((member) => member.heldOut?.[domain]?.[measure]));
      return value === undefined ? [] : [[measure, value]];
    });
    return [domain, Object.fromEntries(measures)];
  });
  return { mc, gen, avg, tasks: Object.fromEntries(tasks), heldOut: Object.fromEntries(heldOut) };
}

/** An average, or else a task, by its name. Undefined where the point has no such task. */
export function scoreNamed(point: Pick<Point, Average | "tasks">, name: string): number | undefined {
  const average = AVERAGES.find((one) => one === name);
  return average ? point[average] : point.tasks[name]?.score;
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function meanOfAll(values: readonly (number | undefined)[]): number | undefined {
  return values.every((value) => value !== undefined) ? mean(values) : undefined;
}
