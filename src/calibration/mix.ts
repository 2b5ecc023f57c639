import { ReamError } from "../errors.js";

/** A domain and its share of the sequences; the shares of a mix sum to 1. */
export interface MixShare {
  readonly name: string;
  readonly ratio: number;
}

/** Shares are often written with two digits: thirds as 0.33, as the REAM paper does. */
const TOLERANCE = 0.0101;
const MAX_DOMAINS = 255;

function parseRatio(text: string, part: string): number {
  const match = /^(\d*\.?\d+(?:e-?\d+)?)(?:\/(\d*\.?\d+))?$/i.exec(text);
  const ratio = match === null ? Number.NaN : Number(match[1]) / (match[2] === undefined ? 1 : Number(match[2]));
  if (!Number.isFinite(ratio) || ratio < 0 || ratio > 1) {
    throw new ReamError("CALIBRATION_MIX", `The share in "${part}" is not a number from 0 to 1.`, {
      where: "mix",
      hint: "Write shares as 0.3 or 1/3: general=0.3,math=0.3,code=0.4.",
    });
  }
  return ratio;
}

/**
 * Parses `general=0.3,math=0.3,code=0.4`. Shares are decimals or fractions (`1/3`) that sum to 1 within 0.01 and are scaled
 * to sum to it exactly; without any shares (`general,math`) all are equal. Domains with share 0 are left out.
 * Errors: CALIBRATION_MIX.
 */
export function parseMix(text: string): MixShare[] {
  const fail = (message: string, hint: string) => new ReamError("CALIBRATION_MIX", message, { where: "mix", hint });
  const parts = text.split(",").map((part) => part.trim());
  const named = parts.map((part) => {
    const equals = part.indexOf("=");
    const name = (equals < 0 ? part : part.slice(0, equals)).trim();
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) {
      throw fail(
        `"${part}" does not begin with the name of a domain.`,
        "Write NAME=SHARE, as in general=0.3,code=0.7.",
      );
    }
    return { name, ratio: equals < 0 ? undefined : parseRatio(part.slice(equals + 1).trim(), part) };
  });
  const names = new Set(named.map(({ name }) => name));
  if (names.size !== named.length) throw fail(`A domain appears twice in "${text}".`, "Name every domain once.");
  if (names.size > MAX_DOMAINS) throw fail(`${names.size} domains are more than ${MAX_DOMAINS}.`, "Use fewer domains.");
  const given = named.filter(({ ratio }) => ratio !== undefined);
  if (given.length === 0) return named.map(({ name }) => ({ name, ratio: 1 / named.length }));
  if (given.length < named.length) {
    throw fail(`Some domains of "${text}" have a share and some have none.`, "Give every domain a share, or none.");
  }
  const sum = given.reduce((total, { ratio }) => total + (ratio ?? 0), 0);
  if (Math.abs(sum - 1) > TOLERANCE) {
    throw fail(
      `The shares sum to ${Number(sum.toFixed(6))}, not 1.`,
      "Change them, or leave them all out for equal shares.",
    );
  }
  return named.flatMap(({ name, ratio }) => (ratio ? [{ name, ratio: ratio / sum }] : []));
}

/** Splits `total` by ratios that sum to 1 so that the counts add up (largest remainder; ties go to the lower index). */
export function apportion(ratios: readonly number[], total: number): number[] {
  const quotas = ratios.map((ratio) => ratio * total);
  // The tolerance keeps a quota such as 0.1 * 30 = 3.0000000000000004 or 2.9999999999999996 at its whole number.
  const counts = quotas.map((quota) => Math.floor(quota + 1e-6));
  const order = quotas.map((_, index) => index).sort((a, b) => remainder(b) - remainder(a) || a - b);
  function remainder(index: number): number {
    return quotas[index]! - counts[index]!;
  }
  let missing = total - counts.reduce((sum, count) => sum + count, 0);
  for (const index of order) {
    if (missing <= 0) break;
    counts[index]! += 1;
    missing -= 1;
  }
  return counts;
}

/**
 * Counts of sequences where some domains hold less than their share of `wanted`, `available[i]` sequences in domain i
 * (more than its share counts as its share): the largest total for which the ratios hold and no text is used twice.
 */
export function countsWithin(ratios: readonly number[], available: readonly number[], wanted: number): number[] {
  let counts = apportion(ratios, wanted);
  const limits = ratios.map((ratio, index) =>
    available[index]! < counts[index]! ? Math.floor((available[index]! + 1e-6) / ratio) : wanted,
  );
  let total = Math.min(wanted, ...limits);
  // One less may be needed: with a smaller total, largest remainders can give a single domain one more.
  while (total < wanted) {
    counts = apportion(ratios, total);
    if (counts.every((count, index) => count <= available[index]!)) break;
    total -= 1;
  }
  return counts;
}

/**
 * The domain of each sequence, so that every prefix has about the right mix: the next sequence comes from the domain
 * that is furthest behind its share. Ties go to the lower index.
 */
export function interleave(counts: readonly number[]): Uint8Array {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const taken = counts.map(() => 0);
  const order = new Uint8Array(total);
  for (let position = 0; position < total; position++) {
    let next = -1;
    let furthest = Number.NEGATIVE_INFINITY;
    for (let domain = 0; domain < counts.length; domain++) {
      const behind = (counts[domain]! * (position + 1)) / total - taken[domain]!;
      if (taken[domain]! < counts[domain]! && behind > furthest) {
        furthest = behind;
        next = domain;
      }
    }
    order[position] = next;
    taken[next]! += 1;
  }
  return order;
}
