/** Numbers as a reader expects them: a real minus sign, a dash for what is absent. */

const ABSENT = "–";

/** One digit after the point unless told otherwise: `70.3`. */
export function fixed(value: number | undefined, digits = 1): string {
  if (value === undefined || Number.isNaN(value)) return ABSENT;
  const text = value.toFixed(digits);
  // What is shown as zero has no sign.
  return Number(text) === 0 ? (0).toFixed(digits) : text.replace("-", "−");
}

/** With its sign: `+1.2`, `−0.4`, `0.0`. */
export function signed(value: number | undefined, digits = 1): string {
  const text = fixed(value, digits);
  return value !== undefined && value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

/** Three significant digits, for values of any size: `0.00123`, `12.3`, `4,560`. */
export function significant(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return ABSENT;
  if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e7)) {
    return value.toExponential(2).replaceAll("-", "−");
  }
  return value.toLocaleString("en", { maximumSignificantDigits: 3 }).replace("-", "−");
}

/** `−2.1 to +0.3` */
export function interval(ends: readonly [number, number] | undefined, write: (end: number) => string = signed): string {
  return ends === undefined ? ABSENT : `${write(ends[0])} to ${write(ends[1])}`;
}

export function probability(p: number | undefined): string {
  if (p === undefined || Number.isNaN(p)) return ABSENT;
  return p < 0.001 ? "<0.001" : p.toFixed(3);
}

/** A share as per cent: `12.5 %`. */
export function percent(share: number | undefined, digits = 1): string {
  return share === undefined || Number.isNaN(share) ? ABSENT : `${fixed(100 * share, digits)} %`;
}
