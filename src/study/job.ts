import type { Method } from "../compress/settings.js";
import { sha256 } from "../sha256.js";
import type { MethodOptions } from "./study-file.js";

/** The text that jobs calibrate on. */
export interface StudyText {
  readonly domains: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, string>>;
  readonly sequences: number;
  readonly length: number;
  readonly seed: number;
}

/** How jobs judge a model. */
export interface StudyJudging {
  readonly tasks: readonly string[];
  readonly data: readonly string[];
  readonly limit: number | undefined;
  readonly heldOut: Readonly<Record<string, string>>;
  readonly heldOutSequences: number;
  readonly length: number;
}

/** How jobs compute. */
export interface StudyEngine {
  readonly backend: "auto" | "native" | "reference";
  readonly precision: "auto" | "bf16" | "f32";
  readonly threads: number | undefined;
}

interface Common {
  readonly model: string;
  /** Digest of the model's files. */
  readonly identity: string;
  readonly engine: StudyEngine;
}

/** A piece of a study's work. Everything that its result depends on is in it, and nothing else. */
export type JobSpec =
  | (Common & { readonly kind: "original"; readonly judging: StudyJudging })
  | (Common & { readonly kind: "observe"; readonly text: StudyText; readonly mixes: readonly string[] })
  | (Common & {
      /** `predict`: held-out text alone. */
      readonly kind: "compress" | "predict";
      readonly text: StudyText;
      readonly judging: StudyJudging;
      /** Name in tables. */
      readonly name: string;
      readonly method: Method;
      readonly settings: MethodOptions;
      readonly experts: number;
      readonly mix: string;
      /** The job whose observation is planned from; undefined: the text is run. */
      readonly observed: string | undefined;
      readonly keepModel: boolean;
    });

export interface Job {
  /** Follows from the spec: equal work has equal ids. */
  readonly id: string;
  /** For people. */
  readonly label: string;
  readonly spec: JobSpec;
  /** Jobs that have to be done before. */
  readonly needs: readonly string[];
}

export function makeJob(spec: JobSpec): Job {
  // The number of threads changes no number, and what is kept of the model neither.
  const { threads: _, ...engine } = spec.engine;
  const content = { ...spec, engine, ...("keepModel" in spec && { keepModel: undefined }) };
  const id = sha256(JSON.stringify(content)).slice(0, 16);
  const needs = "observed" in spec && spec.observed !== undefined ? [spec.observed] : [];
  return { id, label: labelOf(spec), spec, needs };
}

function labelOf(spec: JobSpec): string {
  switch (spec.kind) {
    case "original":
      return "original";
    case "observe":
      return "observation";
    case "compress":
      return `${spec.name} ${spec.experts} ${spec.mix}`;
    case "predict":
      return `${spec.name} ${spec.experts} ${spec.mix} (held-out text)`;
  }
}
