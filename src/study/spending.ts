import type { Study } from "./study-file.js";

/** What is left of a study's budget, from now on. */
export class Spending {
  private readonly began = performance.now();
  private started = 0;

  constructor(private readonly budget: Study["budget"]) {}

  /** Whether the hours are over. */
  get late(): boolean {
    return performance.now() - this.began >= (this.budget.hours ?? Number.POSITIVE_INFINITY) * 3_600_000;
  }

  /** Counts one more job, if it may still start. */
  start(): boolean {
    if (this.late || this.started >= (this.budget.jobs ?? Number.POSITIVE_INFINITY)) return false;
    this.started += 1;
    return true;
  }
}
