import { ReamError } from "../errors.js";

/** Longest regular expression, and most repetitions without a bound in one: names of modules need less. */
const MOST_CHARACTERS = 500;
const MOST_REPETITIONS = 4;
/** Longest name that is compared with one. */
const LONGEST_NAME = 200;

/** Modules by name. */
export interface ModulePatterns {
  matches(module: string): boolean;
}

/**
 * A list of compressed-tensors (`targets`, `ignore`): names, and after `re:` regular expressions of Python that match from
 * the start of a name (`match_name` there). An expression that JavaScript might understand in another way, or that might
 * take very long, is `CONFIG_UNSUPPORTED`.
 *
 * @param where the list's place in config.json, for errors
 */
export function modulePatterns(list: readonly string[], where: string): ModulePatterns {
  const names = new Set(list.filter((entry) => !entry.startsWith("re:")));
  const expressions = list.filter((entry) => entry.startsWith("re:")).map((entry) => expressionOf(entry, where));
  return {
    matches: (module) =>
      names.has(module) || (module.length <= LONGEST_NAME && expressions.some((expression) => expression.test(module))),
  };
}

function expressionOf(entry: string, where: string): RegExp {
  const text = entry.slice("re:".length);
  const reason = unsafe(text);
  if (reason !== undefined) throw unsupported(entry, where, reason);
  try {
    return new RegExp(`^(?:${text})`);
  } catch (error) {
    throw unsupported(entry, where, error instanceof Error ? error.message : String(error));
  }
}

function unsupported(entry: string, where: string, reason: string): ReamError {
  return new ReamError("CONFIG_UNSUPPORTED", `${JSON.stringify(entry)} is no pattern that is supported: ${reason}`, {
    where,
    hint: "Name the modules instead.",
  });
}

/** What Python and JavaScript read alike: a character, class or escape, groups and lookaheads, quantifiers. */
const TOKEN =
  /\\[.\\/\-_+*?|()[\]{}^$dDwWsSbB]|\[\^?\]?(?:\\[.\-\]\\dw]|[^\]\\])*\]|\(\?[:=!]|[*+?]\??|\{\d{1,3}(?:,\d{0,3})?\}|[^\\[]/gy;

/**
 * Why an expression is not used. Repeated groups are refused, as what takes exponential time has them (`(a+)+`); with a few
 * repetitions of single characters the time is a polynomial of the name's length.
 */
function unsafe(text: string): string | undefined {
  if (text.length > MOST_CHARACTERS) return `it has more than ${MOST_CHARACTERS} characters`;
  const tokens = text.match(TOKEN) ?? [];
  if (tokens.join("") !== text)
    return `it is not understood from ${JSON.stringify(text.slice(tokens.join("").length))} on`;
  let repetitions = 0;
  for (const [i, token] of tokens.entries()) {
    if (!/^[*+?{]/.test(token)) continue;
    if (tokens[i - 1] === "(") return "a kind of group is not supported";
    if (token.startsWith("?")) continue;
    if (tokens[i - 1] === ")") return "a group is repeated";
    repetitions++;
  }
  return repetitions > MOST_REPETITIONS ? `it has more than ${MOST_REPETITIONS} repetitions` : undefined;
}
