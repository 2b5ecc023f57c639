import { availableParallelism, totalmem } from "node:os";
import { QuickJsSandbox } from "./javascript-sandbox.js";
import { openPython } from "./open-python.js";
import type { JavascriptSandbox, PythonSandbox } from "./sandbox.js";
import { Slots } from "./slots.js";

export interface CodeRunnerOptions {
  /** Run Python even where it cannot be shut in (`--unsafe-code`). */
  readonly unsafe: boolean;
  readonly signal: AbortSignal;
}

/** Runs at a time: one for each core, as far as there are 4 GiB, the most that a judge gives, for each. */
const SLOTS = Math.max(1, Math.min(availableParallelism(), Math.floor(totalmem() / 2 ** 32)));

/** Sandboxes of both languages, which share the machine's cores. Python is looked for when it is first asked for. */
export class Sandboxes {
  readonly #options: CodeRunnerOptions;
  readonly #slots = new Slots(SLOTS);
  #python: Promise<PythonSandbox> | undefined;
  #javascript: QuickJsSandbox | undefined;

  constructor(options: CodeRunnerOptions) {
    this.#options = options;
  }

  /** Errors: SANDBOX_UNAVAILABLE, each time. */
  python(): Promise<PythonSandbox> {
    this.#python ??= openPython({ ...this.#options, slots: this.#slots });
    return this.#python;
  }

  javascript(): Promise<JavascriptSandbox> {
    this.#javascript ??= new QuickJsSandbox(this.#slots);
    return Promise.resolve(this.#javascript);
  }

  /** Ends what waits for further code. */
  async close(): Promise<void> {
    await this.#javascript?.close();
  }
}
