import { totalmem } from "node:os";

/** In bytes. */
export interface MemoryFacts {
  readonly total: number;
  /** What can be had without swapping, by machine and limit. */
  readonly available: number;
  /** What the control group (container, service) allows; undefined: no less than the machine has. */
  readonly limit: number | undefined;
}

export function memoryFacts(): MemoryFacts {
  const total = totalmem();
  const allowed = process.constrainedMemory();
  const limit = allowed > 0 && allowed < total ? allowed : undefined;
  return { total, available: process.availableMemory(), limit };
}
