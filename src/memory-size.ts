import { ReamError } from "./errors.js";

const UNITS = ["", "k", "m", "g", "t"];

/**
 * Bytes of a size as people write it: `24GB`, `16GiB`, `80g`, `500 MB`. Units are decimal, but for those with an i
 * (GiB = 2^30 bytes): a memory that is sold as 24 GB has a little more. Errors: OPTION_INVALID.
 */
export function parseMemorySize(text: string, option: string): number {
  const [, number, unit, binary] = /^\s*(\d+\.?\d*|\.\d+)\s*(?:([kmgt])(i)?)?b?\s*$/i.exec(text) ?? [];
  if (number === undefined || !/[bkmgt]/i.test(text)) throw invalid(text, option, "24GB, 16GiB or 500MB");
  const bytes = Number(number) * (binary === undefined ? 1000 : 1024) ** UNITS.indexOf((unit ?? "").toLowerCase());
  if (!(bytes >= 1 && bytes <= Number.MAX_SAFE_INTEGER)) throw invalid(text, option, "from one byte on");
  return Math.floor(bytes);
}

/** Bytes of a part of a whole: a share of it (`10%`) or a size (`1.5GB`, `0`). Errors: OPTION_INVALID. */
export function parsePart(text: string, whole: number, option: string): number {
  if (/^\s*0+\s*$/.test(text)) return 0;
  const percent = /^\s*(\d+\.?\d*|\.\d+)\s*%\s*$/.exec(text)?.[1];
  if (percent === undefined) return parseMemorySize(text, option);
  if (Number(percent) >= 100) throw invalid(text, option, "below 100 %");
  return Math.ceil((whole * Number(percent)) / 100);
}

function invalid(text: string, option: string, expected: string): ReamError {
  return new ReamError("OPTION_INVALID", `${JSON.stringify(text)} is no size of a memory`, {
    where: option,
    hint: `Give a size as ${expected}.`,
  });
}
