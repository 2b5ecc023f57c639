/** What an error tells besides its code and message. */
export interface ErrorDetails {
  /** File, tensor, layer or option in which it was found. */
  readonly where?: string;
  /** What the user can do about it. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/**
 * Every failure that a user can cause or meet. `code` is stable and upper case with underscores, for programs;
 * `message` says what was found; `where` and `hint` say where it was found and what to do.
 */
export class ReamError extends Error {
  readonly code: string;
  readonly where: string | undefined;
  readonly hint: string | undefined;

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "ReamError";
    this.code = code;
    this.where = details.where;
    this.hint = details.hint;
  }
}
