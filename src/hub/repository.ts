import { ReamError } from "../errors.js";

/** A repository of the hub at a revision. */
export interface Repository {
  readonly type: "model" | "dataset";
  /** `org/name` */
  readonly name: string;
  /** Branch, tag or commit. */
  readonly revision: string;
  /** Folder or file within it; "" for all of it. */
  readonly path: string;
}

const PART = "[A-Za-z0-9][A-Za-z0-9._-]{0,95}";
const PATTERN = new RegExp(`^(hf://)?(?:(models|datasets)/)?(${PART}/${PART})(?:@([^/@]+))?(?:/(.*))?$`);
const COMMIT = /^[0-9a-f]{40}$/;

export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

/** Whether a path from elsewhere stays inside its folder: relative, no "..", no backslash, no drive, no NUL. */
export function isSafePath(path: string): boolean {
  return /^[^\\\0:]+$/.test(path) && path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

function match(text: string): RegExpExecArray | undefined {
  const found = PATTERN.exec(text);
  // A path inside the repository is only possible in the long form: a/b/c alone is a local path.
  if (found === null || (found[1] === undefined && found[5] !== undefined)) return undefined;
  return found;
}

/** Whether a text has the form of a hub id: `org/name[@revision]`, `hf://[models/|datasets/]org/name[@revision][/path]`. */
export function looksLikeHubId(text: string): boolean {
  return match(text) !== undefined;
}

/**
 * Parses a hub id; only datasets may have a path. A revision with slashes is written with %2F, as in the hub's own addresses.
 * Errors: HUB_ID.
 */
export function parseHubId(text: string, type: Repository["type"]): Repository {
  const found = match(text);
  const revision = decodeRevision(found?.[4] ?? "main");
  const path = found?.[5]?.replace(/\/+$/, "") ?? "";
  const stated = found?.[2]?.slice(0, -1);
  const pathFits = path === "" || (type === "dataset" && isSafePath(path));
  const valid = found !== undefined && isSafePath(revision) && pathFits;
  if (!valid || /--|\.\.|\.git$/.test(found[3]!) || (stated !== undefined && stated !== type)) {
    throw new ReamError("HUB_ID", `"${text}" is not the id of a ${type} on the hub.`, {
      where: text,
      hint: `Write org/name, org/name@revision or hf://${type === "dataset" ? "datasets/" : ""}org/name.`,
    });
  }
  return { type, name: found[3]!, revision, path };
}

function decodeRevision(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

/** For people and manifests: the address of the repository at a commit. */
export function repositoryLabel(repository: Repository, commit: string): string {
  const folder = repository.type === "dataset" ? "datasets/" : "";
  return `hf://${folder}${repository.name}@${commit}${repository.path === "" ? "" : `/${repository.path}`}`;
}
