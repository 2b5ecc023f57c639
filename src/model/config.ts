import type { JsonObject } from "../checkpoint/json.js";
import { ReamError } from "../errors.js";

/** More than any model has; a damaged count must not fill the memory. */
export const MOST_LAYERS = 10_000;
export const MOST_EXPERTS = 65_536;

/**
 * Typed reading of a model's config.json. A value of the wrong type, or a missing one without a default, is a
 * `CONFIG_VALUE` error that names the key.
 */
export class ConfigReader {
  constructor(
    readonly values: JsonObject,
    private readonly path = "config.json",
  ) {}

  /** The first of `keys` that is present and not null. */
  private find(keys: readonly string[]): { key: string; value: unknown } | undefined {
    const key = keys.find((name) => this.values[name] !== undefined && this.values[name] !== null);
    return key === undefined ? undefined : { key, value: this.values[key] };
  }

  private read<T>(kind: string, accept: (value: unknown) => value is T, keys: readonly string[], fallback?: T): T {
    const found = this.find(keys);
    if (found === undefined && fallback !== undefined) return fallback;
    if (found !== undefined && accept(found.value)) return found.value;
    const what = found === undefined ? "is missing" : `is ${JSON.stringify(found.value)}`;
    throw new ReamError("CONFIG_VALUE", `${found?.key ?? keys.join(" | ")} ${what}, expected ${kind}`, {
      where: this.path,
      hint: "Compare the file with the one on the model's page; it may be damaged or of another family.",
    });
  }

  has(key: string): boolean {
    return this.find([key]) !== undefined;
  }

  /** A whole number from 1 to `most`, under the first key that is present. */
  count(keys: string | readonly string[], fallback?: number, most = 2 ** 31): number {
    const whole = (value: unknown): value is number =>
      Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= most;
    return this.read(`a whole number from 1 to ${most}`, whole, typeof keys === "string" ? [keys] : keys, fallback);
  }

  /** A count that may be given as a list with one for each layer, which then has to be the same for all. */
  uniformCount(keys: readonly string[], most = 2 ** 31): number {
    const found = this.find(keys);
    if (!Array.isArray(found?.value)) return this.count(keys, undefined, most);
    const [first, ...others] = found.value as unknown[];
    const other = others.find((value) => value !== first);
    if (other === undefined)
      return new ConfigReader({ [found.key]: first }, this.path).count(found.key, undefined, most);
    throw new ReamError("CONFIG_UNSUPPORTED", `${found.key} has both ${first} and ${other}`, {
      where: this.path,
      hint: "Models whose layers have different numbers of experts are not supported.",
    });
  }

  /** A finite number. */
  number(keys: string | readonly string[], fallback?: number): number {
    const finite = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
    return this.read("a number", finite, typeof keys === "string" ? [keys] : keys, fallback);
  }

  boolean(key: string, fallback: boolean): boolean {
    return this.read("true or false", (value): value is boolean => typeof value === "boolean", [key], fallback);
  }

  /** true or false, also as a number: some configs have 4 for true. */
  flag(key: string, fallback: boolean): boolean {
    return typeof this.values[key] === "number" ? this.number(key) !== 0 : this.boolean(key, fallback);
  }

  string(key: string, fallback?: string): string {
    return this.read("a string", (value): value is string => typeof value === "string", [key], fallback);
  }

  /** A list of whole numbers, empty where the key is absent. */
  integers(key: string): readonly number[] {
    const list = (value: unknown): value is number[] => Array.isArray(value) && value.every(Number.isSafeInteger);
    return this.read("a list of whole numbers", list, [key], []);
  }

  /** A list of finite numbers. */
  numbers(key: string): readonly number[] {
    const list = (value: unknown): value is number[] => Array.isArray(value) && value.every(Number.isFinite);
    return this.read("a list of numbers", list, [key]);
  }

  /** A list of strings, empty where the key is absent. */
  strings(key: string): readonly string[] {
    const list = (value: unknown): value is string[] =>
      Array.isArray(value) && value.every((v) => typeof v === "string");
    return this.read("a list of strings", list, [key], []);
  }

  /** The object under the first key that is present, or undefined. */
  object(...keys: string[]): ConfigReader | undefined {
    const found = this.find(keys);
    if (found === undefined) return undefined;
    const object = (value: unknown): value is JsonObject =>
      typeof value === "object" && value !== null && !Array.isArray(value);
    return new ConfigReader(this.read("an object", object, [found.key]), `${this.path} ${found.key}`);
  }
}
