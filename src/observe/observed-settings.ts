import {
  METHODS,
  type Method,
  pickSettings,
  resolveSettings,
  type Settings,
  sampledTokens,
} from "../compress/settings.js";
import { ReamError } from "../errors.js";

/** A method's settings for an observation of the original model: exact sums, and nothing is sequential. */
export function observedSettings(method: Method, options: Parameters<typeof pickSettings>[0]): Settings {
  const changes = pickSettings(options);
  if (changes.sequential === true) {
    throw new ReamError("SETTINGS_CONFLICT", "an observation is of the original model, so that no plan is sequential", {
      where: "--sequential",
      hint: "Leave --observed out: a sequential run observes each layer behind the merged ones.",
    });
  }
  if (changes.statistics !== undefined && sampledTokens({ statistics: changes.statistics }) !== undefined) {
    throw new ReamError("SETTINGS_CONFLICT", "an observation holds the mean outputs of all its tokens already", {
      where: "--statistics",
      hint: "Leave --observed out, or --statistics.",
    });
  }
  if ((changes.criterion ?? "saliency") !== "saliency") {
    throw new ReamError("SETTINGS_CONFLICT", "an observation holds sums over tokens, not the tokens to measure on", {
      where: "--criterion",
      hint: "Leave --observed out, or choose experts by their saliency (--saliency).",
    });
  }
  if (changes.routing === "softmax") {
    throw new ReamError(
      "SETTINGS_CONFLICT",
      "an observation counts tokens for the experts that the model routes them to",
      {
        where: "--routing",
        hint: "Leave --observed out, or --routing.",
      },
    );
  }
  return resolveSettings(method, {
    ...{ routing: "model", statistics: "exact" },
    ...changes,
    sequential: false,
  });
}

/** What a person should know where a method is not what it is without an observation. */
export function observedNotes(method: Method, statistics: Settings["statistics"] | undefined): string[] {
  const { settings } = METHODS[method];
  const notes: string[] = [];
  if (settings.statistics === "batch-means" && statistics === undefined)
    notes.push(
      `${method} is computed from exact sums here (--statistics exact), not from means of batches as by default.`,
    );
  if (settings.routing !== "model")
    notes.push(
      `Where the router takes no plain top k of a softmax, tokens count for the experts that the model uses (--routing model).`,
    );
  return notes;
}
