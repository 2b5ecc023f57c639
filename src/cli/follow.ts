import type { RunEvent } from "./progress.js";

/** Runs a generator to its end, hands every event on, and returns what it returns. */
export async function follow<Result>(
  run: AsyncGenerator<RunEvent, Result>,
  onEvent: (event: RunEvent) => void,
): Promise<Result> {
  for (;;) {
    const step = await run.next();
    if (step.done) return step.value;
    onEvent(step.value);
  }
}
