import { checkRoom } from "../compress/group.js";
import { Observation } from "../observe/observation.js";
import { observedNotes, observedSettings } from "../observe/observed-settings.js";
import type { ObservedPlanning } from "../observe/plan-observed.js";
import { checkExperts, expertLimits } from "./check-experts.js";
import type { ManifestInputs } from "./manifest.js";
import { openBackend } from "./open-backend.js";
import type { OpenedModel } from "./open-model.js";
import type { ResolvedCompressOptions } from "./options.js";
import { refuseObservation } from "./refuse-source.js";

/** What a compression from an observation is made from. */
export interface ObservedWork {
  readonly planning: ObservedPlanning;
  readonly observed: NonNullable<ManifestInputs["observed"]>;
  readonly notes: readonly string[];
}

/** Opens an observation for a compression, and checks that it is of the model and has what the method needs. */
export async function prepareObserved(
  options: ResolvedCompressOptions,
  folder: string,
  opened: OpenedModel,
): Promise<ObservedWork> {
  const { model } = opened;
  refuseObservation(opened);
  const settings = observedSettings(options.method, options);
  const observation = await Observation.open(folder);
  const kept = checkExperts(options.experts, expertLimits(model));
  checkRoom(model.experts, kept, settings);
  await observation.checkModel(opened);
  const mix = observation.mix(options.mix);
  const notes = [...observedNotes(options.method, options.statistics), ...mix.notes];
  const { engine, calibration } = observation.manifest;
  const backend = openBackend({ ...options, precision: engine.precision }, opened, (note) => notes.push(note));
  return {
    planning: { observation, mix, settings, kept, weights: { opened, backend } },
    observed: {
      ...{ settings, calibration: mix.calibration, seed: calibration.seed, backend },
      observation: observation.identity,
    },
    notes,
  };
}
