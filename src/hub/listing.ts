import { listFiles } from "@huggingface/hub";
import { ReamError } from "../errors.js";
import { answerError } from "./failures.js";
import { isCommit, isSafePath, type Repository } from "./repository.js";
import { hubJson, hubRequest } from "./request.js";
import type { HubOptions } from "./settings.js";

const MAX_FILES = 1_000_000;

/** A file of a repository at a commit. */
export interface RemoteFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Name of its blob in the cache: the SHA-256 of a large file, git's blob SHA-1 of another. */
  readonly etag: string;
  /** True if `etag` is a SHA-256. */
  readonly large: boolean;
}

function unexpected(message: string, where: string): ReamError {
  return new ReamError("HUB_RESPONSE", message, { where, hint: "Check HF_ENDPOINT." });
}

/** The commit that the revision stands for now. Errors: HUB_.... */
export async function currentCommit(repository: Repository, options: HubOptions): Promise<string> {
  const { type, name, revision } = repository;
  const url = `${options.endpoint}/api/${type}s/${name}/revision/${encodeURIComponent(revision)}`;
  const answer = (await hubJson(url, options)) as { sha?: unknown } | null;
  const commit = answer?.sha;
  if (typeof commit === "string" && isCommit(commit)) return commit;
  throw unexpected("The answer of the hub names no commit.", url);
}

/** All files of the repository at a commit below its path, sorted by path. Errors: HUB_.... */
export async function listRepository(
  repository: Repository,
  commit: string,
  options: HubOptions,
): Promise<RemoteFile[]> {
  const { type, name } = repository;
  const files: RemoteFile[] = [];
  const request = async (url: unknown) => (await hubRequest(String(url), options)).response;
  // The token is given by hubRequest, which knows where it may go.
  const entries = listFiles({
    repo: { type, name },
    revision: commit,
    recursive: true,
    hubUrl: options.endpoint,
    fetch: request as typeof fetch,
  });
  try {
    for await (const { type: kind, path, size, oid, lfs } of entries) {
      if (kind !== "file") continue;
      const etag = lfs?.oid ?? oid ?? "";
      const sound = typeof path === "string" && isSafePath(path) && Number.isSafeInteger(size) && size >= 0;
      if (!sound || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag) || files.length >= MAX_FILES) {
        throw unexpected(`The hub lists a file that cannot be stored: ${JSON.stringify(path).slice(0, 200)}.`, name);
      }
      files.push({ path, size, etag, large: etag.length === 64 });
    }
  } catch (cause) {
    throw answerError(cause, `${options.endpoint}/${name}`, options);
  }
  const inside = (path: string) =>
    repository.path === "" || path === repository.path || path.startsWith(`${repository.path}/`);
  return files.filter(({ path }) => inside(path)).sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Address of a file's content. */
export function fileUrl(repository: Repository, commit: string, path: string, options: HubOptions): string {
  const folder = repository.type === "dataset" ? "datasets/" : "";
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  return `${options.endpoint}/${folder}${repository.name}/resolve/${commit}/${encoded}`;
}
