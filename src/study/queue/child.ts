import { fork } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ReamError } from "../../errors.js";
import type { JobEvent } from "../execute-job.js";
import type { JobFailure } from "../job-queue.js";
import type { Store } from "../store/store.js";
import type { Order } from "./order.js";

/** What a child is told. */
export type ToChild =
  | { readonly type: "order"; readonly order: Order; readonly folder: string; readonly url: string | undefined }
  | { readonly type: "stop" };

/** What it tells. */
export type FromChild =
  | { readonly type: "event"; readonly event: JobEvent }
  | { readonly type: "done" }
  | { readonly type: "failed"; readonly error: JobFailure["error"] };

const PROGRAM = fileURLToPath(new URL("./child-process.js", import.meta.url));
/** Milliseconds that a child has to stop in. */
const GRACE = 10_000;
/** Characters of its stderr that are kept. */
const KEPT = 4000;

/**
 * Does an order in a process of its own: it may be busy for as long as it likes, or be killed for its memory, and this
 * process stays alive to the queue. Errors: those of the work, and JOB_CRASHED.
 */
export function runInChild(
  order: Order,
  { folder, url }: Pick<Store, "folder" | "url">,
  { signal, onEvent }: { readonly signal: AbortSignal; readonly onEvent: (event: JobEvent) => void },
): Promise<void> {
  const { workingFolder } = order;
  const child = fork(PROGRAM, {
    ...(existsSync(workingFolder) && { cwd: workingFolder }),
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const tell = (message: ToChild) => child.connected && child.send(message, () => undefined);
  let [stderr, end]: [string, FromChild | undefined] = ["", undefined];
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-KEPT);
  });
  child.on("message", (message: FromChild) => {
    if (message.type === "event") onEvent(message.event);
    else end = message;
  });
  let last: NodeJS.Timeout | undefined;
  const stop = () => {
    tell({ type: "stop" });
    last = setTimeout(() => child.kill("SIGKILL"), GRACE);
  };
  tell({ type: "order", order, folder, url });
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop);
  return new Promise((resolve, reject) => {
    const finish = (how: string) => {
      clearTimeout(last);
      signal.removeEventListener("abort", stop);
      if (end?.type === "done") resolve();
      else if (signal.aborted) reject(signal.reason);
      else if (end?.type === "failed") reject(new ReamError(end.error.code, end.error.message));
      else reject(new ReamError("JOB_CRASHED", `the process of the job ended by ${how}\n${stderr}`.trim()));
    };
    child.on("error", ({ message }) => finish(message));
    child.on("close", (status, by) => finish(by ?? `status ${status}`));
  });
}
