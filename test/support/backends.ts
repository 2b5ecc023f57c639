import type { Backend, Precision } from "../../src/engine/backend.js";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";

/** Both backends: every golden has to hold on each. A missing native binary fails the test, it is not skipped. */
export const BACKENDS: Readonly<Record<string, (precision: Precision) => Backend>> = {
  reference: createReferenceBackend,
  native: (precision) => createNativeBackend({ precision }),
};
