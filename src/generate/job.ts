import type { Distribution } from "./distribution.js";

/** A sequence of tokens that is computed for a job. Its number stands for it in the layers' states. */
export interface Strand {
  readonly sequence: number;
  /** The strand whose tokens come before this one's: all of them. */
  readonly root: Strand | undefined;
  /** Tokens of its own, those to come included; an answer's grow. */
  readonly tokens: readonly number[];
  /** How many of them the layers remember. */
  appended: number;
  /** Whether somebody wants to know what follows a token. */
  wants(index: number): boolean;
  /** What follows a token that was wanted. */
  take(index: number, distribution: Distribution): void;
}

/** What one or several callers asked for, as the scheduler sees it. */
export interface Job {
  /** Strands that are alive, the one that others branch off first. None: the job is over. */
  readonly strands: readonly Strand[];
  /** Whether the job may be set back to its beginning when memory runs out. It then computes the same tokens again. */
  readonly restartable: boolean;
  /** Whether nobody waits for it any more. */
  readonly abandoned: boolean;
  /** Strands that became superfluous since the last call: finished, or not wanted any more. */
  retire(): readonly Strand[];
  /** Tells the callers that it came to nothing, and ends the job. */
  fail(error: unknown): void;
}

/** Tokens of all strands, computed and to come; what a strand takes besides counts as `sequenceTokens`. */
export function jobTokens({ strands }: Job, sequenceTokens: number): number {
  return strands.reduce((sum, { tokens }) => sum + tokens.length + sequenceTokens, 0);
}
