import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { ReamError } from "../errors.js";

/** What happens while files come from the hub. */
export type HubEvent =
  | {
      readonly type: "hub.download";
      readonly repository: string;
      readonly file: string;
      /** Bytes of this file that are here, and its size. */
      readonly received: number;
      readonly size: number;
      /** The same over all files of the same call. */
      readonly totalReceived: number;
      readonly totalSize: number;
    }
  | { readonly type: "hub.retry"; readonly url: string; readonly reason: string; readonly seconds: number }
  | { readonly type: "hub.wait"; readonly file: string; readonly reason: string };

/** How the hub is reached and where its files are kept. */
export interface HubOptions {
  /** Address without a slash at the end. */
  readonly endpoint: string;
  /** Folder of the cache, in the layout that all Hugging Face tools share. */
  readonly cache: string;
  readonly token?: string | undefined;
  /** True: only the cache is used. */
  readonly offline: boolean;
  readonly onEvent?: ((event: HubEvent) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Attempts without progress before a request is given up. */
  readonly attempts: number;
  /** Wait before the second attempt in milliseconds; doubles with each further one. */
  readonly retryDelay: number;
  /** Milliseconds without any data after which a connection counts as dead. */
  readonly stallTimeout: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

function readToken(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/**
 * Reads the variables that Hugging Face tools share: HF_ENDPOINT, HF_HUB_OFFLINE, HF_HUB_CACHE (HUGGINGFACE_HUB_CACHE),
 * HF_HOME, XDG_CACHE_HOME, and the token from HF_TOKEN, the file HF_TOKEN_PATH, or $HF_HOME/token, in this order.
 * Errors: HUB_OPTIONS.
 */
export function hubOptionsFromEnvironment(environment: Environment): HubOptions {
  const set = (name: string) => environment[name]?.trim() || undefined;
  const home = set("HF_HOME") ?? join(set("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "huggingface");
  const endpoint = (set("HF_ENDPOINT") ?? "https://huggingface.co").replace(/\/+$/, "");
  if (!/^https?:$/.test(URL.canParse(endpoint) ? new URL(endpoint).protocol : "")) {
    throw new ReamError("HUB_OPTIONS", `HF_ENDPOINT is "${endpoint}", not an http or https address.`, {
      where: "HF_ENDPOINT",
      hint: "Write it as https://huggingface.co.",
    });
  }
  const token = (set("HF_TOKEN") ?? readToken(set("HF_TOKEN_PATH") ?? join(home, "token")))?.trim() || undefined;
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new ReamError("HUB_OPTIONS", "The access token has characters that no token has.", {
      where: set("HF_TOKEN") === undefined ? "token file" : "HF_TOKEN",
      hint: "Copy it again from the settings page of the hub.",
    });
  }
  return {
    endpoint,
    cache: set("HF_HUB_CACHE") ?? set("HUGGINGFACE_HUB_CACHE") ?? join(home, "hub"),
    token,
    offline: /^(1|true|yes|on)$/i.test(set("HF_HUB_OFFLINE") ?? ""),
    attempts: 6,
    retryDelay: 500,
    stallTimeout: 60_000,
  };
}
