import { type ChildProcess, spawn } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ReamError } from "../errors.js";
import type { Message } from "./document.js";
import { readTokenizerFile, type TextTokenizer } from "./tokenizer.js";

/** A template comes with a model and is a program: it may take this long for one conversation, and this much memory. */
const TIMEOUT_MS = 10_000;
const MEMORY_MB = 256;
const MAX_TEMPLATE = 2 ** 20;
const MAX_RENDERED = 16 * 2 ** 20;

/**
 * Runs in a process of its own, because one large allocation of a thread ends all of its process. Given as a string
 * because a file would have another name in source than in built form. The clock stands still: templates that print the
 * day (strftime_now) must give the same text tomorrow.
 */
const RENDERER = `
const vm = require("node:vm");
const [jinja, timeout, limit] = process.argv.slice(1);
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...parts) { parts.length === 0 ? super(2025, 0, 1) : super(...parts); }
};
const { Template } = require(jinja);
let template;
let values;
globalThis.render = () => (template ??= new Template(values.template)).render(values.variables);
const script = new vm.Script("render()");
process.on("message", (message) => {
  values = message;
  try {
    const text = script.runInThisContext({ timeout: Number(timeout) });
    process.send(text.length > Number(limit) ? { limit: "writes " + text.length + " characters" } : { text });
  } catch (error) {
    if (error?.code === "ERR_SCRIPT_EXECUTION_TIMEOUT") process.send({ limit: "takes longer than " + timeout / 1000 + " s" });
    else process.send({ error: String(error?.message ?? error).slice(0, 500) });
  }
});
`;

/** What came of one conversation: its text, an error of the template, or the limit that it ran into. */
interface Outcome {
  readonly text?: string;
  readonly error?: string;
  readonly limit?: string;
}

/** The chat template of a model, run with limits on time and memory. */
export class ChatTemplate {
  readonly #template: string;
  readonly #tokens: { bos_token: string; eos_token: string };
  readonly #timeout: number;
  #renderer: ChildProcess | undefined;

  constructor(template: string, tokens: { bosToken: string; eosToken: string }, timeout = TIMEOUT_MS) {
    this.#template = template;
    this.#tokens = { bos_token: tokens.bosToken, eos_token: tokens.eosToken };
    this.#timeout = timeout;
  }

  #start(): ChildProcess {
    const jinja = createRequire(import.meta.url).resolve("@huggingface/jinja");
    const limits = [jinja, String(this.#timeout), String(MAX_RENDERED)];
    const flags = [`--max-old-space-size=${MEMORY_MB}`, "--eval", RENDERER, ...limits];
    return spawn(process.execPath, flags, { stdio: ["ignore", "ignore", "ignore", "ipc"], env: {}, cwd: tmpdir() });
  }

  /**
   * The text of one conversation, without a prompt for a further answer. `where`: the record, for errors.
   * Errors: CALIBRATION_TEMPLATE, CALIBRATION_TEMPLATE_LIMIT.
   */
  async render(messages: readonly Message[], where: string): Promise<string> {
    this.#renderer ??= this.#start();
    const renderer = this.#renderer;
    const outcome = await new Promise<Outcome>((resolve) => {
      const settle = (result: Outcome) => {
        clearTimeout(timer);
        for (const [name, listener] of Object.entries(listeners)) renderer.off(name, listener);
        resolve(result);
      };
      const listeners = {
        message: settle,
        error: (error: Error) => settle({ limit: `cannot be run (${error.message})` }),
        exit: () => settle({ limit: `needs more than ${MEMORY_MB} MiB of memory, or ended its process` }),
      };
      // The renderer stops itself; this is for one that cannot.
      const timer = setTimeout(() => settle({ limit: "does not come to an end" }), 2 * this.#timeout);
      for (const [name, listener] of Object.entries(listeners)) renderer.on(name, listener);
      const variables = { messages, add_generation_prompt: false, tools: null, documents: null, ...this.#tokens };
      renderer.send({ template: this.#template, variables }, (error) => error && listeners.error(error));
    });
    if (outcome.text !== undefined) return outcome.text;
    if (outcome.limit !== undefined) this.close();
    const message = outcome.limit === undefined ? `fails: ${outcome.error}` : outcome.limit;
    throw new ReamError(
      `CALIBRATION_TEMPLATE${outcome.limit === undefined ? "" : "_LIMIT"}`,
      `The chat template ${message}.`,
      {
        where,
        hint: "Name a field of plain text with --field DOMAIN=FIELD, or give token ids with --tokens.",
      },
    );
  }

  /** Ends the process. A later `render` starts another. */
  close(): void {
    this.#renderer?.kill("SIGKILL");
    this.#renderer = undefined;
  }
}

function named(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const list = value as { name?: unknown; template?: unknown }[];
  const chosen = list.find((entry) => entry?.name === "default") ?? list[0];
  return typeof chosen?.template === "string" ? chosen.template : undefined;
}

/**
 * The chat template of a model's folder: chat_template.jinja, else chat_template of tokenizer_config.json (a string, or
 * the one named "default" of a list), else of chat_template.json. Undefined if the model has none.
 */
export async function loadChatTemplate(folder: string, tokenizer: TextTokenizer): Promise<ChatTemplate | undefined> {
  const path = join(folder, "chat_template.jinja");
  const size = (await stat(path).catch(() => undefined))?.size;
  const tooLarge = () =>
    new ReamError("CALIBRATION_TEMPLATE_LIMIT", "The chat template is larger than 1 MiB.", {
      where: folder,
      hint: "Use the template that belongs to the model.",
    });
  if (size !== undefined && size > MAX_TEMPLATE) throw tooLarge();
  const template =
    size !== undefined
      ? await readFile(path, "utf8")
      : (named(tokenizer.config.chat_template) ??
        named((await readTokenizerFile(join(folder, "chat_template.json")))?.chat_template));
  if (template === undefined) return undefined;
  if (template.length > MAX_TEMPLATE) throw tooLarge();
  return new ChatTemplate(template, tokenizer);
}
