import { ReamError } from "../errors.js";

/** What the scanner met. `more`: the text fed so far ends inside a token. */
export type JsonEvent = "{" | "}" | "[" | "]" | "key" | "string" | "number" | "literal" | "end" | "more";

export type JsonScalar = string | number | boolean | null;

export interface JsonScannerOptions {
  /** Accept `NaN`, `Infinity` and `-Infinity`, which Python writes into config.json. */
  readonly nonFinite?: boolean;
}

/** Deepest nesting that is read; the files of a checkpoint need about five levels. */
const MAX_DEPTH = 64;
/** Longest piece of text, in characters, that is kept waiting for its end when text comes in chunks. */
const MAX_PENDING = 1 << 20;

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};
const LITERALS: readonly (readonly [string, JsonScalar, "literal" | "number"])[] = [
  ["true", true, "literal"],
  ["false", false, "literal"],
  ["null", null, "literal"],
  ["NaN", Number.NaN, "number"],
  ["Infinity", Number.POSITIVE_INFINITY, "number"],
  ["-Infinity", Number.NEGATIVE_INFINITY, "number"],
];
/** Half of a UTF-16 pair without the other: it has no UTF-8 form. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Reads JSON (RFC 8259) event by event, whole or in chunks, and refuses what JSON.parse lets pass: duplicate keys and
 * nesting above 64 levels. After `next` returns, the fields describe the event.
 */
export class JsonScanner {
  /** The event that `next` returned last. */
  event: JsonEvent = "more";
  /** Value of a scalar, or the key. */
  value: JsonScalar = null;
  /** Whether a number was written as an integer that a double holds exactly. */
  exact = false;
  /** Where the event's text begins and ends, in characters from the beginning of the document. */
  start = 0;
  end = 0;

  private at = 0;
  /** Characters of earlier chunks that are no longer in `text`. */
  private dropped = 0;
  private expected: "value" | "element or end" | "key or end" | "key" | "comma or end" | "end" = "value";
  /** Keys met so far in each open object; undefined for an open array. */
  private readonly open: (KeySet | undefined)[] = [];

  constructor(
    private text: string,
    private readonly where: string,
    private final = true,
    private readonly options: JsonScannerOptions = {},
  ) {}

  /** How many objects and arrays are open. */
  get depth(): number {
    return this.open.length;
  }

  /** Adds a chunk of text; `final`: the last one. */
  feed(chunk: string, final = false): void {
    if (this.text.length - this.at > MAX_PENDING) {
      throw this.error("JSON_LIMIT", `a name or value is longer than ${MAX_PENDING} characters`);
    }
    this.dropped += this.at;
    this.text = this.text.slice(this.at) + chunk;
    this.at = 0;
    this.final = final;
  }

  /** Moves on to the next event. */
  next(): JsonEvent {
    this.skipSpace();
    if (this.expected === "comma or end" && this.text[this.at] === ",") {
      this.at++;
      this.expected = this.open.at(-1) === undefined ? "value" : "key";
      this.skipSpace();
    }
    const begin = this.at;
    this.event = begin === this.text.length ? this.scanEndOfText() : this.scan(this.text[begin]!);
    this.start = this.dropped + begin;
    this.end = this.dropped + this.at;
    return this.event;
  }

  private scanEndOfText(): JsonEvent {
    if (!this.final) return "more";
    if (this.expected === "end") return "end";
    throw this.error("JSON_SYNTAX", `the text ends where a ${this.expected} should stand`);
  }

  private scan(character: string): JsonEvent {
    const { expected } = this;
    if (expected === "end") throw this.unexpected();
    if (character === "}" || character === "]") {
      const inObject = this.open.length > 0 && this.open.at(-1) !== undefined;
      if (!expected.endsWith("or end") || inObject !== (character === "}")) throw this.unexpected();
      this.at++;
      this.open.pop();
      this.afterValue();
      return character;
    }
    if (expected === "comma or end") throw this.unexpected();
    if (expected === "key" || expected === "key or end") return this.scanKey(character);
    if (character === "{" || character === "[") return this.scanOpen(character);
    const event = character === '"' ? this.scanString() : this.scanNumberOrLiteral(character);
    if (event !== "more") this.afterValue();
    return event;
  }

  private afterValue(): void {
    this.expected = this.open.length === 0 ? "end" : "comma or end";
  }

  private scanOpen(character: "{" | "["): JsonEvent {
    if (this.open.length === MAX_DEPTH) throw this.error("JSON_DEPTH", `more than ${MAX_DEPTH} levels of nesting`);
    this.at++;
    this.open.push(character === "{" ? new KeySet() : undefined);
    this.expected = character === "{" ? "key or end" : "element or end";
    return character;
  }

  private scanKey(character: string): JsonEvent {
    const begin = this.at;
    if (character !== '"') throw this.unexpected();
    if (this.scanString() === "more") return "more";
    const key = this.value as string;
    this.skipSpace();
    if (this.at === this.text.length && !this.final) {
      this.at = begin;
      return "more";
    }
    if (this.text[this.at] !== ":") throw this.unexpected();
    this.at++;
    if (!this.open.at(-1)!.add(key)) {
      throw this.error("JSON_DUPLICATE_KEY", `the key ${quote(key)} stands twice in one object`, begin);
    }
    this.expected = "value";
    return "key";
  }

  private scanString(): JsonEvent {
    const { text } = this;
    let at = this.at + 1;
    let piece = at;
    let value: string | undefined;
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === 0x22) {
        this.value = value === undefined ? text.slice(piece, at) : value + text.slice(piece, at);
        if (value !== undefined && LONE_SURROGATE.test(this.value)) {
          throw this.error("JSON_SYNTAX", "half of a surrogate pair in a string");
        }
        this.at = at + 1;
        return "string";
      }
      if (code < 0x20) throw this.error("JSON_SYNTAX", "a control character in a string", at);
      if (code !== 0x5c) continue;
      const escaped = this.scanEscape(at);
      if (escaped === undefined) break;
      value = (value ?? "") + text.slice(piece, at) + escaped.value;
      at += escaped.length - 1;
      piece = at + 1;
    }
    if (this.final) throw this.error("JSON_SYNTAX", "a string without an end");
    return "more";
  }

  /** The escape sequence at the backslash; undefined where the text ends within it. */
  private scanEscape(at: number): { value: string; length: number } | undefined {
    const letter = this.text[at + 1];
    if (letter === undefined) return undefined;
    const simple = ESCAPES[letter];
    if (simple !== undefined) return { value: simple, length: 2 };
    const digits = this.text.slice(at + 2, at + 6);
    if (letter !== "u" || !/^[0-9a-fA-F]*$/.test(digits)) {
      throw this.error("JSON_SYNTAX", "an unknown escape sequence in a string", at);
    }
    return digits.length < 4 ? undefined : { value: String.fromCharCode(Number.parseInt(digits, 16)), length: 6 };
  }

  private scanNumberOrLiteral(character: string): JsonEvent {
    if (isDigit(character)) return this.scanNumber();
    const rest = this.text.length - this.at;
    for (const [word, value, event] of LITERALS) {
      if (event === "number" && this.options.nonFinite !== true) continue;
      const length = Math.min(word.length, rest);
      if (!this.text.startsWith(word.slice(0, length), this.at)) continue;
      if (length < word.length) {
        if (this.final) continue;
        return "more";
      }
      this.at += word.length;
      this.value = value;
      this.exact = false;
      return event;
    }
    if (character !== "-") throw this.unexpected();
    return this.scanNumber();
  }

  private scanNumber(): JsonEvent {
    const { text } = this;
    let at = this.at;
    const digits = (): void => {
      if (at < text.length && !isDigit(text[at])) throw this.unexpected(at);
      if (at === text.length && this.final) throw this.error("JSON_SYNTAX", "a number without an end");
      while (at < text.length && isDigit(text[at])) at++;
    };
    if (text[at] === "-") at++;
    if (text[at] === "0") at++;
    else digits();
    const integer = at;
    if (text[at] === ".") {
      at++;
      digits();
    }
    if (text[at] === "e" || text[at] === "E") {
      at++;
      if (text[at] === "+" || text[at] === "-") at++;
      digits();
    }
    if (at === text.length && !this.final) return "more";
    this.value = Number(text.slice(this.at, at));
    // "-0" is a float: as an integer it would lose its sign.
    this.exact = at === integer && Number.isSafeInteger(this.value) && !Object.is(this.value, -0);
    this.at = at;
    return "number";
  }

  private skipSpace(): void {
    for (; this.at < this.text.length; this.at++) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
    }
  }

  private unexpected(at = this.at): ReamError {
    const found = at < this.text.length ? quote(String.fromCodePoint(this.text.codePointAt(at)!)) : "the end";
    return this.error("JSON_SYNTAX", `${found} stands where a ${this.expected} should stand`, at);
  }

  private error(code: string, message: string, at = this.at): ReamError {
    let position = `character ${this.dropped + at + 1}`;
    if (this.dropped === 0) {
      const lines = this.text.slice(0, at).split("\n");
      position = `line ${lines.length} column ${lines.at(-1)!.length + 1}`;
    }
    return new ReamError(code, message, {
      where: `${this.where}, ${position}`,
      hint: "The file is damaged or was edited by hand; fetch it again or correct it there.",
    });
  }
}

/** Keys of one object. Most objects have a few, which need no hash table. */
class KeySet {
  private readonly few: string[] = [];
  private many: Set<string> | undefined;

  /** Whether the key is new. */
  add(key: string): boolean {
    if (this.many === undefined) {
      if (this.few.includes(key)) return false;
      if (this.few.push(key) > 8) this.many = new Set(this.few);
      return true;
    }
    if (this.many.has(key)) return false;
    this.many.add(key);
    return true;
  }
}

function isDigit(character: string | undefined): boolean {
  return character !== undefined && character >= "0" && character <= "9";
}

/** A name from a file, made short and safe to print. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
}
