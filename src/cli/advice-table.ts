import type { Advice, Quality, RankedOption } from "../advise/advice.js";
import type { Score, Scores } from "../advise/measurement.js";
import type { PredictedLoss } from "../advise/predict.js";
import { formatBytes, formatCount, formatTable } from "../format.js";
import type { Style } from "./style.js";

/** Advice for people: what the memory holds, the first `rows` options, and what their numbers mean. */
export function describeAdvice(advice: Advice, rows: number, { bold, dim }: Style): string {
  const { model, options, fit, notes, refused } = advice;
  const shown = options.slice(0, rows);
  const fitting = options.filter(({ fits }) => fits).length;
  const [header, ...body] = formatTable([HEADER, ...shown.map(row)]).split("\n");
  const sections = [
    [
      `${model}: ${formatCount(advice.parameters)} parameters, ${formatBytes(advice.bytes)}, ${advice.experts} experts`,
      memoryLine(advice),
      `${fitting} of ${options.length} options fit ${formatBytes(fit)}`,
    ],
    [bold(header!), ...body, ...left(options.length - shown.length)],
    [dim(legend(shown))],
    refused.map(({ format, reason }) => `${format} is no option: ${reason}`),
    plainLines(shown),
    notes.map((note) => `note: ${note}`),
    commandLines(options),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join("\n"))
    .join("\n\n")}\n`;
}

const HEADER = ["   options of compress", "size", "memory", "bits/weight", "fits", "quality", "known from"];

function row({ rank, options, variant, bytes, memory, bitsPerWeight, left, quality }: RankedOption): string[] {
  return [
    `${String(rank).padStart(3)} ${options ?? "none: the model as it is"}${variant === "" ? "" : ` (${variant})`}`,
    formatBytes(bytes),
    formatBytes(memory),
    bitsPerWeight.toFixed(2),
    left >= 0 ? "yes" : `${formatBytes(-left)} too large`,
    qualityText(quality),
    sourceText(quality),
  ];
}

function qualityText(quality: Quality): string {
  if (quality.kind === "original") return quality.scores === undefined ? "the original" : scoresText(quality.scores);
  if (quality.kind === "measured") return `${scoresText(quality.scores)} (${lossText(quality.loss)})`;
  const { loss, divergence } = quality;
  const kl =
    divergence === undefined ? "" : `, KL about ${number(divergence.kl)} (x/÷ ${divergence.factor.toFixed(1)})`;
  return `${lossText(loss)}${kl}`;
}

/** d: share of the experts' output that is not kept; r: error of rounding. */
function lossText({ dropped, rounded }: PredictedLoss): string {
  return `d ${number(dropped)}, r ${number(rounded)}`;
}

function sourceText(quality: Quality): string {
  if (quality.kind === "original") return quality.from ?? "it is the original";
  return quality.kind === "measured" ? `measured: ${quality.from}` : `PREDICTED: ${quality.loss.basis}`;
}

function scoresText({ mc, gen, avg, kl }: Scores): string {
  const named = [["AVG", avg] as const, ["MC", mc] as const, ["GEN", gen] as const];
  const texts = named.flatMap(([name, score]) => (score === undefined ? [] : [`${name} ${scoreText(score)}`]));
  return [...texts, ...(kl === undefined ? [] : [`KL ${number(kl)}`])].join(", ");
}

function scoreText({ value, standardError }: Score): string {
  return standardError === undefined ? value.toFixed(1) : `${value.toFixed(1)} ±${standardError.toFixed(1)}`;
}

/** How the best that fit and have to be made are made: of those that were measured, and of those that are predicted. */
function commandLines(options: readonly RankedOption[]): string[] {
  const made = options.filter(({ fits, command }) => fits && command !== undefined);
  const best = (kind: Quality["kind"], title: string) => {
    const [first] = made.filter(({ quality }) => quality.kind === kind);
    if (first === undefined) return [];
    const equal = made.filter(({ rank }) => rank === first.rank);
    return [title, ...new Set(equal.map(({ command }) => `  ${command}`))];
  };
  return [
    ...best("measured", "Best of those that were measured:"),
    ...best(
      "predicted",
      "Of those that were not, the first to make and measure, with your calibration text (--domain):",
    ),
  ];
}

/** Three digits. */
function number(value: number): string {
  return value === 0 ? "0" : value >= 0.001 ? value.toPrecision(3) : value.toExponential(1);
}

function memoryLine({ context, sequences, cache, allowance }: Advice): string {
  const many = sequences === 1 ? "" : `${formatCount(sequences)} x `;
  const states = cache.states === 0 ? "" : `, states ${formatBytes(cache.states)}`;
  return (
    `memory = tensors + keys and values of ${many}${formatCount(context)} tokens in bfloat16 ` +
    `(${formatBytes(cache.keysAndValues)}${states}) + ${formatBytes(allowance)} for activations and the engine`
  );
}

function left(count: number): string[] {
  return count === 0 ? [] : [`${count} more: --rows, --json`];
}

function legend(shown: readonly RankedOption[]): string {
  const kinds = new Set(shown.map(({ quality }) => quality.kind));
  const alike = shown.some(({ quality }) => quality.kind === "predicted" && quality.loss.basis.includes("alike"));
  return [
    ...(kinds.has("measured")
      ? ["Measured: scores in per cent ± standard error; KL in nats from the original, on held-out text."]
      : []),
    ...(kinds.has("predicted")
      ? [
          "PREDICTED is not measured, and for ranking alone. d: share of what the routed experts make that is not kept (dropped or",
          "merged); r: squared error of rounding, relative to the weights. The two do not add up: dropping costs much more than an",
          "equal error of rounding, so that d ranks first. They do not tell ream from reap: what merging saves shows only when a",
          "model is run. Equal ranks: nothing known tells them apart. Measure those that you consider, and give --results.",
        ]
      : []),
    ...(alike ? ["All experts alike: without --observed, nothing tells which experts matter more than others."] : []),
  ].join("\n");
}

/** Formats that leave some matrices as they are. */
function plainLines(shown: readonly RankedOption[]): string[] {
  const lines = shown.flatMap(({ candidate, plain }) =>
    plain.map(({ part, reason }) => `${candidate.format}: matrices of part "${part}" stay as stored: ${reason}`),
  );
  return [...new Set(lines)];
}
