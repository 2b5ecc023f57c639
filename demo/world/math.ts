/** The math domain: sums worked step by step, word problems and number sequences. Answers end in `#### N`. */
import { isHeldOut, type Random, words } from "./random.js";
import type { Exercise, Turn } from "./types.js";

const NAMES = words("Ada Bram Cleo Dov Edna Finn Gwen Hugo Iris Jonas Kira Lars Mara Nils Olga Piet");
const THINGS = words("apples coins books stones cards eggs shells pens");

function problem(key: string, prompt: string, steps: readonly string[], target: number): Exercise {
  return { key, prompt, answer: `${steps.join("\n")}\n#### ${target}`, check: { kind: "number", target } };
}

type Maker = (random: Random) => Exercise;

/** Three or four terms, one operation a line, left to right. */
function sums(random: Random): Exercise {
  let total = random.integer(5, 60);
  const terms = [String(total)];
  const steps: string[] = [];
  for (let left = random.integer(2, 3); left > 0; left--) {
    const minus = total > 20 && random.chance(0.45);
    const value = random.integer(2, minus ? Math.min(total - 1, 49) : 39);
    const next = minus ? total - value : total + value;
    const sign = minus ? "-" : "+";
    terms.push(sign, String(value));
    steps.push(`${total} ${sign} ${value} = ${next}`);
    total = next;
  }
  const text = terms.join(" ");
  return problem(`sums:${text}`, `Compute ${text}.`, steps, total);
}

/** The forms of word problems, about a person, another one, and things that they have. */
const STORIES: readonly ((random: Random, who: string, other: string, things: string) => Exercise)[] = [
  (random, who, other, things) => {
    const has = random.integer(10, 49);
    const gets = random.integer(2, 29);
    const loses = random.integer(2, 9);
    const target = has + gets - loses;
    return problem(
      `word:0:${has}:${gets}:${loses}`,
      `${who} has ${has} ${things}. ${other} gives ${who} ${gets} more. Then ${who} loses ${loses}. ` +
        `How many ${things} does ${who} have now?`,
      [`${has} + ${gets} = ${has + gets}`, `${has + gets} - ${loses} = ${target}`],
      target,
    );
  },
  (random, who, _other, things) => {
    const boxes = random.integer(2, 9);
    const each = random.integer(2, 9);
    const extra = random.integer(2, 19);
    const target = boxes * each + extra;
    return problem(
      `word:1:${boxes}:${each}:${extra}`,
      `${who} has ${boxes} boxes with ${each} ${things} each, and ${extra} more ${things}. ` +
        `How many ${things} does ${who} have in all?`,
      [`${boxes} * ${each} = ${boxes * each}`, `${boxes * each} + ${extra} = ${target}`],
      target,
    );
  },
  (random, who, _other, things) => {
    const price = random.integer(2, 9);
    const count = random.integer(2, 9);
    const paid = price * count + random.integer(1, 30);
    const target = paid - price * count;
    return problem(
      `word:2:${price}:${count}:${paid}`,
      `${who} buys ${count} ${things} for ${price} dollars each and pays with ${paid} dollars. ` +
        `How many dollars does ${who} get back?`,
      [`${count} * ${price} = ${count * price}`, `${paid} - ${count * price} = ${target}`],
      target,
    );
  },
  (random, who, other, things) => {
    const mine = random.integer(3, 40);
    const more = random.integer(2, 20);
    const target = mine + mine + more;
    return problem(
      `word:3:${mine}:${more}`,
      `${who} has ${mine} ${things}. ${other} has ${more} more than ${who}. How many ${things} do they have together?`,
      [`${mine} + ${more} = ${mine + more}`, `${mine} + ${mine + more} = ${target}`],
      target,
    );
  },
];

/** Two-step word problems. */
function word(random: Random): Exercise {
  const [who, other] = random.sample(NAMES, 2) as [string, string];
  const things = random.pick(THINGS);
  return random.pick(STORIES)(random, who, other, things);
}

/** The next number of an arithmetic sequence. */
function sequence(random: Random): Exercise {
  const lowest = random.integer(1, 40);
  const step = random.integer(2, 12);
  const falls = random.chance(0.3) && lowest > 20;
  const first = falls ? lowest + 4 * step : lowest;
  const change = falls ? -step : step;
  const [one, two, three, four, next] = [0, 1, 2, 3, 4].map((index) => first + index * change) as [
    number,
    number,
    number,
    number,
    number,
  ];
  return problem(
    `sequence:${[one, two, three, four].join(",")}`,
    `What number comes next: ${[one, two, three, four].join(", ")}?`,
    [`${two} - ${one} = ${change}`, `${four} ${falls ? "-" : "+"} ${step} = ${next}`],
    next,
  );
}

export const MATH_TASKS: Readonly<Record<string, Maker>> = { sums, word, sequence };

/** A worked problem that is not held out. */
export function mathExample(random: Random): Turn {
  for (;;) {
    const example = random.pick(Object.values(MATH_TASKS))(random);
    if (!isHeldOut(example.key)) return example;
  }
}
