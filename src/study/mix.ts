/** Domains of the calibration text and their shares, as they were stated: 0.3, 0.3, 0.3 is the balanced mix. Empty: none. */
export type Mix = Readonly<Record<string, number>>;

/** Shares printed with one digit add up to no less than three times 0.3, those with two digits to 0.99. */
const ROUNDING = 0.1 + 1e-9;

/** True where the shares may be rounded parts of one whole. */
export function isWhole(mix: Mix): boolean {
  const shares = Object.values(mix);
  return shares.length === 0 || Math.abs(total(shares) - 1) <= ROUNDING;
}

/** Equal for equal mixes: domains in order, without those that have no share, shares as parts of one in three digits. */
export function mixKey(mix: Mix): string {
  const whole = total(Object.values(mix));
  return Object.keys(mix)
    .filter((domain) => mix[domain]! > 0)
    .sort()
    .map((domain) => `${domain}=${(mix[domain]! / whole).toFixed(3)}`)
    .join(",");
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
