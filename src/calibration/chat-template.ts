import { readFile, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { ReamError } from "../errors.js";
import type { Message } from "./document.js";
import { readTokenizerFile, type TextTokenizer } from "./tokenizer.js";

/** A template comes with a model and is a program: it may take this long for one conversation, and this much memory. */
const TIMEOUT_MS = 10_000;
const MEMORY_MB = 256;
const MAX_TEMPLATE = 2 ** 20;
const MAX_RENDERED = 16 * 2 ** 20;

/**
 * Runs in a thread of its own, which can be ended. Written as a string because a worker's file would have another name
 * in source than in built form. The clock stands still: templates that print the day (strftime_now) must give the same
 * text tomorrow.
 */
const WORKER = `
const { parentPort, workerData } = require("node:worker_threads");
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...parts) { parts.length === 0 ? super(2025, 0, 1) : super(...parts); }
};
const { Template } = require(workerData.jinja);
let template;
parentPort.on("message", (values) => {
  try {
    template ??= new Template(workerData.template);
    const text = template.render(values);
    if (text.length > workerData.limit) throw new Error("the result has " + text.length + " characters");
    parentPort.postMessage({ text });
  } catch (error) {
    parentPort.postMessage({ error: String(error?.message ?? error).slice(0, 500) });
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
  #worker: Worker | undefined;

  constructor(template: string, tokens: { bosToken: string; eosToken: string }, timeout = TIMEOUT_MS) {
    this.#template = template;
    this.#tokens = { bos_token: tokens.bosToken, eos_token: tokens.eosToken };
    this.#timeout = timeout;
  }

  #start(): Worker {
    const jinja = createRequire(import.meta.url).resolve("@huggingface/jinja");
    return new Worker(WORKER, {
      eval: true,
      workerData: { jinja, template: this.#template, limit: MAX_RENDERED },
      resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB, maxYoungGenerationSizeMb: 32, stackSizeMb: 4 },
      env: {},
    });
  }

  /**
   * The text of one conversation, without a prompt for a further answer. `where`: the record, for errors.
   * Errors: CALIBRATION_TEMPLATE, CALIBRATION_TEMPLATE_LIMIT.
   */
  async render(messages: readonly Message[], where: string): Promise<string> {
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const outcome = await new Promise<Outcome>((resolve) => {
      const listeners = {
        message: (result: Outcome) => settle(result),
        error: (error: Error) => settle({ limit: `ended (${error.message})` }),
        exit: () => settle({ limit: "ended" }),
      };
      const timer = setTimeout(() => settle({ limit: `took longer than ${this.#timeout / 1000} s` }), this.#timeout);
      const settle = (result: Outcome) => {
        clearTimeout(timer);
        for (const [name, listener] of Object.entries(listeners)) worker.off(name, listener);
        resolve(result);
      };
      for (const [name, listener] of Object.entries(listeners)) worker.on(name, listener);
      worker.postMessage({ messages, add_generation_prompt: false, tools: null, documents: null, ...this.#tokens });
    });
    if (outcome.text !== undefined) return outcome.text;
    if (outcome.limit !== undefined) await this.close();
    const hint = "Name a field of plain text with --field DOMAIN=FIELD, or give token ids with --tokens.";
    if (outcome.limit !== undefined) {
      throw new ReamError("CALIBRATION_TEMPLATE_LIMIT", `The chat template ${outcome.limit}.`, { where, hint });
    }
    throw new ReamError("CALIBRATION_TEMPLATE", `The chat template fails: ${outcome.error}.`, { where, hint });
  }

  /** Ends the thread. A later `render` starts another. */
  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
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
