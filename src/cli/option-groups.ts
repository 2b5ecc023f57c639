import { calibrationOptions } from "../calibration/options.js";
import { settingsSchema } from "../compress/settings.js";
import { compressOptions, computeOptions } from "../pipeline/options.js";
import type { OptionGroup } from "./schema-options.js";

const MAIN = ["experts", "out", "method", "observed", "dryRun", "plan", "restart"];
const CALIBRATION = [...Object.keys(calibrationOptions.shape), "calibrationTokens", "tolerance"];
const SETTINGS = Object.keys(settingsSchema.shape);
const ENGINE = Object.keys(computeOptions.shape);
const MEMORY = "memoryLimit";
const REFIT = [
  "guard",
  "reconstruct",
  "ridge",
  "reconstructTokens",
  "reconstructRandom",
  "reconstructEpochs",
  "reconstructExperts",
  "routerCalibration",
];
const STEPS = ["then", "parts", "activations", "damping", "activationOrder", "leastTokens"];
const rest = Object.keys(compressOptions.shape).filter(
  (key) => ![...MAIN, ...CALIBRATION, ...SETTINGS, ...ENGINE, ...REFIT, ...STEPS, MEMORY, "model"].includes(key),
);

/** How the help of `compress` is ordered. New options of the schema appear by themselves. */
export const COMPRESS_GROUPS: readonly OptionGroup[] = [
  { heading: "Main options:", keys: MAIN },
  { heading: "Layers judged and refitted on calibration text:", keys: REFIT },
  { heading: "Weights after the experts:", keys: STEPS },
  { heading: "Calibration:", keys: CALIBRATION },
  { heading: "Method settings (default: those of the method):", keys: SETTINGS },
  { heading: "Files:", keys: rest },
  { heading: "Engine:", keys: [...ENGINE, MEMORY] },
];

export const ENGINE_GROUP: OptionGroup = { heading: "Engine:", keys: ENGINE };
