import type { CompressOptions } from "../../src/pipeline/options.js";

/** A way to make the model smaller, and what it is for the eye: the colour of its point. */
export interface Candidate {
  readonly name: string;
  readonly kind: "merge" | "prune experts" | "prune weights" | "quantise" | "reduce, then quantise";
  readonly options: Pick<CompressOptions, "method" | "experts" | "then">;
}

const MERGES = ["ream", "hc-smoe", "m-smoe"] as const;
const PRUNERS = ["reap", "frequency"] as const;
const SPARSIFIERS = ["magnitude", "wanda", "sparsegpt"] as const;

function reduced(experts: number): Candidate[] {
  return [
    ...MERGES.map((method) => ({ name: `${method} ${experts}`, kind: "merge" as const, options: { method, experts } })),
    ...PRUNERS.map((method) => ({
      ...{ name: `${method} ${experts}`, kind: "prune experts" as const },
      options: { method, experts },
    })),
  ];
}

/** @param share of the experts' weights that becomes zero; their sparse form then has the size of the band */
function sparse(share: number): Candidate[] {
  return SPARSIFIERS.map((pruner) => ({
    ...{ name: `${pruner} ${100 * share}%`, kind: "prune weights" as const },
    options: { then: [`${pruner}:${share}`] },
  }));
}

function quantised(...steps: string[]): Candidate[] {
  return steps.map((step) => ({ name: step, kind: "quantise" as const, options: { then: [step] } }));
}

function both(method: "ream" | "reap", experts: number, step: string): Candidate {
  return {
    ...{ name: `${method} ${experts} + ${step}`, kind: "reduce, then quantise" },
    options: { method, experts, then: [step] },
  };
}

/**
 * What is compared, in bands of about equal bytes: 48 of 64 experts; half of the model; less than that. With a mask of one
 * bit a weight, bfloat16 weights of which a share s is zero take (1 - s) + 1/16 of their bytes: 5/16 and 9/16 are as
 * small as 48 and 32 experts. Groups of 32 or 128 do not divide the model's 48 columns, so that 4 bits have a scale a row.
 */
export const CANDIDATES: readonly Candidate[] = [
  ...reduced(48),
  ...sparse(5 / 16),
  ...reduced(32),
  ...sparse(9 / 16),
  { name: "wanda 2:4", kind: "prune weights", options: { then: ["wanda:2:4"] } },
  { name: "sparsegpt 2:4", kind: "prune weights", options: { then: ["sparsegpt:2:4"] } },
  ...quantised("int8", "fp8", "gptq:int8"),
  both("ream", 48, "int8"),
  both("reap", 48, "int8"),
  ...reduced(16).filter(({ name }) => /^(ream|reap|frequency) /.test(name)),
  ...quantised("int4-channel", "gptq:int4-channel", "nvfp4"),
  both("ream", 32, "int8"),
  both("reap", 32, "int8"),
  both("ream", 48, "int4-channel"),
  both("reap", 48, "int4-channel"),
  both("ream", 48, "gptq:int4-channel"),
  both("reap", 48, "gptq:int4-channel"),
];
