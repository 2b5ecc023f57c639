import { join } from "node:path";
import type { DescribedCalibration } from "../calibration/calibration.js";
import { type MixShare, parseMix } from "../calibration/mix.js";
import { type LayerObservation, observationOf } from "../compress/observer.js";
import { needsSamples, TokenSamples } from "../compress/samples.js";
import type { Settings } from "../compress/settings.js";
import { addStatistics, emptyStatistics, type StatisticSums, wantedBy } from "../compress/statistics.js";
import { ReamError } from "../errors.js";
import type { OpenedModel } from "../pipeline/open-model.js";
import { modelIdentity } from "../pipeline/source-identity.js";
import { sha256 } from "../sha256.js";
import { sequencesOf, type Unit, unitsOf } from "./cuts.js";
import { type ObservationManifest, readManifest, unitPath } from "./manifest.js";
import { readSamples, readSums } from "./unit-file.js";

/** The part of a domain that a mix takes. */
interface DomainPart {
  readonly domain: string;
  /** Sequences of the mix. */
  readonly sequences: number;
  /** Units whose sums are added, and by what they are multiplied: 1 where they are exactly the mix's sequences. */
  readonly units: readonly Unit[];
  readonly factor: number;
}

/** What an observation knows of a mix. */
export interface ObservedMix {
  readonly parts: readonly DomainPart[];
  /** Whether the sums are those of a run on the mix; otherwise those of all text are weighted. */
  readonly exact: boolean;
  readonly notes: readonly string[];
  /** The text as a run on the mix would describe it. */
  readonly calibration: DescribedCalibration;
}

const ESTIMATED =
  "The observation has no cut at this mix, so that the sums of all its text are weighted: an estimate, not what a run on " +
  "the mix would give. Name the mix when observing (--mix) to have it exactly.";

/** A finished observation. */
export class Observation {
  private constructor(
    readonly folder: string,
    readonly manifest: ObservationManifest,
  ) {}

  /** Errors: OBSERVATION_MISSING, OBSERVATION_DAMAGED. */
  static async open(folder: string): Promise<Observation> {
    return new Observation(folder, await readManifest(folder));
  }

  /** SHA-256 of the manifest, which names everything that the sums depend on. */
  get identity(): string {
    return sha256(JSON.stringify(this.manifest));
  }

  /** Makes sure that a model is the one that was observed. Errors: OBSERVATION_MODEL. */
  async checkModel(opened: OpenedModel): Promise<void> {
    const { name, identity } = this.manifest.model;
    if ((await modelIdentity(opened)) === identity) return;
    throw new ReamError("OBSERVATION_MODEL", `the observation is of another model, or of other files: ${name}`, {
      where: this.folder,
      hint: "Give the model that was observed, or observe this one.",
    });
  }

  /**
   * What of each domain makes up a mix, as general=0.3,code=0.7; by default all domains in equal shares.
   * Errors: CALIBRATION_MIX, OBSERVATION_DOMAIN.
   */
  mix(text: string | undefined): ObservedMix {
    const { domains, calibration } = this.manifest;
    const shares = parseMix(text ?? Object.keys(domains).join(","));
    const counts = sequencesOf(shares, calibration.sequences);
    const parts = [...counts]
      .filter(([, sequences]) => sequences > 0)
      .map(([domain, sequences]): DomainPart => {
        const cuts = domains[domain]?.cuts;
        if (cuts === undefined) throw this.unknown(domain);
        const units = unitsOf(domain, cuts);
        const exact = cuts.includes(sequences);
        const within = exact ? units.filter(({ end }) => end <= sequences) : units;
        return { domain, sequences, units: within, factor: exact ? 1 : sequences / cuts.at(-1)! };
      });
    const exact = parts.every(({ factor }) => factor === 1);
    return { parts, exact, notes: exact ? [] : [ESTIMATED], calibration: this.describe(shares, parts) };
  }

  /** What a layer's plan is made from. Errors: OBSERVATION_STATISTICS, OBSERVATION_DAMAGED. */
  async layer(layer: number, mix: ObservedMix, settings: Settings): Promise<LayerObservation> {
    this.checkSettings(settings);
    const total = await this.sums(layer, mix);
    return observationOf(total, settings, needsSamples(settings) ? await this.samples(layer, mix) : undefined);
  }

  /** Sums of a mix's tokens in a layer. Errors: OBSERVATION_DAMAGED. */
  async sums(layer: number, mix: ObservedMix): Promise<StatisticSums> {
    const total = this.emptySums();
    const unitSums = this.emptySums();
    for (const { units, factor } of mix.parts) {
      for (const unit of units) {
        await readSums(join(this.folder, unitPath(unit, layer)), unitSums);
        addStatistics(total, unitSums, factor);
      }
    }
    return total;
  }

  /** Inputs sampled from the mix's sequences. */
  private async samples(layer: number, { parts }: ObservedMix): Promise<TokenSamples> {
    const inputs: Float32Array[] = [];
    for (const { domain, sequences } of parts) {
      for (const unit of unitsOf(domain, this.manifest.domains[domain]!.cuts)) {
        const count = Math.min(unit.end, sequences) - unit.begin;
        if (count > 0)
          inputs.push(await readSamples(join(this.folder, unitPath(unit, layer)), count, this.manifest.hidden));
      }
    }
    return TokenSamples.given(this.manifest.hidden, inputs);
  }

  private emptySums(): StatisticSums {
    const { limits, hidden, statistics } = this.manifest;
    const { experts } = limits;
    const sums = emptyStatistics(experts, 0, { ...statistics, activations: "none" });
    return statistics.activations === "none" ? sums : { ...sums, outputs: new Float64Array(experts * hidden) };
  }

  /** Refuses a method that needs what was not observed. */
  private checkSettings(settings: Settings): void {
    const { statistics, calibration } = this.manifest;
    const fail = (what: string, hint: string): never => {
      throw new ReamError("OBSERVATION_STATISTICS", what, { where: this.folder, hint });
    };
    if (settings.statistics === "batch-means") {
      fail(
        "means of batches do not add up over domains: a batch of a mix has sequences of several",
        "Use --statistics exact, or compress directly.",
      );
    }
    const wanted = wantedBy(settings);
    if (wanted.activations !== "none" && statistics.activations !== wanted.activations) {
      fail(
        `mean outputs of the kind "${wanted.activations}" were not observed`,
        `Observe again with --gated-outputs ${settings.gatedOutputs}.`,
      );
    }
    if (wanted.tokenCosines && !statistics.tokenCosines)
      fail("cosines token by token were not observed", "Observe again with --token-cosines.");
    if (wanted.gateGram && !statistics.gateGram)
      fail("router logits were not observed", "Observe again without --pruning-only.");
    if (needsSamples(settings) && calibration.samplesPerSequence === 0)
      fail("inputs of the experts were not sampled", "Observe again without --pruning-only.");
  }

  private describe(shares: readonly MixShare[], parts: readonly DomainPart[]): DescribedCalibration {
    const { domains, calibration } = this.manifest;
    const { length } = calibration;
    const described = parts.map(({ domain, sequences }) => {
      const { source, tokens, cuts } = domains[domain]!;
      const share = Math.round((tokens * sequences) / cuts.at(-1)!);
      return {
        name: domain,
        ratio: shares.find(({ name }) => name === domain)!.ratio,
        sequences,
        tokens: share,
        source,
      };
    });
    const digest = sha256(JSON.stringify([this.manifest, parts]));
    const sequences = parts.reduce((sum, part) => sum + part.sequences, 0);
    return { sequences, length, domains: described, digest, notes: [] };
  }

  private unknown(domain: string): ReamError {
    return new ReamError("OBSERVATION_DOMAIN", `the observation has no domain ${JSON.stringify(domain)}`, {
      where: this.folder,
      hint: `It has: ${Object.keys(this.manifest.domains).join(", ")}.`,
    });
  }
}
