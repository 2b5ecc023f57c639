import { z } from "zod";
import { ReamError } from "../errors.js";

/** Exit statuses of the program. */
export const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** Errors that another command line would not have: the wrong options rather than a failure. */
const USAGE_CODES = new Set([
  "OPTION_MISSING",
  "OPTION_INVALID",
  "CONFIG_FILE",
  "EXPERTS_RANGE",
  "GROUP_ROOM",
  "MEMORY_LIMIT",
  "SETTINGS_CONFLICT",
  "CALIBRATION_MIX",
  "CALIBRATION_OPTIONS",
  "TASK_UNKNOWN",
  "TASK_TWICE",
  "ENDPOINT_URL",
  "QUEUE_URL",
  "STORE_URL",
  "STUDY_SEARCH",
]);

/** An error as programs read it (`--json`, `--events`). */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly where?: string;
  readonly hint?: string;
}

export function exitStatus(error: unknown): number {
  return error instanceof ReamError && USAGE_CODES.has(error.code) ? EXIT.usage : EXIT.failed;
}

/** Every error in the form that a person can act on; those that nobody expected have the code UNEXPECTED. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof ReamError) {
    const { code, message, where, hint } = error;
    return { code, message, ...(where !== undefined && { where }), ...(hint !== undefined && { hint }) };
  }
  if (error instanceof z.ZodError) return { code: "OPTION_INVALID", message: z.prettifyError(error) };
  const { code, message, path } = error as NodeJS.ErrnoException;
  if (typeof code === "string" && path !== undefined) return { code: "FILE", message, where: path };
  return {
    code: "UNEXPECTED",
    message: message ?? String(error),
    hint: "This is a mistake of the program. Run it again with REAM_DEBUG=1 and report what it prints.",
  };
}

/** Lines for the terminal: code and message, where it was found, what to do. The stack only with REAM_DEBUG. */
export function formatFailure(error: unknown, environment: NodeJS.ProcessEnv = process.env): string {
  const { code, message, where, hint } = describeFailure(error);
  const lines = [`error ${code}: ${message}`];
  if (where !== undefined) lines.push(`  where: ${where}`);
  if (hint !== undefined) lines.push(`  what to do: ${hint}`);
  if (environment.REAM_DEBUG && error instanceof Error) lines.push(stackOf(error));
  return `${lines.join("\n")}\n`;
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\nCaused by: ${stackOf(error.cause)}` : "";
  return `${error.stack ?? ""}${cause}`;
}
