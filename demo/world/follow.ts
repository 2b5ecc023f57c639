/** Instructions that a program can verify. */
import { isHeldOut, type Random, words } from "./random.js";
import type { Exercise, Rule, Turn } from "./types.js";

const GROUPS: Record<string, readonly string[]> = {
  animals: words("ant bee fox cat dog wolf goat lion horse whale crow eagle"),
  colors: words("red blue green black white yellow brown grey"),
  foods: words("bread soup rice cheese apples plums fish honey beans corn"),
  jobs: words("baker teacher sailor farmer doctor painter tailor miner"),
};
const SEPARATORS: readonly (readonly [name: string, text: string])[] = [
  ["commas", ", "],
  ["dashes", " - "],
  ["slashes", " / "],
  ["semicolons", "; "],
];
const STARTS = ["Sure: ", "Here you go: ", "Answer: ", "My list: "];
const ENDS = [" That is all.", " Done.", " The end.", " Good luck."];

/** A list to write in a given form, with one right answer of many. */
export function follow(random: Random): Exercise {
  const group = random.pick(Object.keys(GROUPS));
  const count = random.integer(2, 5);
  const [separatorName, separator] = random.pick(SEPARATORS);
  const upper = random.chance(0.4);
  const start = random.chance(0.4) ? random.pick(STARTS) : "";
  const end = random.chance(0.4) ? random.pick(ENDS) : "";

  const asked = [`Name ${count} ${group} with ${separatorName} between them.`];
  if (upper) asked.push("Write the words in capital letters.");
  if (start) asked.push(`Begin with "${start.trim()}".`);
  if (end) asked.push(`End with "${end.trim()}".`);
  const prompt = asked.join(" ");

  const chosen = random.sample(GROUPS[group]!, count).map((word) => (upper ? word.toUpperCase() : word));
  const rules: Rule[] = [
    { rule: "count", separator, count },
    { rule: "among", separator, words: GROUPS[group]! },
    { rule: upper ? "uppercase" : "lowercase" },
  ];
  if (start) rules.push({ rule: "starts", text: start });
  if (end) rules.push({ rule: "ends", text: end });
  return {
    key: `follow:${prompt}`,
    prompt,
    answer: start + chosen.join(separator) + end,
    check: { kind: "instructions", rules },
  };
}

/** An instruction that is not held out. */
export function followExample(random: Random): Turn {
  for (;;) {
    const instruction = follow(random);
    if (!isHeldOut(instruction.key)) return instruction;
  }
}
