import type { WeightFormatName } from "../checkpoint/quantised/weight-format.js";
import { METHOD_NAMES, type Method } from "../compress/settings.js";
import type { ModelDescription } from "../model/description.js";
import { expertTargets } from "../pipeline/expert-targets.js";

/** A way of shrinking a model: `ream compress` with these options. */
export interface Candidate {
  /** Experts that each layer keeps. */
  readonly experts: number;
  /** How the others are reduced; undefined where all are kept. */
  readonly method: Method | undefined;
  /** Weight format of the layers' linear weights; undefined: as stored. */
  readonly format: WeightFormatName | undefined;
  /** GPTQ in place of rounding to nearest: of what was measured alone, as nothing is known of it without running. */
  readonly solver?: "gptq" | undefined;
}

/** Every number of experts with every method and format: all experts first, the weights as stored before the formats. */
export function candidatesOf(
  model: ModelDescription,
  methods: readonly Method[],
  formats: readonly WeightFormatName[],
): Candidate[] {
  const reduced = expertTargets(model).flatMap((experts) => methods.map((method) => ({ experts, method })));
  return [{ experts: model.experts, method: undefined }, ...reduced].flatMap((candidate) =>
    [undefined, ...formats].map((format) => ({ ...candidate, format })),
  );
}

/** One word for each candidate, and the same for equal ones. */
export function candidateKey(candidate: Candidate): string {
  const { experts, method } = candidate;
  return `${experts} ${method ?? "all"} ${stepOf(candidate) ?? "as stored"}`;
}

/** What `--then` is for a candidate. */
function stepOf({ format, solver }: Candidate): string | undefined {
  return solver === undefined || format === undefined ? format : `${solver}:${format}`;
}

/** Options of `ream compress`; undefined for the model as it is. */
export function candidateOptions(candidate: Candidate): string | undefined {
  const { experts, method } = candidate;
  const step = stepOf(candidate);
  if (method === undefined && step === undefined) return undefined;
  const parts = [
    `--experts ${experts}`,
    ...(method === undefined ? [] : [`--method ${method}`]),
    ...(step === undefined ? [] : [`--then ${step}`]),
  ];
  return parts.join(" ");
}

/** The command that makes a candidate; calibration text and the folder of the output are the user's. */
export function candidateCommand(model: string, candidate: Candidate): string | undefined {
  const options = candidateOptions(candidate);
  if (options === undefined) return undefined;
  const name = /^[\w./@:+-]+$/.test(model) ? model : `'${model.replaceAll("'", "'\\''")}'`;
  return `ream compress ${name} ${options} --out DIR`;
}

export function isMethod(name: string): name is Method {
  return (METHOD_NAMES as readonly string[]).includes(name);
}
