import { ReamError } from "../../errors.js";
import { sleep } from "../queue/wait.js";

/** How a store that does not answer is waited for, in milliseconds. */
export interface Patience {
  /** In all, since it last did something. */
  readonly total: number;
  /** Before the second try; each further wait is twice as long, up to `longest`. */
  readonly first: number;
  readonly longest: number;
}

export const PATIENCE: Patience = { total: 300_000, first: 500, longest: 30_000 };

/** Failures of a connection that another try may not meet. */
const TEMPORARY =
  /^(ECONNRESET|ECONNREFUSED|ECONNABORTED|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ERR_STREAM_PREMATURE_CLOSE)$/;

interface Failure extends Error {
  readonly code?: string;
  readonly syscall?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/**
 * Does something with a store again and again while it is down, is overloaded, or cuts connections.
 * Errors: STORE_UNREACHABLE when the patience is over, STORE_REFUSED where it says no; those of this machine as they are.
 */
export async function patiently<T>(
  where: string,
  { total, first, longest }: Patience,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const began = performance.now();
  for (let pause = first; ; pause = Math.min(2 * pause, longest)) {
    signal?.throwIfAborted();
    try {
      return await work();
    } catch (cause) {
      signal?.throwIfAborted();
      if (!isTemporary(cause as Failure)) throw refused(cause as Failure, where);
      if (performance.now() - began + pause > total) throw unreachable(cause as Failure, where);
    }
    // Many machines met the same failure, and should not come back at the same moment.
    await sleep(pause * (0.5 + Math.random() / 2), signal);
  }
}

/** The status of the answer that an error tells of; undefined where there was none. */
export function statusOf(error: unknown): number | undefined {
  return (error as Failure).$metadata?.httpStatusCode;
}

function isTemporary(error: Failure): boolean {
  const status = statusOf(error);
  // A clock that is wrong is set right by the library when it hears of it.
  if (error.name === "RequestTimeTooSkewed") return true;
  if (TEMPORARY.test(String(error.code)) || error.name === "TimeoutError") return true;
  return status !== undefined && (status >= 500 || status === 429 || status === 408);
}

function reasonOf({ name, message, code }: Failure): string {
  return [...new Set([code ?? name, message])].filter(Boolean).join(": ");
}

function unreachable(cause: Failure, where: string): ReamError {
  return new ReamError("STORE_UNREACHABLE", `the store does not answer: ${reasonOf(cause)}`, {
    where,
    hint: "Check AWS_ENDPOINT_URL and the network. What is done is kept: the same command goes on.",
    cause,
  });
}

/** What the store says no to, or what keeps it from being asked. Errors of ours and of the disk stay as they are. */
function refused(cause: Failure, where: string): unknown {
  if (cause instanceof ReamError || cause.syscall !== undefined) return cause;
  return new ReamError("STORE_REFUSED", `the store refuses: ${reasonOf(cause)}`, {
    where,
    hint:
      "Check the bucket, AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY. Needed: s3:GetObject, " +
      "s3:PutObject, s3:AbortMultipartUpload, and s3:ListBucket, without which a missing object looks forbidden.",
    cause,
  });
}
