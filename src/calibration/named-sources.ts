import type { SourceRecord } from "./readers/record.js";

/** A public dataset that the published results were calibrated on, and how its records are used. */
export interface NamedSource {
  /** Hub id of the dataset. */
  readonly dataset: string;
  /** The files to read, of those that the dataset has. */
  files(paths: readonly string[]): string[];
  readonly together: number;
  readonly field: string;
  readonly columns: readonly string[];
  accepts(record: SourceRecord, length: number): boolean;
}

/** Texts with fewer characters than 0.9 of the tokens of a sequence cannot fill it; the published code drops them first. */
function longEnough(field: string): NamedSource["accepts"] {
  return ({ value }, length) => typeof value[field] === "string" && value[field].length > 0.9 * length;
}

/** Four of the thirty languages, read in turn: all of them would be a download of 2.6 GB. */
const LANGUAGES = ["python", "javascript", "java", "c++"];

/** The three datasets of the REAM paper (arXiv 2604.04356) by name. */
export const NAMED_SOURCES: Readonly<Record<string, NamedSource>> = {
  c4: {
    dataset: "allenai/c4",
    files: (paths) => paths.filter((path) => /^en\/c4-validation\.[0-9]+-of-[0-9]+\.json\.gz$/.test(path)).sort(),
    together: 1,
    field: "text",
    columns: [],
    accepts: longEnough("text"),
  },
  "numina-math-1.5": {
    dataset: "AI-MO/NuminaMath-1.5",
    files: (paths) => paths.filter((path) => /^data\/train-[^/]*\.parquet$/.test(path)).sort(),
    together: 1,
    field: "solution",
    columns: ["source", "solution"],
    // Other sources of this dataset overlap with mathematics benchmarks.
    accepts: (record, length) =>
      ["cn_k12", "olympiads"].includes(String(record.value.source)) && longEnough("solution")(record, length),
  },
  "the-stack-smol": {
    dataset: "bigcode/the-stack-smol",
    files: (paths) => LANGUAGES.map((name) => `data/${name}/data.json`).filter((path) => paths.includes(path)),
    together: LANGUAGES.length,
    field: "content",
    columns: [],
    accepts: longEnough("content"),
  },
};

/** Sources of the domains that are used when none are given. */
export const DEFAULT_SOURCES: Readonly<Record<string, string>> = {
  general: "c4",
  math: "numina-math-1.5",
  code: "the-stack-smol",
};
