import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { Random } from "../src/random.js";

/** A prompt, and how many tokens its answer has. */
export interface Request {
  readonly prompt: readonly number[];
  readonly tokens: number;
}

/** Requests that a program gets, and how. */
export interface Workload {
  readonly name: string;
  /** Most answers at a time. */
  readonly batch: number;
  /** How often it is measured. */
  readonly rounds: number;
  /** Requests in their order. A group begins when the one before it has ended, as the tasks of an evaluation do. */
  readonly groups: readonly (readonly Request[])[];
}

/** A request with what it was made from. */
interface TaskRequest extends Request {
  readonly task: string;
  /** Of its text, in characters. */
  readonly promptLength: number;
}

const FOLDER = join(import.meta.dirname, "../../test/goldens/evaluate");
/** Characters of a token, about what tokenizers of today need for English and for code. */
const TOKEN = 4;

/**
 * Requests as long as those of GSM8K (question and solution, no examples), HumanEval (canonical solutions) and IFEval
 * (answers of GPT-4), in a random order; prompts and answers are shorter by the same factor. Their ids are random.
 */
export function taskRequests(count: number, shorten: number, vocabulary: number): TaskRequest[] {
  const answers = new Map(
    readLines("metrics/ifeval-answers")
      .filter(({ alteration }) => alteration === "as given")
      .map(({ key, response }) => [key, response]),
  );
  const texts = [
    ...readLines("data/gsm8k").map((item) => ["gsm8k", `Question: ${item.question}\nAnswer:`, item.answer] as const),
    ...readLines("data/humaneval").map((item) => ["humaneval", item.prompt, item.canonical_solution] as const),
    ...readLines("data/ifeval").map((item) => ["ifeval", item.prompt, answers.get(item.key)] as const),
  ];
  // Evenly spaced among those of a task in the order of their lengths: a random sample of this size may have far more
  // or fewer long answers than the whole.
  const sorted = texts.sort((a, b) => a[0].localeCompare(b[0]) || a[2]!.length - b[2]!.length);
  const random = new Random(1);
  const chosen = [...random.permutation(count)].map(
    (index) => sorted[Math.floor(((index + 0.5) * sorted.length) / count)]!,
  );
  const tokens = (text: string) => Math.max(1, Math.round(text.length / TOKEN / shorten));
  return chosen.map(([task, prompt, answer]) => ({
    task,
    promptLength: prompt!.length,
    prompt: randomIds(random, tokens(prompt!), vocabulary),
    tokens: tokens(answer!),
  }));
}

/** Requests of one length. */
export function equalRequests(count: number, prompt: number, tokens: number, vocabulary: number): Request[] {
  const random = new Random(2);
  return Array.from({ length: count }, () => ({ prompt: randomIds(random, prompt, vocabulary), tokens }));
}

/** Those with the longest prompts first, so that a batch has little padding. */
export function byPrompt(requests: readonly TaskRequest[]): TaskRequest[] {
  return [...requests].sort((a, b) => b.promptLength - a.promptLength);
}

/** The requests of each task. */
export function byTask(requests: readonly TaskRequest[]): TaskRequest[][] {
  const tasks = new Map<string, TaskRequest[]>();
  for (const request of requests) tasks.set(request.task, [...(tasks.get(request.task) ?? []), request]);
  return [...tasks.values()];
}

/** Tokens of all answers, for each time that the workload is run. */
export function answerTokens({ groups }: Workload): number {
  return groups.flat().reduce((sum, { tokens }) => sum + tokens, 0);
}

/** Rows that batches compute for each token of an answer, if each goes on until its longest answer has ended. */
export function paddingFactor(workload: Workload): number {
  const { batch, groups } = workload;
  let rows = 0;
  for (const group of groups) {
    for (let first = 0; first < group.length; first += batch) {
      const some = group.slice(first, first + batch);
      rows += some.length * Math.max(...some.map(({ tokens }) => tokens));
    }
  }
  return rows / answerTokens(workload);
}

function randomIds(random: Random, count: number, vocabulary: number): number[] {
  return Array.from({ length: count }, () => random.below(vocabulary));
}

/** Lines of a file of the reference data. */
function readLines(name: string): Record<string, string>[] {
  const text = gunzipSync(readFileSync(join(FOLDER, `${name}.jsonl.gz`))).toString();
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, string>);
}
