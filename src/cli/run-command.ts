import { closeSync, openSync, writeSync } from "node:fs";
import type { Command } from "commander";
import { Option } from "commander";
import { ReamError } from "../errors.js";
import { describeFailure, EXIT, exitStatus, formatFailure } from "./failures.js";
import { ProgressDisplay, type RunEvent } from "./progress.js";

/** Flags of every command that works for a while. */
export interface OutputFlags {
  readonly json?: boolean;
  readonly events?: string;
  readonly quiet?: boolean;
}

/** What a command has while it works. */
export interface RunContext {
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** Passes an event on to the display and the event stream; `label` tells several runs of one command apart. */
  readonly onEvent: (event: RunEvent, label?: string) => void;
  /** Tells the person something that no event does. */
  readonly note: (message: string) => void;
}

/** The result of a command: for programs (`--json`) and for people. */
export interface Outcome {
  readonly json: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** Exit status; undefined: done. */
  readonly status?: number;
}

export function addOutputOptions(command: Command): Command {
  const heading = "Output:";
  return command
    .addOption(new Option("--json", "print one JSON object on stdout instead of text").helpGroup(heading))
    .addOption(
      new Option(
        "--events <to>",
        "write every event as a line of JSON: jsonl or - = stdout (stderr with --json), in place of text and progress; else a file",
      ).helpGroup(heading),
    )
    .addOption(new Option("-q, --quiet", "show no progress").helpGroup(heading));
}

/**
 * Runs a command's work and prints its result on stdout; progress and errors go to stderr. Returns the exit status.
 * Ctrl-C aborts the work's signal; a second one ends the program at once.
 */
export async function runCommand(
  flags: OutputFlags,
  work: (context: RunContext) => Promise<Outcome>,
  interrupted = "Interrupted.",
): Promise<number> {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    controller.abort();
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  let output: RunOutput | undefined;
  try {
    output = new RunOutput(flags);
    const outcome = await work({
      signal: controller.signal,
      onEvent: (event, label) => output?.event(event, label),
      note: (message) => output?.note(message),
    });
    output.result(outcome);
    return outcome.status ?? EXIT.done;
  } catch (error) {
    if (controller.signal.aborted) {
      output?.failure({ code: "INTERRUPTED", message: interrupted }, `${interrupted}\n`);
      return EXIT.interrupted;
    }
    const text = formatFailure(error);
    if (output === undefined) process.stderr.write(text);
    else output.failure(describeFailure(error), text);
    return exitStatus(error);
  } finally {
    output?.close();
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

/** The streams of one run: what goes to stdout, to stderr and to the file of events. */
class RunOutput {
  private readonly json: boolean;
  private readonly displays = new Map<string | undefined, ProgressDisplay>();
  private display: ProgressDisplay | undefined;
  private readonly quiet: boolean;
  /** Events stand in place of what a person would see. */
  private readonly hidden: boolean;
  private readonly file: number | undefined;
  private readonly eventStream: NodeJS.WritableStream | undefined;
  private readonly began = performance.now();

  constructor({ json = false, events, quiet = false }: OutputFlags) {
    this.json = json;
    const toStream = events === "jsonl" || events === "-";
    this.eventStream = toStream ? (json ? process.stderr : process.stdout) : undefined;
    this.file = events === undefined || toStream ? undefined : openEvents(events);
    this.quiet = quiet;
    this.hidden = toStream;
  }

  event(event: RunEvent, label: string | undefined): void {
    this.writeEvent(label === undefined ? event : { run: label, ...event });
    // Notes are no progress: the person should know them in any case.
    if (this.hidden || (this.quiet && event.type !== "note")) return;
    let display = this.displays.get(label);
    if (display === undefined) {
      display = new ProgressDisplay(process.stderr, label === undefined ? {} : { label });
      this.displays.set(label, display);
    }
    if (display !== this.display) this.display?.end();
    this.display = display;
    display.update(event);
  }

  note(message: string): void {
    this.writeEvent({ type: "note", message });
    if (this.hidden) return;
    this.display?.end();
    process.stderr.write(`note: ${message}\n`);
  }

  result({ json, text }: Outcome): void {
    this.display?.end();
    this.writeEvent({ type: "result", ...json });
    if (this.json) process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
    else if (this.eventStream === undefined) process.stdout.write(text);
  }

  failure(failure: object, text: string): void {
    this.display?.end();
    this.writeEvent({ type: "error", ...failure });
    if (this.json) process.stdout.write(`${JSON.stringify({ error: failure }, null, 2)}\n`);
    process.stderr.write(text);
  }

  close(): void {
    if (this.file !== undefined) closeSync(this.file);
  }

  private writeEvent(event: object): void {
    if (this.file === undefined && this.eventStream === undefined) return;
    const elapsed = Math.round(performance.now() - this.began) / 1000;
    const line = `${JSON.stringify({ elapsed, ...event })}\n`;
    if (this.file !== undefined) writeSync(this.file, line);
    else this.eventStream?.write(line);
  }
}

function openEvents(path: string): number {
  try {
    return openSync(path, "w");
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new ReamError("EVENTS_WRITE", `the file of events cannot be written: ${reason}`, {
      where: path,
      hint: "Give another path to --events.",
      cause,
    });
  }
}
