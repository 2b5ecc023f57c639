import { setImmediate as nextTurn } from "node:timers/promises";
import { Distribution } from "./distribution.js";
import { type Job, jobTokens, type Strand } from "./job.js";
import type { ModelRunner, Piece } from "./model-runner.js";

export interface SchedulerLimits {
  /** Tokens that the layers may remember, of all sequences together. */
  readonly cacheTokens: number;
  /** Tokens whose memory a sequence takes besides that of its own: recurrent states have a fixed size. */
  readonly sequenceTokens: number;
  /** Tokens of one pass. */
  readonly passTokens: number;
  /** Rows of logits in memory at a time. */
  readonly logitRows: number;
}

/** Some tokens of a strand in a pass. */
interface Part extends Piece {
  readonly job: Job;
  readonly strand: Strand;
  readonly begin: number;
}

/**
 * Computes the jobs of all callers together, pass by pass, until there are none. Each pass takes the next token of every
 * answer, then as much of prompts and of what is scored as fits. Waiting jobs come in as memory gets free. If answers grow
 * beyond it, the job that came last is set back and waits again.
 */
export class Scheduler {
  private readonly waiting: Job[] = [];
  private active: Job[] = [];
  private running: Promise<void> | undefined;

  constructor(
    private readonly runner: Pick<ModelRunner, "run" | "logits" | "forget">,
    private readonly limits: SchedulerLimits,
    private readonly hiddenSize: number,
  ) {}

  add(job: Job): void {
    this.waiting.push(job);
    this.running ??= this.work();
  }

  /** Ends all jobs with an error, and returns when the pass at hand is over. */
  async stop(error: unknown): Promise<void> {
    for (const job of [...this.waiting, ...this.active]) job.fail(error);
    await this.running;
  }

  /** Does not throw: failures are told to the jobs. */
  private async work(): Promise<void> {
    // Callers that come together are there before the first pass.
    await nextTurn();
    for (;;) {
      this.retire();
      this.admit();
      if (this.active.length === 0) break;
      this.makeRoom();
      await this.pass(this.collect());
      await nextTurn();
    }
    this.running = undefined;
  }

  /** Forgets what nobody waits for any more. */
  private retire(): void {
    for (const job of [...this.waiting, ...this.active]) {
      for (const { sequence } of job.retire()) this.runner.forget(sequence);
    }
    const alive = (job: Job) => job.strands.length > 0;
    this.active = this.active.filter(alive);
    this.waiting.splice(0, this.waiting.length, ...this.waiting.filter(alive));
  }

  private get usedTokens(): number {
    return this.active.reduce((sum, job) => sum + jobTokens(job, this.limits.sequenceTokens), 0);
  }

  private admit(): void {
    const { cacheTokens, passTokens, sequenceTokens } = this.limits;
    let used = this.usedTokens;
    let strands = this.active.reduce((sum, job) => sum + job.strands.length, 0);
    for (let job = this.waiting[0]; job !== undefined; job = this.waiting[0]) {
      const needed = jobTokens(job, sequenceTokens);
      // Some room is left for answers to grow into. Half of a pass stays for prompts, however many answers there are.
      const fits = used + needed <= 0.95 * cacheTokens && 2 * (strands + job.strands.length) <= passTokens;
      if (!fits && this.active.length > 0) return;
      this.active.push(this.waiting.shift()!);
      used += needed;
      strands += job.strands.length;
    }
  }

  /** Sets back the jobs that came last, as long as the tokens to come do not fit. */
  private makeRoom(): void {
    while (this.usedTokens > this.limits.cacheTokens && this.active.length > 1) {
      const index = this.active.findLastIndex(({ restartable }) => restartable);
      if (index < 0) return;
      const [job] = this.active.splice(index, 1);
      for (const strand of job!.strands) {
        this.runner.forget(strand.sequence);
        strand.appended = 0;
      }
      this.waiting.unshift(job!);
    }
  }

  /** The parts of the next pass. */
  private collect(): Part[] {
    const parts: Part[] = [];
    let room = this.limits.passTokens;
    const planned = new Map<Strand, number>();
    const ends = (strand: Strand) => planned.get(strand) ?? strand.appended;
    const plan = (job: Job, strand: Strand, count: number) => {
      if (count === 0) return;
      const begin = strand.appended;
      parts.push(partOf(job, strand, begin, begin + count));
      planned.set(strand, begin + count);
      room -= count;
    };
    for (const single of [true, false]) {
      for (const job of this.active) {
        for (const strand of job.strands) {
          const pending = strand.tokens.length - ends(strand);
          const { root } = strand;
          // A branch needs the whole of what it branches off.
          if ((root !== undefined && ends(root) < root.tokens.length) || planned.has(strand)) continue;
          if (!single || (root !== undefined && pending === 1)) plan(job, strand, Math.min(room, pending));
        }
      }
    }
    return parts;
  }

  private async pass(parts: readonly Part[]): Promise<void> {
    try {
      const hidden = await this.runner.run(parts, () => {
        if (parts.every(({ job }) => job.abandoned)) throw new Error("Nobody waits for this pass any more.");
      });
      for (const { strand, ids } of parts) strand.appended += ids.length;
      await this.deliver(parts, hidden);
    } catch (error) {
      for (const job of new Set(parts.map((part) => part.job))) job.fail(error);
    }
  }

  /** Tells the strands what follows their tokens, some rows at a time. */
  private async deliver(parts: readonly Part[], hidden: Float32Array): Promise<void> {
    const places = parts.flatMap(({ job, strand, begin, wanted }) =>
      wanted.map((index) => ({ job, strand, index: begin + index })),
    );
    const { logitRows } = this.limits;
    for (let first = 0; first < places.length; first += logitRows) {
      const some = places.slice(first, first + logitRows);
      const states = hidden.subarray(first * this.hiddenSize, (first + some.length) * this.hiddenSize);
      const logits = this.runner.logits(states);
      const size = logits.length / some.length;
      for (const [row, { job, strand, index }] of some.entries()) {
        try {
          strand.take(index, new Distribution(logits.subarray(row * size, (row + 1) * size)));
        } catch (error) {
          job.fail(error);
        }
      }
      if (first + logitRows < places.length) await nextTurn();
    }
  }
}

function partOf(job: Job, strand: Strand, begin: number, end: number): Part {
  const { sequence, root } = strand;
  const before = root?.tokens.length ?? 0;
  const ids = strand.tokens.slice(begin, end);
  return {
    job,
    strand,
    begin,
    sequence,
    ids,
    prefix: root && { sequence: root.sequence, length: before },
    position: before + begin,
    wanted: ids.flatMap((_, i) => (strand.wants(begin + i) ? [i] : [])),
  };
}
