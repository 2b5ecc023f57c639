import { checkExperts, type ExpertLimits } from "../pipeline/check-experts.js";
import { type Job, type JobSpec, makeJob, type StudyJudging } from "./job.js";
import type { Study } from "./study-file.js";

type CompressSpec = Extract<JobSpec, { kind: "compress" | "predict" }>;

/** All jobs of a study in the order in which they are done: the original first, observations before what needs them. */
export interface StudyJobs {
  readonly limits: ExpertLimits;
  readonly original: Job;
  readonly observations: readonly Job[];
  /** One for each method, number of experts, mix and seed. */
  readonly compressions: readonly Job[];
}

/** @param identity digest of the model's files. Errors: EXPERTS_RANGE. */
export function expandStudy(study: Study, identity: string, limits: ExpertLimits): StudyJobs {
  for (const experts of study.experts) checkExperts(experts, limits);
  const { backend, precision, threads, model } = study;
  const common = { model, identity, engine: { backend, precision, threads } };
  const { tasks, data, limit, heldOut, heldOutSequences, length } = study;
  const judging: StudyJudging = { tasks, data, limit, heldOut, heldOutSequences, length };
  const observations: Job[] = [];
  const compressions: Job[] = [];
  for (const seed of study.seeds) {
    const { domains, fields, sequences } = study;
    const text = { domains, fields, sequences, length, seed };
    const observation = makeJob({ ...common, kind: "observe", text, mixes: study.mixes });
    if (study.observed) observations.push(observation);
    for (const experts of study.experts) {
      for (const mix of study.mixes) {
        for (const { name, method, settings } of study.methods) {
          const spec: CompressSpec = {
            ...common,
            kind: "compress",
            ...{ text, judging, name, method, settings, experts, mix, keepModel: study.keepModels },
            observed: study.observed ? observation.id : undefined,
          };
          compressions.push(makeJob(spec));
        }
      }
    }
  }
  return { limits, original: makeJob({ ...common, kind: "original", judging }), observations, compressions };
}

/** The job that only measures a compression on held-out text. */
export function predictionOf({ spec }: Job): Job {
  if (spec.kind !== "compress") throw new TypeError(`a job of kind ${spec.kind} is no compression`);
  return makeJob({ ...spec, kind: "predict", judging: { ...spec.judging, tasks: [], data: [], limit: undefined } });
}
