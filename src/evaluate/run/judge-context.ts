import { Sandboxes } from "../../sandbox/open.js";
import type { JudgeContext } from "../judge.js";

/** A `JudgeContext` with what has to be closed after the last verdict. */
export interface OpenJudgeContext extends JudgeContext {
  close(): Promise<void>;
}

/** What judges of one run share: sandboxes are opened when the first answer that is code needs one. */
export function judgeContext(unsafe: boolean, signal: AbortSignal): OpenJudgeContext {
  let sandboxes: Sandboxes | undefined;
  return {
    signal,
    code: async () => {
      sandboxes ??= new Sandboxes({ unsafe, signal });
      return sandboxes;
    },
    close: async () => sandboxes?.close(),
  };
}
