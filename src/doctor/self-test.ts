import { setImmediate as nextTurn } from "node:timers/promises";
import type { Backend, Precision } from "../engine/backend.js";
import { createNativeBackend, nativeVariants } from "../engine/native/native-backend.js";
import { createReferenceBackend } from "../engine/reference/reference-backend.js";
import { attentionChecks } from "./checks/attention.js";
import type { Check, Numbers, Operation } from "./checks/check.js";
import { descentChecks } from "./checks/descent.js";
import { expertChecks } from "./checks/experts.js";
import { productChecks } from "./checks/products.js";
import { recurrentChecks } from "./checks/recurrent.js";
import { weightChecks } from "./checks/weights.js";

/** One use of each operation at least. */
export const CHECKS: readonly Check[] = [
  ...productChecks,
  ...attentionChecks,
  ...recurrentChecks,
  ...expertChecks,
  ...descentChecks,
  ...weightChecks,
];

/** How far a kernel is from the reference. */
export interface KernelResult {
  readonly operations: readonly Operation[];
  readonly variant: string;
  readonly precision: Precision;
  /** Largest difference, relative to the largest magnitude of its array; Infinity where no number, or no result. */
  readonly difference: number;
  readonly tolerance: number;
  readonly right: boolean;
  /** What was thrown in place of a result. */
  readonly failure?: string;
}

const PRECISIONS: readonly Precision[] = ["bf16", "f32"];

/**
 * Compares every native operation with the TypeScript reference, with each instruction set of this machine and in both
 * precisions.
 */
export async function selfTest(signal?: AbortSignal): Promise<KernelResult[]> {
  const results: KernelResult[] = [];
  for (const precision of PRECISIONS) {
    const backends = nativeVariants().map((variant) => createNativeBackend({ precision, variant }));
    const reference = createReferenceBackend(precision);
    for (const check of CHECKS) {
      const expected = check.run(reference);
      for (const backend of backends) results.push(compare(check, backend, expected));
      signal?.throwIfAborted();
      await nextTurn();
    }
  }
  return results;
}

/** Runs a check with a backend and compares what it computes with `expected`. */
export function compare(check: Check, backend: Backend, expected: readonly Numbers[]): KernelResult {
  const { operations, tolerance: allowed } = check;
  const { variant, precision } = backend;
  const tolerance = typeof allowed === "number" ? allowed : allowed[precision];
  const common = { operations, variant, precision, tolerance };
  try {
    const actual = check.run(backend);
    const difference = Math.max(...expected.map((numbers, i) => relativeDifference(actual[i]!, numbers)));
    return { ...common, difference, right: difference <= tolerance };
  } catch (error) {
    return { ...common, difference: Infinity, right: false, failure: String(error) };
  }
}

function relativeDifference(actual: Numbers, expected: Numbers): number {
  if (actual.length !== expected.length) return Infinity;
  let largest = 0;
  let difference = 0;
  for (const [i, value] of expected.entries()) {
    largest = Math.max(largest, Math.abs(value));
    const own = Math.abs(actual[i]! - value);
    if (Number.isNaN(own)) return Infinity;
    difference = Math.max(difference, own);
  }
  return difference === 0 ? 0 : difference / largest;
}
