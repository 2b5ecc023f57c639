import { setMaxListeners } from "node:events";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { ReamError } from "../errors.js";
import { JAVASCRIPT_THREAD } from "./javascript-thread.js";
import type { Shield } from "./protection.js";
import type { CodeLimits, CodeOutcome, JavascriptSandbox, PlainValue } from "./sandbox.js";
import type { Slots } from "./slots.js";

/** Most characters of all results together. */
const MAX_RESULT = 4 * 2 ** 20;
/** Seconds beyond its limit after which the thread itself is ended: QuickJS looks at the clock between instructions only. */
const GRACE = 2;

type ThreadOutcome = CodeOutcome<readonly string[]>;

/** JavaScript in QuickJS, compiled to WebAssembly: it has no function that reaches out of its own memory. */
export class QuickJsSandbox implements JavascriptSandbox {
  readonly shield: Shield = { kind: "quickjs", network: false, writes: false, reads: false, processes: false };
  readonly #slots: Slots;
  readonly #idle: Worker[] = [];

  constructor(slots: Slots) {
    this.#slots = slots;
  }

  async evaluate(
    code: string,
    expressions: readonly string[],
    limits: CodeLimits,
    signal: AbortSignal,
  ): Promise<CodeOutcome<readonly PlainValue[]>> {
    const outcome = await this.#slots.use(() => this.#run({ code, expressions, ...limits }, limits.seconds, signal));
    if (outcome.kind !== "done") return outcome;
    const size = outcome.value.reduce((total, text) => total + text.length, 0);
    if (size > MAX_RESULT) return { kind: "limit", message: `it returned ${size} characters` };
    return { kind: "done", value: outcome.value.map((text) => decode(JSON.parse(text))) };
  }

  /** Ends the threads that wait for further code; each keeps some megabytes. */
  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((thread) => thread.terminate()));
  }

  /** Threads are used again, but for those that ran into a limit: a broken one does no harm to the next answer. */
  async #run(request: object, seconds: number, signal: AbortSignal): Promise<ThreadOutcome> {
    signal.throwIfAborted();
    const thread = this.#idle.pop() ?? start();
    thread.ref();
    let whole = false;
    try {
      const outcome = await ask(thread, request, seconds, signal);
      whole = outcome.kind !== "limit";
      return outcome;
    } finally {
      thread.unref();
      if (whole) this.#idle.push(thread);
      else await thread.terminate();
    }
  }
}

function start(): Worker {
  const module = pathToFileURL(createRequire(import.meta.url).resolve("quickjs-emscripten")).href;
  return new Worker(JAVASCRIPT_THREAD, { eval: true, workerData: { module }, env: {} });
}

function ask(thread: Worker, request: object, seconds: number, signal: AbortSignal): Promise<ThreadOutcome> {
  return new Promise<ThreadOutcome>((resolve, reject) => {
    const settle = (finish: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      thread.off("message", answered).off("error", broke).off("exit", broke);
      finish();
    };
    const answered = (outcome: ThreadOutcome) => settle(() => resolve(outcome));
    const late = () => answered({ kind: "limit", message: `it took longer than ${seconds} s` });
    const abort = () => settle(() => reject(signal.reason));
    const broke = (cause: unknown) =>
      settle(() => reject(new ReamError("SANDBOX_FAILED", `the thread of QuickJS broke: ${String(cause)}`, { cause })));
    const timer = setTimeout(late, (seconds + GRACE) * 1000);
    setMaxListeners(0, signal); // as many as there are slots
    signal.addEventListener("abort", abort);
    thread.on("message", answered).on("error", broke).on("exit", broke);
    thread.postMessage(request);
  });
}

/** A value as the thread's encoder writes it. */
function decode(value: unknown): PlainValue {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== "object") return value as PlainValue;
  const [tag, content] = Object.entries(value)[0] as [string, unknown];
  if (tag === "x") return Number(content);
  if (tag === "u") return { type: "undefined", items: [] };
  if (tag === "i") return { type: "bigint", items: [String(content)] };
  if (tag === "d") return { type: "object", items: (content as unknown[]).map(decode) };
  return { type: "other", items: [String(content)] };
}
