/** Writes the demo world: training, calibration and held-out text, and the tasks. */
import { once } from "node:events";
import { createWriteStream, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { CODE_TASKS, codeExample } from "./code.js";
import { follow, followExample } from "./follow.js";
import { CHOICE_TASKS, generalText } from "./general.js";
import { MATH_TASKS, mathExample } from "./math.js";
import { hash, isHeldOut, Random } from "./random.js";
import type { ChoiceItem, Exercise, GenerateItem, Turn } from "./types.js";

const ITEMS_PER_TASK = 200;
const CALIBRATION_TEXTS = 6000;
const HELD_OUT_TEXTS = 300;
/** Some tasks have fewer questions than ITEMS_PER_TASK; this many tries find all of them. */
const MAXIMUM_TRIES = 200_000;

/** ChatML, as the tokenizer's chat template writes it. */
const chat = ({ prompt, answer }: Turn) =>
  `<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n${answer}<|im_end|>\n`;

type Domain = "general" | "math" | "code";

const TEXT: Readonly<Record<Domain, (random: Random) => string>> = {
  general: (random) => (random.chance(0.18) ? chat(followExample(random)) : generalText(random)),
  math: (random) => chat(mathExample(random)),
  code: (random) => chat(codeExample(random)),
};
const DOMAINS = Object.keys(TEXT) as Domain[];

/** The share of each domain in the training text, in tenths. */
const TRAINING_MIX: readonly Domain[] = [
  ...Array<Domain>(4).fill("general"),
  ...Array<Domain>(3).fill("math"),
  ...Array<Domain>(3).fill("code"),
];

/** A new item of a task, the key that decides whether it is held out, and what makes it another item than the last. */
interface Candidate {
  readonly key: string;
  readonly identity: string;
  readonly item: ChoiceItem | GenerateItem;
}

const TASKS: Readonly<Record<string, (random: Random) => Candidate>> = {
  ...mapValues(CHOICE_TASKS, (make) => (random: Random) => {
    const { key, ...item } = make(random);
    return { key, identity: item.query + item.choices.join("|"), item };
  }),
  ...mapValues({ ...MATH_TASKS, ...CODE_TASKS, follow }, (make: (random: Random) => Exercise) => (random: Random) => {
    const { key, prompt, check } = make(random);
    return { key, identity: key, item: { prompt, check } };
  }),
};

function mapValues<A, B>(record: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

/**
 * Writes into the folder `out`:
 *   train.jsonl              training documents {domain, text}
 *   calibration/DOMAIN.jsonl text of the same kind, from other seeds
 *   heldout/DOMAIN.jsonl     text of the same kind that neither of them repeats
 *   tasks/NAME.jsonl         evaluation items, all of them held out from every text
 * Deterministic; only train.jsonl and heldout/ depend on the number of training documents.
 */
export async function buildWorld(out: string, documents: number): Promise<void> {
  for (const folder of ["calibration", "heldout", "tasks"]) mkdirSync(join(out, folder), { recursive: true });

  /** Hashes of all texts so far: whole texts would fill the memory, and a collision only skips a text. */
  const seen = new Set<number>();

  for (const domain of DOMAINS) {
    const random = new Random(`calibration:${domain}`);
    const texts = Array.from({ length: CALIBRATION_TEXTS }, () => TEXT[domain](random));
    for (const text of texts) seen.add(hash(text));
    writeTexts(join(out, "calibration", `${domain}.jsonl`), texts);
  }
  for (const [name, make] of Object.entries(TASKS)) {
    writeLines(join(out, "tasks", `${name}.jsonl`), heldOutItems(name, make));
  }
  await writeTraining(join(out, "train.jsonl"), documents, seen);
  for (const domain of DOMAINS) {
    writeTexts(join(out, "heldout", `${domain}.jsonl`), unseenTexts(domain, seen));
  }
}

function heldOutItems(name: string, make: (random: Random) => Candidate): unknown[] {
  const random = new Random(`task:${name}`);
  const items = new Map<string, unknown>();
  for (let tries = 0; items.size < ITEMS_PER_TASK && tries < MAXIMUM_TRIES; tries++) {
    const { key, identity, item } = make(random);
    if (isHeldOut(key)) items.set(identity, item);
  }
  return [...items.values()];
}

async function writeTraining(path: string, documents: number, seen: Set<number>): Promise<void> {
  const random = new Random("train");
  const stream = createWriteStream(path);
  for (let written = 0; written < documents; written++) {
    const domain = random.pick(TRAINING_MIX);
    const text = TEXT[domain](random);
    seen.add(hash(text));
    if (!stream.write(`${JSON.stringify({ domain, text })}\n`)) await once(stream, "drain");
  }
  stream.end();
  await finished(stream);
}

function unseenTexts(domain: Domain, seen: Set<number>): string[] {
  const random = new Random(`heldout:${domain}`);
  const texts: string[] = [];
  while (texts.length < HELD_OUT_TEXTS) {
    const text = TEXT[domain](random);
    if (seen.has(hash(text))) continue;
    seen.add(hash(text));
    texts.push(text);
  }
  return texts;
}

function writeTexts(path: string, texts: readonly string[]): void {
  writeLines(
    path,
    texts.map((text) => ({ text })),
  );
}

function writeLines(path: string, rows: readonly unknown[]): void {
  writeFileSync(path, `${rows.map((row) => JSON.stringify(row)).join("\n")}\n`);
}
