import { ReamError } from "../errors.js";
import { JsonScanner } from "./json-scanner.js";
import type { DType } from "./tensor.js";

/** Every key under which a family's config.json tells its number of routed experts. */
export const EXPERT_COUNT_KEYS = ["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"] as const;

const TORCH_NAMES: Readonly<Partial<Record<DType, string>>> = { BF16: "bfloat16", F16: "float16", F32: "float32" };

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * The text of config.json with another number of experts: under every key of `EXPERT_COUNT_KEYS`, at the top or in nested
 * objects such as text_config, that holds `before`, or a list of it for each layer. Everything else stays as it is written.
 * Throws `CONFIG_EXPERT_COUNT` where no such key holds `before`.
 *
 * @param part keys that lead to the only object whose numbers are meant, where another part has experts too
 */
export function editExpertCount(config: string, before: number, after: number, part: readonly string[] = []): string {
  const keys: readonly string[] = EXPERT_COUNT_KEYS;
  const { text, edits } = editScalars(config, (key, value, path) =>
    keys.includes(key) && value === before && part.every((name, depth) => path[depth] === name) ? after : undefined,
  );
  if (edits === 0) {
    throw new ReamError("CONFIG_EXPERT_COUNT", `no key tells a number of ${before} experts`, {
      where: "config.json",
      hint: `Expected one of ${keys.join(", ")}.`,
    });
  }
  return text;
}

/** Every key under which a family's config.json tells its number of layers for multi-token prediction. */
const PREDICTION_KEYS: readonly string[] = ["num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers"];

/** The text of config.json that tells of no layers for multi-token prediction. */
export function editNoPredictions(config: string): string {
  return editScalars(config, (key, value) =>
    PREDICTION_KEYS.includes(key) && typeof value === "number" ? 0 : undefined,
  ).text;
}

/** The text of config.json with another dtype under `torch_dtype` and `dtype`, wherever one of them holds a name. */
export function editDtype(config: string, dtype: DType): string {
  const name = TORCH_NAMES[dtype];
  if (name === undefined) throw new RangeError(`config.json cannot name ${dtype} as a model's dtype`);
  const isDtype = (key: string, value: unknown) =>
    (key === "torch_dtype" || key === "dtype") && typeof value === "string";
  return editScalars(config, (key, value) => (isDtype(key, value) ? name : undefined)).text;
}

/**
 * The text of config.json without a key, at the top or in nested objects such as text_config, and its value. Everything else
 * stays as it is written.
 */
export function removeKey(config: string, removed: string): string {
  const scanner = new JsonScanner(config, "config.json", true, { nonFinite: true });
  /** Where what is before the member ends, and the depth inside its value. */
  let found: { readonly from: number; depth: number } | undefined;
  const cuts: { readonly from: number; readonly to: number }[] = [];
  let before = 0;
  for (let event = scanner.next(); event !== "end"; event = scanner.next()) {
    if (found === undefined) {
      if (event === "key" && scanner.value === removed) found = { from: before, depth: 0 };
      else before = scanner.end;
      continue;
    }
    if (event === "{" || event === "[") found.depth++;
    else if (event === "}" || event === "]") found.depth--;
    if (found.depth === 0 && event !== "key") {
      cuts.push({ from: found.from, to: scanner.end });
      found = undefined;
    }
  }
  let text = config;
  for (const { from, to } of cuts.reverse()) {
    const rest = text.slice(to);
    // The comma before it goes with it, or where it is the first member the one behind.
    text = text.slice(0, from) + (text[from - 1] === "{" ? rest.replace(/^\s*,/, "") : rest);
  }
  return text;
}

/** The text of config.json with one more key at its end, indented as the file is. The key must not be there yet. */
export function addKey(config: string, key: string, value: unknown): string {
  const end = config.lastIndexOf("}");
  const indent = /\n([ \t]+)"/.exec(config)?.[1] ?? "  ";
  const text = JSON.stringify(value, null, indent).replaceAll("\n", `\n${indent}`);
  const before = config.slice(0, end).trimEnd();
  const comma = before.endsWith("{") ? "" : ",";
  return `${before}${comma}\n${indent}${JSON.stringify(key)}: ${text}\n${config.slice(end)}`;
}

/**
 * Replaces values in JSON text in place. `replace` is asked for each scalar that stands under a key of an object that no
 * list contains, or in a list under such a key, and gives the new value, or undefined to keep it. `path`: the keys of the
 * objects around that one.
 */
function editScalars(
  json: string,
  replace: (
    key: string,
    value: string | number | boolean | null,
    path: readonly string[],
  ) => string | number | undefined,
): { text: string; edits: number } {
  const scanner = new JsonScanner(json, "config.json", true, { nonFinite: true });
  const edits: Edit[] = [];
  /** Open lists, and objects within them. */
  let [lists, inner] = [0, 0];
  let [key, listKey] = ["", ""];
  /** Keys of the open objects; the outermost has none. */
  const path: string[] = [];
  for (let event = scanner.next(); event !== "end"; event = scanner.next()) {
    if (event === "[") {
      if (lists++ === 0) listKey = key;
    } else if (event === "]") lists--;
    else if (event === "{") {
      path.push(key);
      if (lists > 0) inner++;
    } else if (event === "}") {
      path.pop();
      if (lists > 0) inner--;
    } else if (event === "key") key = scanner.value as string;
    else if ((lists === 0 || (lists === 1 && inner === 0)) && path.length > 0) {
      const value = replace(lists === 0 ? key : listKey, scanner.value, path.slice(1));
      if (value !== undefined) edits.push({ start: scanner.start, end: scanner.end, text: JSON.stringify(value) });
    }
  }
  let text = "";
  let at = 0;
  for (const edit of edits) {
    text += json.slice(at, edit.start) + edit.text;
    at = edit.end;
  }
  return { text: text + json.slice(at), edits: edits.length };
}
