/** The code domain: small JavaScript functions to write, and small programs whose result is asked. */
import { isHeldOut, type Random, words } from "./random.js";
import type { Exercise, Turn } from "./types.js";

const NAMES = words("f solve run calc apply check find build");

/** A condition on a number, in words and in code. */
interface Condition {
  readonly words: string;
  readonly code: string;
  readonly holds: (x: number) => boolean;
}

/** A change of a number, in words and in code. */
interface Change {
  readonly words: string;
  readonly code: string;
  readonly apply: (x: number) => number;
}

/** What a function does with its list `xs`, in words, in code, and for real. */
interface Solution {
  readonly words: string;
  readonly body: readonly string[];
  readonly run: (xs: readonly number[]) => unknown;
}

function pickCondition(random: Random): Condition {
  const limit = random.integer(1, 9);
  const divisor = random.pick([3, 5]);
  return random.pick<Condition>([
    { words: "even", code: "x % 2 === 0", holds: (x) => x % 2 === 0 },
    { words: "odd", code: "x % 2 === 1", holds: (x) => x % 2 === 1 },
    { words: `greater than ${limit}`, code: `x > ${limit}`, holds: (x) => x > limit },
    { words: `less than ${limit}`, code: `x < ${limit}`, holds: (x) => x < limit },
    { words: `a multiple of ${divisor}`, code: `x % ${divisor} === 0`, holds: (x) => x % divisor === 0 },
  ]);
}

function pickChange(random: Random): Change {
  const amount = random.integer(2, 9);
  return random.pick<Change>([
    { words: `add ${amount} to`, code: `x + ${amount}`, apply: (x) => x + amount },
    { words: `subtract ${amount} from`, code: `x - ${amount}`, apply: (x) => x - amount },
    { words: `multiply by ${amount}`, code: `x * ${amount}`, apply: (x) => x * amount },
    { words: "square", code: "x * x", apply: (x) => x * x },
  ]);
}

const sum = (xs: readonly number[]) => xs.reduce((total, x) => total + x, 0);

/** A loop that adds up; `line` is what it does with each `x`. */
const summing = (line: string) => ["let sum = 0;", "for (const x of xs) {", `  ${line}`, "}", "return sum;"];

const SOLUTIONS: readonly ((random: Random) => Solution)[] = [
  (random) => {
    const condition = pickCondition(random);
    return {
      words: `returns the numbers in xs that are ${condition.words}`,
      body: [`return xs.filter((x) => ${condition.code});`],
      run: (xs) => xs.filter(condition.holds),
    };
  },
  (random) => {
    const condition = pickCondition(random);
    return {
      words: `counts the numbers in xs that are ${condition.words}`,
      body: [`return xs.filter((x) => ${condition.code}).length;`],
      run: (xs) => xs.filter(condition.holds).length,
    };
  },
  (random) => {
    const condition = pickCondition(random);
    return {
      words: `returns the sum of the numbers in xs that are ${condition.words}`,
      body: summing(`if (${condition.code}) sum += x;`),
      run: (xs) => sum(xs.filter(condition.holds)),
    };
  },
  (random) => {
    const condition = pickCondition(random);
    return {
      words: `tells if all numbers in xs are ${condition.words}`,
      body: [`return xs.every((x) => ${condition.code});`],
      run: (xs) => xs.every(condition.holds),
    };
  },
  (random) => {
    const condition = pickCondition(random);
    return {
      words: `tells if any number in xs is ${condition.words}`,
      body: [`return xs.some((x) => ${condition.code});`],
      run: (xs) => xs.some(condition.holds),
    };
  },
  (random) => {
    const change = pickChange(random);
    return {
      words: `changes each number in xs: ${change.words} it`,
      body: [`return xs.map((x) => ${change.code});`],
      run: (xs) => xs.map(change.apply),
    };
  },
  (random) => {
    const condition = pickCondition(random);
    const change = pickChange(random);
    return {
      words: `takes the numbers in xs that are ${condition.words} and changes each: ${change.words} it`,
      body: [`return xs.filter((x) => ${condition.code}).map((x) => ${change.code});`],
      run: (xs) => xs.filter(condition.holds).map(change.apply),
    };
  },
  (random) => {
    const change = pickChange(random);
    return {
      words: `changes each number in xs (${change.words} it) and returns the sum`,
      body: summing(`sum += ${change.code};`),
      run: (xs) => sum(xs.map(change.apply)),
    };
  },
  (random) => {
    const largest = random.chance(0.5);
    return {
      words: `returns the ${largest ? "largest" : "smallest"} number in xs`,
      body: [`return Math.${largest ? "max" : "min"}(...xs);`],
      run: (xs) => (largest ? Math.max(...xs) : Math.min(...xs)),
    };
  },
  (random) => {
    const rises = random.chance(0.5);
    return {
      words: `returns xs sorted from ${rises ? "low to high" : "high to low"}`,
      body: [`return [...xs].sort((a, b) => ${rises ? "a - b" : "b - a"});`],
      run: (xs) => [...xs].sort((a, b) => (rises ? a - b : b - a)),
    };
  },
  (random) => {
    const count = random.integer(2, 4);
    const first = random.chance(0.5);
    return {
      words: `returns the ${first ? "first" : "last"} ${count} numbers of xs`,
      body: [`return xs.slice(${first ? `0, ${count}` : `-${count}`});`],
      run: (xs) => (first ? xs.slice(0, count) : xs.slice(-count)),
    };
  },
  () => ({
    words: "returns xs in reverse order",
    body: ["return [...xs].reverse();"],
    run: (xs) => [...xs].reverse(),
  }),
];

/** Write a function: judged by running it. */
function functions(random: Random): Exercise {
  const name = random.pick(NAMES);
  const solution = random.pick(SOLUTIONS)(random);
  const lists = [1, 2, 3].map(() => Array.from({ length: random.integer(4, 7) }, () => random.integer(0, 20)));
  return {
    key: `functions:${solution.words}:${name}`,
    prompt: `Write a function ${name}(xs) that ${solution.words}.`,
    answer: [`function ${name}(xs) {`, ...solution.body.map((line) => `  ${line}`), "}"].join("\n"),
    check: {
      kind: "javascript",
      entry: name,
      tests: lists.map((xs) => ({ args: [xs], expected: solution.run(xs) })),
    },
  };
}

/** Say what a small program returns. */
function trace(random: Random): Exercise {
  const xs = Array.from({ length: random.integer(2, 4) }, () => random.integer(0, 12));
  const condition = pickCondition(random);
  const amount = random.integer(1, 9);
  const [code, value] = random.pick<[string, unknown]>([
    [`xs.filter((x) => ${condition.code})`, xs.filter(condition.holds)],
    [`xs.map((x) => x + ${amount})`, xs.map((x) => x + amount)],
    ["[...xs].reverse()", [...xs].reverse()],
    ["Math.max(...xs)", Math.max(...xs)],
    ["Math.min(...xs)", Math.min(...xs)],
    ["[...xs].sort((a, b) => a - b)", [...xs].sort((a, b) => a - b)],
    [`xs.some((x) => ${condition.code})`, xs.some(condition.holds)],
    ["xs.length", xs.length],
  ]);
  const target = Array.isArray(value) ? `[${value.join(", ")}]` : String(value);
  const list = `[${xs.join(", ")}]`;
  return {
    key: `trace:${code}:${list}`,
    prompt: `const xs = ${list};\nWhat is ${code}?`,
    answer: target,
    check: { kind: "exact", target },
  };
}

export const CODE_TASKS: Readonly<Record<string, (random: Random) => Exercise>> = { functions, trace };

/** An exercise that is not held out. */
export function codeExample(random: Random): Turn {
  for (;;) {
    const exercise = random.chance(0.6) ? functions(random) : trace(random);
    if (!isHeldOut(exercise.key)) return exercise;
  }
}
