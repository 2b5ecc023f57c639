import { InvalidArgumentError } from "commander";

/** Reads the whole numbers from `least` on. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value)) throw new InvalidArgumentError("That is not a whole number.");
    if (value < least) throw new InvalidArgumentError(`The least is ${least}.`);
    return value;
  };
}
