/** The process that does one order for a worker (child.ts), and ends with it. */
import { observeUnit } from "../../observe/observe.js";
import { makePart } from "../../pipeline/split/make-part.js";
import { executeJob, type JobEvent } from "../execute-job.js";
import { appendLog } from "../job-folder.js";
import { errorOf } from "../local-queue.js";
import { openStore, type Store } from "../store/store.js";
import type { FromChild, ToChild } from "./child.js";
import type { Order } from "./order.js";

/** Milliseconds between two events of progress that are worth telling. */
const PAUSE = 250;

const controller = new AbortController();
// Ctrl-C reaches all processes of a terminal; what it means is the worker's to say.
process.on("SIGINT", () => undefined).on("SIGTERM", () => undefined);
// Nobody waits for the work of a worker that has died.
process.on("disconnect", () => process.exit(1));
process.on("message", (message: ToChild) => {
  if (message.type === "stop") controller.abort();
  else void run(message);
});

async function run({ order, folder, url }: Extract<ToChild, { type: "order" }>): Promise<void> {
  let end: FromChild = { type: "done" };
  try {
    const store = await openStore(url, folder, controller.signal);
    await work(order, store, progressTeller());
  } catch (error) {
    end = { type: "failed", error: errorOf(error) };
    if (order.work.kind === "job" && !controller.signal.aborted)
      await appendLog(folder, order.work.job.id, { error: end.error }).catch(() => undefined);
  }
  tell(end, () => process.exit(0));
}

async function work({ work }: Order, store: Store, onEvent: (event: JobEvent) => void): Promise<void> {
  const { signal } = controller;
  if (work.kind === "job") {
    const { notes } = await executeJob(work.job, { out: store.folder, store, signal, onEvent });
    for (const note of notes) await appendLog(store.folder, work.job.id, { note });
    return;
  }
  if (work.kind === "part") {
    for await (const event of makePart(work.options, { ...work, partial: store.folder }, signal)) onEvent(event);
    return;
  }
  await store.observeUnit(work.unit, async (out) => {
    const options = { ...work.options, out, restart: false };
    for await (const event of observeUnit(options, work.unit, signal)) onEvent(event);
  });
}

function progressTeller(): (event: JobEvent) => void {
  let told = 0;
  return (event) => {
    const now = performance.now();
    if (event.type !== "note" && now - told < PAUSE) return;
    told = now;
    tell({ type: "event", event });
  };
}

function tell(message: FromChild, then: () => void = () => undefined): void {
  if (process.connected) process.send!(message, undefined, {}, then);
  else then();
}
