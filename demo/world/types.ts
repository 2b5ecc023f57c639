/** Multiple choice, scored by the log-likelihood of each choice after the query. */
export interface ChoiceItem {
  readonly query: string;
  readonly choices: readonly string[];
  /** Index of the right choice. */
  readonly gold: number;
}

/** Generation, judged by what the answer is or does. The prompt is one user turn of a chat. */
export interface GenerateItem {
  readonly prompt: string;
  readonly check: Check;
}

/** One call of a function and what it has to return. */
export interface FunctionTest {
  readonly args: readonly unknown[];
  readonly expected: unknown;
}

export type Check =
  /** The number after the last `####`. */
  | { readonly kind: "number"; readonly target: number }
  /** The whole answer, trimmed. */
  | { readonly kind: "exact"; readonly target: string }
  /** JavaScript: the answer defines `entry`, and each call returns what is expected. */
  | { readonly kind: "javascript"; readonly entry: string; readonly tests: readonly FunctionTest[] }
  /** Instructions that a program can verify, all of which must hold. */
  | { readonly kind: "instructions"; readonly rules: readonly Rule[] };

/** `count` and `among` look at the words between the demanded start and end, `uppercase` and `lowercase` at all of that. */
export type Rule =
  | { readonly rule: "count"; readonly separator: string; readonly count: number }
  | { readonly rule: "uppercase" }
  | { readonly rule: "lowercase" }
  | { readonly rule: "starts"; readonly text: string }
  | { readonly rule: "ends"; readonly text: string }
  | { readonly rule: "among"; readonly separator: string; readonly words: readonly string[] };

/** A turn of a user and its answer. */
export interface Turn {
  readonly prompt: string;
  readonly answer: string;
}

/** A turn that a task can ask: `key` decides whether it is held out, `check` judges other answers. */
export interface Exercise extends Turn {
  readonly key: string;
  readonly check: Check;
}
