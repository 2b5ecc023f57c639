import { setTimeout as sleep } from "node:timers/promises";
import { ReamError } from "../errors.js";
import { answerError, isTemporary, statusError, unreachable } from "./failures.js";
import type { HubOptions } from "./settings.js";

const MAX_REDIRECTS = 10;
const MAX_WAIT_SECONDS = 300;

/** A response, and the headers of the hub's own answer if that was a redirect to another address. */
export interface HubResponse {
  readonly response: Response;
  readonly first: Headers;
  /** Ends the connection, for a body that is not read to its end. */
  abort(): void;
  /** To be called whenever data has come: the connection counts as dead after the stall timeout without it. */
  alive(): void;
}

/** A connection that is aborted when the caller gives up or no data has come for a while. */
function connection(options: HubOptions) {
  const controller = new AbortController();
  const timer = setTimeout(
    () => controller.abort(new DOMException("No data came for a while.", "TimeoutError")),
    options.stallTimeout,
  );
  timer.unref();
  const outer = () => controller.abort(options.signal?.reason);
  options.signal?.addEventListener("abort", outer, { once: true });
  if (options.signal?.aborted) outer();
  const end = () => {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", outer);
  };
  const abort = () => {
    end();
    controller.abort();
  };
  return { signal: controller.signal, alive: () => timer.refresh(), abort, end };
}

/** Follows redirects by hand: the token goes to the hub's own address and nowhere else, and never to plain http. */
async function follow(url: string, headers: Record<string, string>, options: HubOptions): Promise<HubResponse> {
  const { origin, protocol } = new URL(options.endpoint);
  const link = connection(options);
  let address = new URL(url);
  let first: Headers | undefined;
  try {
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      const own = address.origin === origin && options.token !== undefined;
      const sent = { ...headers, ...(own ? { authorization: `Bearer ${options.token}` } : {}) };
      const response = await fetch(address, { headers: sent, redirect: "manual", signal: link.signal });
      first ??= response.headers;
      const location = response.headers.get("location");
      if (response.status < 300 || response.status >= 400 || location === null) {
        return { response, first, abort: link.abort, alive: link.alive };
      }
      await response.body?.cancel();
      const next = URL.canParse(location, address.href) ? new URL(location, address) : undefined;
      if (next === undefined || (next.protocol !== "https:" && next.protocol !== protocol)) {
        throw new ReamError(
          "HUB_REDIRECT",
          `The hub redirects to "${location.slice(0, 200)}", which is not followed.`,
          {
            where: url,
            hint: "Check HF_ENDPOINT.",
          },
        );
      }
      address = next;
    }
  } catch (cause) {
    link.end();
    throw cause;
  }
  link.abort();
  throw new ReamError("HUB_REDIRECT", `More than ${MAX_REDIRECTS} redirects.`, {
    where: url,
    hint: "Check HF_ENDPOINT.",
  });
}

/** Seconds that a Retry-After header asks for: a number or a date. */
function retryAfter(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  if (text === null) return undefined;
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined;
}

/** Waits before attempt `attempt` + 1: as long as the server asks, else twice as long each time, plus up to a quarter. */
export async function backOff(url: string, attempt: number, reason: string, options: HubOptions, asked?: number) {
  const own = ((options.retryDelay * 2 ** (attempt - 1)) / 1000) * (1 + Math.random() / 4);
  const seconds = Math.min(MAX_WAIT_SECONDS, Math.max(asked ?? 0, own));
  options.onEvent?.({ type: "hub.retry", url, reason, seconds });
  await sleep(seconds * 1000, undefined, options.signal === undefined ? {} : { signal: options.signal });
}

/**
 * GET. Temporary failures (429, 5xx, broken connections) are tried again up to `options.attempts` times. Resolves with
 * a response of status 2xx or, where a range was asked for, 416. Errors: HUB_..., by cause.
 */
export async function hubRequest(
  url: string,
  options: HubOptions,
  headers: Record<string, string> = {},
): Promise<HubResponse> {
  for (let attempt = 1; ; attempt++) {
    let failure: unknown;
    let asked: number | undefined;
    try {
      const result = await follow(url, headers, options);
      const { response } = result;
      if (response.ok || (response.status === 416 && headers.range !== undefined)) return result;
      failure = await statusError(response, url, options);
      asked = retryAfter(response.headers);
      result.abort();
      if (![408, 429, 500, 502, 503, 504].includes(response.status)) throw failure;
    } catch (cause) {
      options.signal?.throwIfAborted();
      if (cause instanceof ReamError) throw cause;
      failure = unreachable(cause, url, options);
      if (!isTemporary(cause)) throw failure;
    }
    if (attempt >= options.attempts || (asked ?? 0) > MAX_WAIT_SECONDS) throw failure;
    await backOff(url, attempt, (failure as Error).message, options, asked);
  }
}

/** GET of a JSON document. Errors: those of `hubRequest`. */
export async function hubJson(url: string, options: HubOptions): Promise<unknown> {
  const { response, abort } = await hubRequest(url, options, { accept: "application/json" });
  try {
    return await response.json();
  } catch (cause) {
    throw answerError(cause, url, options);
  } finally {
    abort();
  }
}
