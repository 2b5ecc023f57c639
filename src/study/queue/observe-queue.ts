import { ReamError } from "../../errors.js";
import type { Unit } from "../../observe/cuts.js";
import type { ObserveElsewhere } from "../../observe/observe.js";
import type { ObserveOptions } from "../../observe/options.js";
import type { JobFailure, StudyEvent } from "../job-queue.js";
import { openStore } from "../store/store.js";
import type { Board } from "./board.js";
import { onBoard } from "./on-board.js";
import type { Order } from "./order.js";
import { sleep, unlessAborted } from "./wait.js";

/** Milliseconds between two looks at the board. */
const PAUSE = 500;

/**
 * Has the units of an observation observed by workers, all layers of a unit by one. Errors: QUEUE_URL, QUEUE_UNREACHABLE,
 * those of the store, and OBSERVE_UNITS where some came to nothing; the others are kept.
 * @param place s3://bucket/prefix, where workers do not see the observation's folder
 */
export function observeOnQueue(
  url: string,
  place: string | undefined,
  options: ObserveOptions,
  { signal, onEvent }: { readonly signal: AbortSignal; readonly onEvent: (event: StudyEvent) => void },
): ObserveElsewhere {
  return async (folder, units) => {
    const store = await openStore(place, folder, signal);
    const work = async (board: Board) => {
      await store.offerObservation(options.restart ?? false);
      return observeUnits(board, units, options, signal, onEvent);
    };
    const failures = await onBoard(url, store, work).finally(() => store.close());
    if (failures.length === 0) return;
    const told = failures.map(({ label, error }) => `${label}: ${error.code}: ${error.message}`);
    throw new ReamError("OBSERVE_UNITS", `${failures.length} units were not observed\n${told.join("\n")}`, {
      where: folder,
      hint: "The others are kept: the same command tries these again.",
    });
  };
}

interface UnitFailure {
  readonly label: string;
  readonly error: JobFailure["error"];
}

async function observeUnits(
  board: Board,
  units: readonly Unit[],
  options: ObserveOptions,
  signal: AbortSignal,
  onEvent: (event: StudyEvent) => void,
): Promise<UnitFailure[]> {
  const failures: UnitFailure[] = [];
  const waiting = new Map<string, Unit>();
  for (const unit of units) {
    const label = labelOf(unit);
    const order: Order = { work: { kind: "unit", options, unit }, label, workingFolder: process.cwd() };
    const id = Buffer.from(label).toString("hex");
    await unlessAborted(board.put(id, order), signal);
    waiting.set(id, unit);
  }
  while (waiting.size > 0) {
    for (const [id, unit] of [...waiting]) {
      const label = labelOf(unit);
      const state = await unlessAborted(board.look(id), signal);
      if (state.state === "active" && state.event !== undefined)
        onEvent({ type: "job-event", id, label, event: state.event });
      if (state.state !== "done" && state.state !== "failed") continue;
      waiting.delete(id);
      if (state.state === "done") await board.store.fetchUnit(unit);
      if (state.state === "failed") failures.push({ label, error: state.error });
      const done = units.length - waiting.size - failures.length;
      onEvent({ type: "study", done, failed: failures.length, total: units.length });
    }
    await sleep(PAUSE, signal);
  }
  return failures;
}

function labelOf({ domain, begin, end }: Unit): string {
  return `${domain} ${begin}-${end}`;
}
