import { checkRoom } from "../compress/group.js";
import { METHODS } from "../compress/settings.js";
import { ReamError } from "../errors.js";
import { parseMemorySize, parsePart } from "../memory-size.js";
import { quantisationOf, storedNumbers } from "../model/quantisation.js";
import { openBackend } from "../pipeline/open-backend.js";
import { type OpenedModel, type OpenModelContext, openModel } from "../pipeline/open-model.js";
import { parseOptions } from "../pipeline/parse-options.js";
import { prepareModel } from "../pipeline/prediction-layers.js";
import { resolveCompress } from "../pipeline/resolve-options.js";
import type { Advice, Option, Quality } from "./advice.js";
import { type CacheSize, sequenceCache } from "./cache.js";
import { type Candidate, candidateCommand, candidateKey, candidateOptions, candidatesOf } from "./candidates.js";
import { formatsOf } from "./formats.js";
import type { Measurement } from "./measurement.js";
import { type AdviseOptions, adviseOptions, type ResolvedAdviseOptions } from "./options.js";
import { Predictor } from "./predict.js";
import { rankOptions } from "./rank.js";
import { type Measured, readMeasured } from "./read-measured.js";
import { predictDivergence, type Relations, relationsOf } from "./relations.js";
import { CheckpointSizes } from "./sizes.js";

export interface AdviseContext extends OpenModelContext {
  /** Told what a person should know at once, as that the native core is missing. */
  readonly note?: (message: string) => void;
}

/**
 * Which ways of shrinking a model fit a memory: every number of experts, method and weight format, with its exact size, and
 * with what is known of its quality, measured or predicted.
 * Errors: OPTION_MISSING, OPTION_INVALID, and those of models, results and observations.
 */
export async function advise(input: AdviseOptions, context: AdviseContext = {}): Promise<Advice> {
  const options = parseOptions(adviseOptions, input);
  if (options.fit === undefined) {
    throw new ReamError("OPTION_MISSING", "the memory to fit was not given", { hint: "Give --fit, as 24GB or 16GiB." });
  }
  const fit = parseMemorySize(options.fit, "--fit");
  const allowance = parsePart(options.allowance, fit, "--allowance");
  const opened = await openModel(options.model, context);
  try {
    return await weigh(opened, options, { fit, allowance }, context);
  } finally {
    await opened.checkpoint.close();
  }
}

async function weigh(
  opened: OpenedModel,
  options: ResolvedAdviseOptions,
  { fit, allowance }: { readonly fit: number; readonly allowance: number },
  { note = () => undefined, signal }: AdviseContext,
): Promise<Advice> {
  const { checkpoint, model, name } = opened;
  const { context, sequences } = options;
  const { usable: formats, refused } = formatsOf(model);
  const measured = await readMeasured(options.results, opened, [...formats.keys()]);
  const candidates = withMeasured(
    candidatesOf(model, options.method, [...formats.keys()]).filter(({ experts, method }) =>
      hasRoom(model.experts, experts, method),
    ),
    measured.measurements,
  );
  const backend = openBackend(options, opened, note);
  const predictor = await Predictor.create(opened, candidates, formats, backend, options, signal);
  const relations = await relationsOf(measured.measurements, predictor);

  const infos = [...checkpoint.tensors.values()];
  const parameters = infos.reduce((sum, info) => sum + storedNumbers(info, quantisationOf(checkpoint)), 0);
  const prepared = await prepareModel(resolveCompress({ model: name }), opened);
  const sizes = new CheckpointSizes(checkpoint, prepared.model);
  const cache = times(sequenceCache(model, context), sequences);
  const weighed: Option[] = [];
  for (const candidate of candidates) {
    const format = candidate.format === undefined ? undefined : formats.get(candidate.format);
    const { bytes, plain } = sizes.of(candidate.experts, format);
    const memory = bytes + cache.keysAndValues + cache.states + allowance;
    for (const { quality, variant } of await qualities(candidate, measured, predictor, relations.fitted)) {
      weighed.push({
        ...{ candidate, variant, bytes, memory, plain, quality },
        options: candidateOptions(candidate),
        command: candidateCommand(name, candidate),
        bitsPerWeight: (8 * bytes) / parameters,
        fits: memory <= fit,
        left: fit - memory,
      });
    }
  }
  return {
    ...{ model: name, family: model.family, parameters, experts: model.experts },
    bytes: infos.reduce((sum, info) => sum + info.bytes, 0),
    ...{ fit, context, sequences, cache, allowance, refused },
    options: rankOptions(weighed),
    notes: [
      ...(context > model.maxPositions
        ? [`the model was made for ${model.maxPositions} tokens, not for ${context}.`]
        : []),
      ...prepared.notes,
      ...measured.notes,
      ...predictor.notes,
      ...relations.notes,
      ...taskNotes(weighed),
    ],
  };
}

/** Whether the groups of a method have room for the experts that are merged. */
function hasRoom(experts: number, kept: number, method: Candidate["method"]): boolean {
  if (method === undefined) return true;
  try {
    checkRoom(experts, kept, METHODS[method].settings);
    return true;
  } catch (error) {
    if (error instanceof ReamError) return false;
    throw error;
  }
}

/** The candidates with those that were measured and are not among them. */
function withMeasured(candidates: readonly Candidate[], measurements: readonly Measurement[]): Candidate[] {
  const all = [...candidates, ...measurements.map(({ candidate }) => candidate)];
  return [...new Map(all.map((candidate) => [candidateKey(candidate), candidate])).values()];
}

function times({ keysAndValues, states }: CacheSize, sequences: number): CacheSize {
  return { keysAndValues: sequences * keysAndValues, states: sequences * states };
}

/** What is known of a candidate: each of its measurements, or one prediction where there is none. */
async function qualities(
  candidate: Candidate,
  { measurements }: Measured,
  predictor: Predictor,
  relations: Relations,
): Promise<{ readonly quality: Quality; readonly variant: string }[]> {
  const own = measurements.filter((one) => candidateKey(one.candidate) === candidateKey(candidate));
  if (candidate.method === undefined && candidate.format === undefined) {
    const scored = own.find(({ avg }) => avg !== undefined) ?? own[0];
    return [{ variant: "", quality: { kind: "original", scores: scored && scoresOf(scored), from: scored?.from } }];
  }
  const loss = await predictor.of(candidate);
  if (own.length > 0) {
    return own.map((one) => ({
      variant: one.variant,
      quality: { kind: "measured", scores: scoresOf(one), from: one.from, loss },
    }));
  }
  return [
    { variant: "", quality: { kind: "predicted", loss, divergence: predictDivergence(relations, candidate, loss) } },
  ];
}

function scoresOf({ mc, gen, avg, kl, tasks, domains }: Measurement) {
  return { mc, gen, avg, kl, tasks, domains };
}

/** Averages are of the tasks that were asked. */
function taskNotes(options: readonly Option[]): string[] {
  const scores = options.flatMap(({ quality }) => (quality.kind === "measured" ? [quality.scores] : []));
  const different = (values: readonly string[]) => new Set(values).size > 1;
  return [
    ...(different(scores.filter(({ avg }) => avg !== undefined).map(({ tasks }) => tasks))
      ? ["Measured options were asked different tasks: only averages of the same tasks can be compared (see --json)."]
      : []),
    ...(different(scores.filter(({ kl }) => kl !== undefined).map(({ domains }) => domains))
      ? ["KL was measured on different held-out text (see --json)."]
      : []),
  ];
}
