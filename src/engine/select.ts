import { ReamError } from "../errors.js";
import type { Backend, Precision } from "./backend.js";
import { createNativeBackend } from "./native/native-backend.js";
import { createReferenceBackend } from "./reference/reference-backend.js";

export interface BackendChoice {
  readonly backend: "auto" | "native" | "reference";
  readonly precision: Precision;
  /** Threads of the native backend; undefined: all cores. */
  readonly threads?: number | undefined;
}

/**
 * The backend to compute with. `auto` takes the native one; where no binary loads it takes the plain TypeScript one and
 * calls `warn` with the reason and what to do. `native` fails instead.
 */
export function selectBackend(choice: BackendChoice, warn: (message: string) => void): Backend {
  const { precision, threads } = choice;
  if (choice.backend === "reference") return createReferenceBackend(precision);
  try {
    return createNativeBackend({ precision, threads });
  } catch (error) {
    if (choice.backend === "native" || !(error instanceof ReamError) || error.code !== "NATIVE_UNAVAILABLE")
      throw error;
    warn(
      `The native core is not available, so the plain TypeScript backend computes: correct, but about a hundred times ` +
        `slower. ${error.message} ${error.hint ?? ""}`.trim(),
    );
    return createReferenceBackend(precision);
  }
}
