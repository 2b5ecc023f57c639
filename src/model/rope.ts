import type { RotaryTable } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { ConfigReader } from "./config.js";

/** Angles of the rotary embedding, after any scaling of the context. */
export interface RopeDescription {
  /** Number of dimensions of a head that are rotated. */
  readonly rotary: number;
  readonly pairing: RotaryTable["pairing"];
  readonly theta: number;
  readonly scaling: RopeScaling;
}

export type RopeScaling =
  | { readonly kind: "default" }
  /** Only the fastest `angles` frequencies turn, the other dimensions stay as they are (Gemma 4). */
  | { readonly kind: "proportional"; readonly factor: number; readonly angles: number }
  | { readonly kind: "linear"; readonly factor: number }
  | { readonly kind: "dynamic"; readonly factor: number; readonly maxPositions: number }
  | {
      readonly kind: "yarn";
      readonly factor: number;
      readonly originalPositions: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** Round the correction range to whole dimensions. */
      readonly truncate: boolean;
      /** Factor on cos and sin. */
      readonly attentionFactor: number;
    }
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalPositions: number;
    }
  | {
      readonly kind: "longrope";
      readonly originalPositions: number;
      /** Of sequences of at most `originalPositions` tokens, and of longer ones. */
      readonly short: LongRopeFactors;
      readonly long: LongRopeFactors;
    };

export interface LongRopeFactors {
  /** `[rotary / 2]`: divisors of the frequencies. */
  readonly divisors: readonly number[];
  /** Factor on cos and sin. */
  readonly attentionFactor: number;
}

/**
 * A config for `readRope` whose `rope_parameters` are those of a type of layers, where they are told by types: a key of a
 * single embedding (`rope_theta`, `partial_rotary_factor`, `rope_scaling`) does not count then.
 */
export function ropeOfType(config: ConfigReader, type: string): ConfigReader {
  const own = config.object("rope_parameters")?.object(type);
  if (own === undefined) return config;
  const { rope_theta: _, partial_rotary_factor: __, rope_scaling: ___, ...others } = config.values;
  return new ConfigReader({ ...others, rope_parameters: own.values });
}

/**
 * Reads the rotary embedding of a config in either spelling: `rope_theta` and `rope_scaling` (hub files), or everything
 * under `rope_parameters`.
 */
export function readRope(
  config: ConfigReader,
  headSize: number,
  defaultTheta: number,
  {
    pairing = "halves",
    partial: usual = 1,
    whole = false,
  }: {
    pairing?: RotaryTable["pairing"];
    /** What an absent `partial_rotary_factor` means. */
    partial?: number;
    /** All dimensions are rotated: `partial_rotary_factor` is of larger heads. */
    whole?: boolean;
  } = {},
): RopeDescription {
  const parameters = config.object("rope_parameters");
  const scaling = parameters ?? config.object("rope_scaling");
  const theta = parameters?.has("rope_theta")
    ? parameters.number("rope_theta")
    : config.number("rope_theta", defaultTheta);
  const partial = (parameters?.has("partial_rotary_factor") ? parameters : config).number(
    "partial_rotary_factor",
    usual,
  );
  // "proportional" turns the same share of a head, with the frequencies that the whole head would have.
  const proportional = scaling?.values.rope_type === "proportional";
  const rotary = whole || proportional ? headSize : Math.floor(headSize * partial);
  const angles = Math.floor((headSize * partial) / 2);
  const description = { rotary, pairing, theta, scaling: readScaling(scaling, config, rotary, angles) };
  const factor = "factor" in description.scaling ? description.scaling.factor : 1;
  if (rotary % 2 === 0 && rotary >= 2 && rotary <= headSize && theta > 1 && factor > 0) return description;
  const what = `theta ${theta}, factor ${factor} and ${rotary} rotated of ${headSize} dimensions`;
  throw new ReamError("CONFIG_VALUE", `${what} make no rotary embedding`, {
    where: "config.json",
    hint: "Compare rope_theta, rope_scaling and partial_rotary_factor with the ones on the model's page.",
  });
}

function readScaling(
  scaling: ConfigReader | undefined,
  config: ConfigReader,
  rotary: number,
  angles: number,
): RopeScaling {
  if (scaling === undefined) return { kind: "default" };
  const kind = scaling.has("rope_type") ? scaling.string("rope_type") : scaling.string("type", "default");
  const maxPositions = config.count("max_position_embeddings");
  const key = "original_max_position_embeddings";
  // Beside the scaling (Phi-3) it counts more than inside, as in transformers.
  const originalPositions = config.has(key) ? config.count(key) : scaling.count(key, maxPositions);
  switch (kind) {
    case "default":
    case "mrope":
      // mrope_section and mrope_interleaved deal dimensions out to time, height and width, which are equal in text.
      return { kind: "default" };
    case "proportional":
      return { kind, factor: scaling.number("factor", 1), angles };
    case "linear":
      return { kind, factor: scaling.number("factor") };
    case "dynamic":
      return { kind, factor: scaling.number("factor"), maxPositions };
    case "yarn":
      return readYarn(scaling, maxPositions, originalPositions);
    case "llama3":
      return {
        kind,
        factor: scaling.number("factor"),
        lowFrequencyFactor: scaling.number("low_freq_factor"),
        highFrequencyFactor: scaling.number("high_freq_factor"),
        originalPositions,
      };
    case "longrope":
      return readLongRope(scaling, maxPositions, originalPositions, rotary);
    default:
      throw new ReamError("ROPE_UNSUPPORTED", `rotary embedding of type ${JSON.stringify(kind)} is not supported`, {
        where: "config.json rope_scaling",
        hint: "Supported: default, proportional, linear, dynamic, yarn, llama3, longrope.",
      });
  }
}

/** YaRN (Peng et al. 2023), with the conventions of transformers for the factor on cos and sin. */
function readYarn(scaling: ConfigReader, maxPositions: number, originalPositions: number): RopeScaling {
  const factor = scaling.number("factor", maxPositions / originalPositions);
  const growth = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const [mscale, mscaleAll] = [scaling.number("mscale", 0), scaling.number("mscale_all_dim", 0)];
  const inferred = mscale !== 0 && mscaleAll !== 0 ? growth(mscale) / growth(mscaleAll) : growth(1);
  return {
    kind: "yarn",
    factor,
    originalPositions,
    // 0 means the default, as if it were absent.
    betaFast: scaling.number("beta_fast", 32) || 32,
    betaSlow: scaling.number("beta_slow", 1) || 1,
    truncate: scaling.boolean("truncate", true),
    attentionFactor: scaling.number("attention_factor", inferred),
  };
}

/**
 * LongRoPE (Ding et al. 2024) as Phi-3 has it: every frequency has its own divisor. The factor on cos and sin is given for
 * both lengths (Phi-3.5-MoE), or for all, or follows from how much longer the context became.
 */
function readLongRope(
  scaling: ConfigReader,
  maxPositions: number,
  originalPositions: number,
  rotary: number,
): RopeScaling {
  const factor = scaling.number("factor", maxPositions / originalPositions);
  const inferred = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalPositions));
  const common = scaling.number("attention_factor", inferred);
  const read = (length: "short" | "long"): LongRopeFactors => {
    const divisors = scaling.numbers(`${length}_factor`);
    if (divisors.length === rotary / 2 && divisors.every((divisor) => divisor > 0)) {
      return { divisors, attentionFactor: scaling.number(`${length}_mscale`, common) };
    }
    throw new ReamError("CONFIG_VALUE", `${length}_factor is no list of ${rotary / 2} positive numbers`, {
      where: "config.json rope_scaling",
      hint: "Compare the file with the one on the model's page; it may be damaged or of another family.",
    });
  };
  return { kind: "longrope", originalPositions, short: read("short"), long: read("long") };
}

let lastTable: { readonly key: string; readonly table: ReturnType<typeof makeTable> } | undefined;

/** cos and sin `[length, rotary / 2]` of positions 0 .. length - 1. The last one is kept: layers and batches share it. */
export function ropeTable(rope: RopeDescription, length: number): RotaryTable {
  const key = JSON.stringify([rope, length]);
  if (lastTable?.key !== key) lastTable = { key, table: makeTable(rope, length) };
  return lastTable.table;
}

function makeTable(rope: RopeDescription, length: number): RotaryTable {
  const { frequencies, factor } = scaledFrequencies(rope, length);
  const half = frequencies.length;
  const cos = new Float32Array(length * half);
  const sin = new Float32Array(length * half);
  for (let position = 0; position < length; position++) {
    for (let i = 0; i < half; i++) {
      // Products in float32, as the reference implementations do: at large angles the rounding is visible.
      const angle = Math.fround(position * Math.fround(frequencies[i]!));
      cos[position * half + i] = Math.cos(angle) * factor;
      sin[position * half + i] = Math.sin(angle) * factor;
    }
  }
  return { length, cos, sin, pairing: rope.pairing };
}

function scaledFrequencies(rope: RopeDescription, length: number): { frequencies: number[]; factor: number } {
  const { rotary, scaling } = rope;
  const plain = (theta: number) => Array.from({ length: rotary / 2 }, (_, i) => theta ** ((-2 * i) / rotary));
  switch (scaling.kind) {
    case "default":
      return { frequencies: plain(rope.theta), factor: 1 };
    case "proportional":
      return {
        frequencies: plain(rope.theta).map((f, i) => (i < scaling.angles ? f / scaling.factor : 0)),
        factor: 1,
      };
    case "linear":
      return { frequencies: plain(rope.theta).map((f) => f / scaling.factor), factor: 1 };
    case "dynamic": {
      const stretch = (scaling.factor * Math.max(length, scaling.maxPositions)) / scaling.maxPositions;
      return {
        frequencies: plain(rope.theta * (stretch - (scaling.factor - 1)) ** (rotary / (rotary - 2))),
        factor: 1,
      };
    }
    case "yarn": {
      const [low, high] = yarnRange(rope, scaling);
      const frequencies = plain(rope.theta).map((frequency, i) => {
        const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
        return (frequency / scaling.factor) * ramp + frequency * (1 - ramp);
      });
      return { frequencies, factor: scaling.attentionFactor };
    }
    case "llama3":
      return { frequencies: plain(rope.theta).map((f) => llama3Frequency(f, scaling)), factor: 1 };
    case "longrope": {
      // transformers' Phi-3.5-MoE (phimoe) keeps the short divisors at any length; the model's own code does not.
      const { divisors, attentionFactor } = length > scaling.originalPositions ? scaling.long : scaling.short;
      return { frequencies: plain(rope.theta).map((f, i) => f / divisors[i]!), factor: attentionFactor };
    }
  }
}

/** Dimensions between which YaRN blends: those that turn betaFast and betaSlow times over the original context. */
function yarnRange(rope: RopeDescription, scaling: RopeScaling & { kind: "yarn" }): [number, number] {
  const dimension = (turns: number) =>
    (rope.rotary * Math.log(scaling.originalPositions / (turns * 2 * Math.PI))) / (2 * Math.log(rope.theta));
  let [low, high] = [dimension(scaling.betaFast), dimension(scaling.betaSlow)];
  if (scaling.truncate) [low, high] = [Math.floor(low), Math.ceil(high)];
  low = Math.max(low, 0);
  high = Math.min(high, rope.rotary - 1);
  return [low, high === low ? high + 0.001 : high];
}

/** Llama 3: long wavelengths are divided by the factor, short ones kept, those between interpolated. */
function llama3Frequency(frequency: number, scaling: RopeScaling & { kind: "llama3" }): number {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalPositions } = scaling;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength > originalPositions / low) return frequency / factor;
  if (wavelength < originalPositions / high) return frequency;
  const smooth = (originalPositions / wavelength - low) / (high - low);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}
