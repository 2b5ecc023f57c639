import { ReamError } from "../errors.js";
import type { HubOptions } from "./settings.js";

/** Failures of a connection that another attempt may not meet. */
const TEMPORARY = /^(ECONNRESET|EPIPE|ETIMEDOUT|EAI_AGAIN|ECONNABORTED|UND_ERR_.*)$/;

const LOCAL_HINT = "Give a local folder in place of the hub id, or set HF_HUB_OFFLINE=1 to use what the cache holds.";

/** The innermost cause of an error of `fetch`, which says only "fetch failed" itself. */
function rootCause(error: unknown): { code?: string; name?: string; message?: string } {
  let current = error as { cause?: unknown; errors?: unknown[] };
  for (let depth = 0; depth < 5; depth++) {
    const inner = current?.cause ?? current?.errors?.[0];
    if (typeof inner !== "object" || inner === null) break;
    current = inner;
  }
  return current as { code?: string };
}

/** Whether a connection that failed so may work the next time. */
export function isTemporary(error: unknown): boolean {
  const { code, name, message } = rootCause(error);
  return (
    TEMPORARY.test(String(code)) || name === "TimeoutError" || /terminated|other side closed/.test(String(message))
  );
}

/** HUB_UNREACHABLE: no answer came. */
export function unreachable(cause: unknown, url: string, options: HubOptions): ReamError {
  const { code, message } = rootCause(cause);
  const reason = [code, message].filter((part) => part !== undefined && part !== "").join(": ");
  return new ReamError("HUB_UNREACHABLE", `${new URL(options.endpoint).host} cannot be reached (${reason}).`, {
    where: url,
    hint: LOCAL_HINT,
    cause,
  });
}

/** The hub's own words on an error, if it says any. */
async function explanation(response: Response): Promise<string> {
  const header = response.headers.get("x-error-message");
  const body = header ?? (await response.text().catch(() => ""));
  let text = body.slice(0, 2000);
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed === "object" && parsed !== null && "error" in parsed) text = String(parsed.error);
  } catch {
    if (/^\s*</.test(text)) return "";
  }
  text = text.replace(/\s+/g, " ").trim().slice(0, 300);
  return text === "" ? "" : ` It says: ${text}`;
}

/** The error for a status that is not a success, read from the response. */
export async function statusError(response: Response, url: string, options: HubOptions): Promise<ReamError> {
  const said = await explanation(response);
  const name = response.headers.get("x-error-code");
  const make = (code: string, message: string, hint: string) =>
    new ReamError(code, `${message} (HTTP ${response.status}).${said}`, { where: url, hint });
  const tokenHint =
    options.token === undefined ? "Set HF_TOKEN to an access token" : "Check that the access token is valid";
  const { status } = response;
  if (name === "GatedRepo" || status === 403) {
    return make(
      "HUB_GATED",
      "The repository is gated or not open to this account",
      `Accept its terms on the hub. ${tokenHint}.`,
    );
  }
  if (status === 401) {
    return make(
      "HUB_AUTH",
      "The hub refuses access: the repository is private or does not exist",
      `${tokenHint}; check the name.`,
    );
  }
  if (status === 404) {
    const what =
      name === "RevisionNotFound" ? "revision" : name === "EntryNotFound" ? "file" : "repository or revision";
    return make("HUB_NOT_FOUND", `The hub has no such ${what}`, "Check the spelling of org/name@revision.");
  }
  if (status === 429) {
    return make(
      "HUB_RATE_LIMIT",
      "The hub limits the rate of requests",
      `Wait and run again: partial files are kept. ${tokenHint}.`,
    );
  }
  if (status >= 500) return make("HUB_SERVER", "The hub has a problem", `Try again later. ${LOCAL_HINT}`);
  return make("HUB_RESPONSE", "The hub gives an unexpected answer", "Check HF_ENDPOINT.");
}

/** The error for an answer that breaks off or is not what the hub's interface says. */
export function answerError(cause: unknown, url: string, options: HubOptions): unknown {
  options.signal?.throwIfAborted();
  if (cause instanceof ReamError) return cause;
  if (isTemporary(cause)) return unreachable(cause, url, options);
  return new ReamError("HUB_RESPONSE", "The answer of the hub is not of the form that is expected.", {
    where: url,
    hint: "Check HF_ENDPOINT, or try again later.",
    cause,
  });
}

/** Names the failures of the file system that downloads meet; others pass unchanged. */
export function fileError(cause: unknown, where: string): unknown {
  const code = (cause as NodeJS.ErrnoException)?.code;
  if (cause instanceof ReamError) return cause;
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") {
    return new ReamError("HUB_DISK", `The disk is full (${code}).`, {
      where,
      hint: "Make room and run again: partial files are kept. HF_HUB_CACHE names another folder.",
      cause,
    });
  }
  if (code === "EACCES" || code === "EPERM" || code === "EROFS" || code === "ENOTDIR") {
    return new ReamError("HUB_CACHE", `The cache cannot be written (${code}).`, {
      where,
      hint: "Set HF_HUB_CACHE to a folder that can be written.",
      cause,
    });
  }
  return cause;
}
