import { z } from "zod";
import { Random } from "../../random.js";
import { sha256 } from "../../sha256.js";
import { letterJudge } from "../judges/letter.js";
import { strip } from "../judges/python-text.js";
import { generateTask } from "../task.js";

const row = z.object({
  "Record ID": z.string().nullish(),
  Question: z.string(),
  "Correct Answer": z.string().nullable(),
  "Incorrect Answer 1": z.string().nullable(),
  "Incorrect Answer 2": z.string().nullable(),
  "Incorrect Answer 3": z.string().nullable(),
});

interface Row {
  readonly question: string;
  /** In the order in which they are asked. */
  readonly choices: readonly string[];
  /** A, B, C or D. */
  readonly answer: string;
  readonly record: string | null;
}

const LETTERS = "ABCD";

/** An option as lm-eval cleans it. */
function cleaned(option: string | null): string {
  return option === null ? " " : strip(option).replaceAll(" [title]", ". ").replaceAll("  ", " ");
}

/** Puts the options into an order that depends on the seed and the question alone. */
function shuffled(raw: z.infer<typeof row>, seed: number): Row {
  const options = [
    raw["Correct Answer"],
    raw["Incorrect Answer 1"],
    raw["Incorrect Answer 2"],
    raw["Incorrect Answer 3"],
  ];
  const random = new Random(Number.parseInt(sha256(`${seed}\n${raw.Question}`).slice(0, 8), 16));
  const order = [...random.permutation(options.length)];
  return {
    question: raw.Question,
    choices: order.map((i) => cleaned(options[i]!)),
    answer: LETTERS[order.indexOf(0)]!,
    record: raw["Record ID"] ?? null,
  };
}

/** Asked as in OpenAI's simple-evals: reasoning first, the letter in the last line. */
export const gpqaDiamond = generateTask<Row>({
  name: "gpqa_diamond",
  version: 1,
  suite: "gen",
  kind: "generate",
  data: { repository: "Idavidrein/gpqa", config: "gpqa_diamond", split: "train" },
  row,
  prepare: (docs, seed) => docs.map((doc) => shuffled(doc as z.infer<typeof row>, seed)),
  fewshot: { count: 0, pick: "random" },
  chat: "multi",
  question: ({ question, choices }) =>
    "Answer the following multiple choice question. The last line of your response should be of the following format: " +
    "'Answer: $LETTER' (without quotes) where LETTER is one of ABCD. Think step by step before answering.\n\n" +
    `${question}\n\n${choices.map((choice, i) => `${LETTERS[i]}) ${choice}`).join("\n")}`,
  target: ({ answer }) => answer,
  stops: [],
  maxTokens: 32_768,
  judge: letterJudge,
  primary: "exact_match,letter",
});
