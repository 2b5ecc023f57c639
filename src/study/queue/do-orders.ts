import { ReamError } from "../../errors.js";
import type { JobFailure, StudyEvent } from "../job-queue.js";
import type { Store } from "../store/store.js";
import type { Board } from "./board.js";
import { onBoard } from "./on-board.js";
import type { Order } from "./order.js";
import { sleep, unlessAborted } from "./wait.js";

/** Milliseconds between two looks at the board. */
const PAUSE = 500;

/** What is ordered; the label tells it from all others of the folder. */
export type Wanted = Pick<Order, "work" | "label">;

export interface OrderContext<W extends Wanted> {
  readonly signal: AbortSignal;
  readonly onEvent: (event: StudyEvent) => void;
  /** Told when the board is open, before anything is ordered. */
  readonly onOpen?: () => Promise<void>;
  /** Told of each that is done, one after the other. */
  readonly onDone?: (wanted: W) => Promise<void>;
  /** Error code where some come to nothing, and what is said of them behind their number. */
  readonly code: string;
  readonly failed: string;
}

interface OrderFailure {
  readonly label: string;
  readonly error: JobFailure["error"];
}

/**
 * Has work of a folder or store done by workers. Errors: QUEUE_URL, QUEUE_UNREACHABLE, and `code` where some came to nothing, when
 * all others are done.
 */
export async function doOrders<W extends Wanted>(
  url: string,
  store: Store,
  orders: readonly W[],
  context: OrderContext<W>,
): Promise<void> {
  const failures = await onBoard(url, store, async (board) => {
    await context.onOpen?.();
    return follow(board, orders, context);
  });
  if (failures.length === 0) return;
  const told = failures.map(({ label, error }) => `${label}: ${error.code}: ${error.message}`);
  throw new ReamError(context.code, `${failures.length} ${context.failed}\n${told.join("\n")}`, {
    where: store.folder,
    hint: "The others are kept: the same command tries these again.",
  });
}

async function follow<W extends Wanted>(
  board: Board,
  orders: readonly W[],
  { signal, onEvent, onDone }: OrderContext<W>,
): Promise<OrderFailure[]> {
  const failures: OrderFailure[] = [];
  const waiting = new Map<string, W>();
  for (const order of orders) {
    const { work, label } = order;
    const id = Buffer.from(label).toString("hex");
    await unlessAborted(board.put(id, { work, label, workingFolder: process.cwd() }), signal);
    waiting.set(id, order);
  }
  while (waiting.size > 0) {
    for (const [id, order] of [...waiting]) {
      const { label } = order;
      const state = await unlessAborted(board.look(id), signal);
      if (state.state === "active" && state.event !== undefined)
        onEvent({ type: "job-event", id, label, event: state.event });
      if (state.state !== "done" && state.state !== "failed") continue;
      waiting.delete(id);
      if (state.state === "failed") failures.push({ label, error: state.error });
      else await onDone?.(order);
      const done = orders.length - waiting.size - failures.length;
      onEvent({ type: "study", done, failed: failures.length, total: orders.length });
    }
    await sleep(PAUSE, signal);
  }
  return failures;
}
