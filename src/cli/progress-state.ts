import type { CompressEvent, Phase } from "../pipeline/events.js";

/** What a progress display shows at a moment. */
export interface Progress {
  readonly layer: number;
  readonly layers: number;
  readonly phase: Phase;
  /** Of the whole run, 0 to 1. */
  readonly share: number;
  /** In the phase at hand; undefined where it has no tokens, or none yet. */
  readonly tokensPerSecond: number | undefined;
  /** Undefined until there is something to judge by. */
  readonly secondsLeft: number | undefined;
  /** Resident memory in bytes. */
  readonly memory: number;
}

/** Seconds and share that must have passed before the time left is told. */
const LEAST_SECONDS = 2;
const LEAST_SHARE = 0.01;

type ProgressEvent = Extract<CompressEvent, { type: "progress" }>;

/** Derives speed and time left from the events of one run. `now` in seconds. */
export class ProgressState {
  private first: { readonly time: number; readonly share: number } | undefined;
  /** The phase at hand, and when it began: with the event before its first. */
  private phase: { readonly key: string; readonly time: number } | undefined;
  private last: number | undefined;

  constructor(private readonly now: () => number = () => performance.now() / 1000) {}

  update({ layer, layers, phase, share, tokens, memory }: ProgressEvent): Progress {
    const time = this.now();
    this.first ??= { time, share };
    const key = `${layer} ${phase}`;
    if (this.phase?.key !== key) this.phase = { key, time: this.last ?? time };
    this.last = time;
    const inPhase = time - this.phase.time;
    const seconds = time - this.first.time;
    const done = share - this.first.share;
    return {
      layer,
      layers,
      phase,
      share,
      tokensPerSecond: tokens !== undefined && inPhase > 0 ? tokens.done / inPhase : undefined,
      secondsLeft: seconds >= LEAST_SECONDS && done >= LEAST_SHARE ? (seconds * (1 - share)) / done : undefined,
      memory,
    };
  }
}
