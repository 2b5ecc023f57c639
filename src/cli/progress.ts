import type { EvaluateEvent } from "../evaluate/run/events.js";
import { formatBytes, formatCount, formatDuration, formatShare } from "../format.js";
import type { HubEvent } from "../hub/settings.js";
import type { ObserveEvent } from "../observe/observe.js";
import type { CompressEvent } from "../pipeline/events.js";
import type { StudyEvent } from "../study/job-queue.js";
import { type Progress, ProgressState } from "./progress-state.js";

export type RunEvent = CompressEvent | EvaluateEvent | HubEvent | ObserveEvent | StudyEvent;

/** Where progress is drawn: stderr, or a stand-in in tests. */
export interface ProgressStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** Milliseconds between two drawings of the line. */
const REDRAW = 100;
const BAR = 20;
/** What the phases of an evaluation count. */
const PHASES = { score: "choices", generate: "answers", judge: "verdicts", "held-out": "held-out texts" } as const;

/**
 * Shows a run: on a terminal one line that is drawn anew, elsewhere (pipes, logs, CI) a plain line for every tenth of the
 * work. Notes are lines of their own.
 */
export class ProgressDisplay {
  private readonly state: ProgressState;
  private readonly live: boolean;
  private drawn = Number.NEGATIVE_INFINITY;
  private lineOpen = false;
  private readonly tenths = new Map<string, number>();

  constructor(
    private readonly stream: ProgressStream,
    private readonly options: {
      /** Stands before every line, to tell several runs apart. */
      readonly label?: string;
      readonly live?: boolean;
      readonly now?: () => number;
    } = {},
  ) {
    this.state = new ProgressState(options.now);
    this.live = options.live ?? isLive(stream);
  }

  update(event: RunEvent): void {
    switch (event.type) {
      case "start":
        this.line(startLine(event));
        break;
      case "note":
        this.line(`note: ${event.message}`);
        break;
      case "sampling":
        this.line(samplingLine(event));
        break;
      case "progress": {
        const progress = this.state.update(event);
        this.show("run", progress.share, () => progressLine(progress, this.live));
        break;
      }
      case "shard": {
        const { file, done, total } = event;
        this.show("write", done / total, () => `${writingText(event)}  ${file}`);
        break;
      }
      case "evaluate": {
        const { model, phase, done, total } = event;
        const text = () => `${model}  ${PHASES[phase]}  ${formatCount(done)} of ${formatCount(total)}`;
        this.show(`${model} ${phase}`, done / total, text);
        break;
      }
      case "study": {
        const { done, failed, total } = event;
        const text = `jobs  ${done} of ${total} done${failed > 0 ? `, ${failed} failed` : ""}`;
        // First the original and the observations, then the rest.
        this.show(`study ${total}`, (done + failed) / total, () => text);
        break;
      }
      case "job":
        if (event.state === "failed") this.line(`failed: ${event.label}: ${event.message}`);
        break;
      case "job-event":
        // Of many jobs only what is at work now is shown; notes are in their results.
        if (this.live && event.event.type !== "note") this.draw(`${event.label}  ${this.jobText(event.event)}`);
        break;
      case "hub.download": {
        const { file, totalReceived: done, totalSize: total } = event;
        const text = () => `downloading  ${formatBytes(done)} of ${formatBytes(total)}  ${file}`;
        this.show("download", total > 0 ? done / total : 1, text);
        break;
      }
      case "hub.retry":
        this.line(`waiting ${formatDuration(event.seconds)} before another try: ${event.reason} (${event.url})`);
        break;
      case "hub.wait":
        this.line(`waiting: ${event.reason} (${event.file})`);
        break;
    }
  }

  private jobText(event: RunEvent): string {
    if (event.type === "progress") return progressLine(this.state.update(event), false);
    if (event.type === "shard") return writingText(event);
    if (event.type !== "evaluate") return "";
    return `${PHASES[event.phase]}  ${formatCount(event.done)} of ${formatCount(event.total)}`;
  }

  /** Removes the line, so that what follows starts on a clean one. */
  end(): void {
    if (this.lineOpen) this.stream.write("\r\u001b[2K");
    this.lineOpen = false;
  }

  /** `kind`: the part of the work that `share` is of; each has its own tenths. */
  private show(kind: string, share: number, text: () => string): void {
    if (this.live) {
      this.draw(text(), share >= 1);
      return;
    }
    const tenth = Math.floor(share * 10 + 1e-9);
    if (tenth <= (this.tenths.get(kind) ?? 0)) return;
    this.tenths.set(kind, tenth);
    this.line(text());
  }

  private draw(text: string, always = false): void {
    const time = (this.options.now?.() ?? performance.now() / 1000) * 1000;
    if (!always && time - this.drawn < REDRAW) return;
    this.drawn = time;
    this.lineOpen = true;
    const width = (this.stream.columns ?? 80) - 1;
    this.stream.write(`\r\u001b[2K${this.labelled(text).slice(0, width)}`);
  }

  private line(text: string): void {
    this.end();
    this.stream.write(`${this.labelled(text)}\n`);
  }

  private labelled(text: string): string {
    return this.options.label === undefined ? text : `${this.options.label}  ${text}`;
  }
}

/** A line can be drawn anew on a terminal that understands it; CI logs keep every version of it. */
function isLive(stream: ProgressStream): boolean {
  return stream.isTTY === true && process.env.TERM !== "dumb" && !process.env.CI;
}

function samplingLine({ layer, tokens, standardError, decisions }: Extract<RunEvent, { type: "sampling" }>): string {
  const means = `layer ${layer}: mean outputs of ${formatCount(tokens)} tokens`;
  if (standardError === undefined) return `${means}, one batch: too few to tell their error`;
  const { median, most } = standardError;
  const error = `${means}, standard error of similarities ${median.toPrecision(2)} (at most ${most.toPrecision(2)})`;
  return decisions === undefined
    ? error
    : `${error}; ${decisions.within} of ${decisions.all} group decisions lie within it`;
}

function startLine({
  model,
  experts,
  layers,
  sequences,
  length,
  tokens,
  method,
  backend,
  precision,
  resumed,
}: Extract<CompressEvent, { type: "start" }>): string {
  const text = `${model}: ${experts.before} -> ${experts.after} experts in ${layers} layers by ${method}, on `;
  const calibration = `${formatCount(tokens)} tokens (${formatCount(sequences)} sequences of ${length}), ${precision}, ${backend}`;
  return `${text}${calibration}${resumed > 0 ? `; ${resumed} layers are there from an earlier run` : ""}`;
}

function writingText({ done, total }: Extract<CompressEvent, { type: "shard" }>): string {
  return `writing  ${formatBytes(done)} of ${formatBytes(total)}`;
}

function progressLine(
  { layer, layers, phase, share, tokensPerSecond, secondsLeft, memory }: Progress,
  live: boolean,
): string {
  const filled = Math.round(share * BAR);
  const parts = [
    ...(live ? [`${"█".repeat(filled)}${"░".repeat(BAR - filled)}`] : []),
    formatShare(share).padStart(5),
    `layer ${layer + 1}/${layers}`,
    phase.padEnd(9),
    ...(tokensPerSecond === undefined ? [] : [`${formatCount(tokensPerSecond)} tokens/s`]),
    ...(secondsLeft === undefined ? [] : [`${formatDuration(secondsLeft)} left`]),
    formatBytes(memory),
  ];
  return parts.join("  ");
}
