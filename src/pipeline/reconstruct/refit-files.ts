import { convert } from "../../checkpoint/convert.js";
import type { ShardTensor } from "../../checkpoint/shard-writer.js";
import type { Tensor } from "../../checkpoint/tensor.js";
import type { RefitErrors } from "../../compress/reconstruct/residuals.js";
import type { Share } from "../../compress/steps/step-error.js";
import type { ExpertTensors } from "../../engine/backend.js";
import type { StoredExpert } from "../../model/expert-coding.js";
import type { ExpertPart } from "../../model/expert-storage.js";
import { FinishedLayers } from "../layer-files.js";
import { partNames, type RefitPart } from "./expert-matrices.js";

/** A refit of one matrix of all experts by least squares that is kept. */
interface LeastSquaresRound {
  readonly part: RefitPart;
  readonly ridge: number;
  readonly sweeps: number;
  /** What is lost of held-out outputs after it. */
  readonly heldOut: Share;
}

/** A refit of all matrices of some experts by descent that is kept. */
interface DescentRound {
  readonly part: "all";
  /** How many they are. */
  readonly experts: number;
  readonly rate: number;
  readonly epochs: number;
  readonly heldOut: Share;
}

/** Refitted experts in the form of a quantised source again, or with gates and up projections after the steps of `--then`. */
interface StoredRound {
  readonly part: "stored" | "then";
  readonly experts: number;
  readonly heldOut: Share;
}

export type RefitRound = LeastSquaresRound | DescentRound | StoredRound;

/** What a refit did to a layer. */
export interface LayerRefit {
  readonly layer: number;
  /** Whether its experts have other weights now. */
  readonly kept: boolean;
  /** Whether they are kept in the form of a quantised source. */
  readonly stored?: boolean;
  /** Absent where nothing was to be made up for: every expert is as it was. */
  readonly fit?: {
    readonly rounds: readonly RefitRound[];
    readonly tokens: { readonly fitted: number; readonly heldOut: number };
    readonly before: RefitErrors;
    readonly after: RefitErrors;
  };
}

/** The refitted matrices of finished layers, kept on the disk until the output is written. */
export class RefitFiles extends FinishedLayers<LayerRefit> {
  /** Keeps a layer. @param experts the layer's, with what was refitted */
  async write(refit: LayerRefit, experts: readonly ExpertTensors[]): Promise<void> {
    if (refit.kept) {
      const tensors = experts.flatMap((expert, slot) =>
        namesOf(refit, expert).map((name) => written(slot, name, expert[name]!)),
      );
      await this.files.write(refit.layer, tensors);
    }
    await this.files.finish(refit);
  }

  /** Keeps a layer in the form of a quantised source. @param experts those that were refitted, by their slots */
  async writeStored(refit: LayerRefit, experts: ReadonlyMap<number, StoredExpert>): Promise<void> {
    const tensors = [...experts].flatMap(([slot, stored]) =>
      [...stored].map(([part, tensor]) => written(slot, part, tensor)),
    );
    if (refit.kept) await this.files.write(refit.layer, tensors);
    await this.files.finish(refit.kept ? { ...refit, stored: true } : refit);
  }

  /** The expert of a slot of a finished layer in the form of a quantised source; undefined: it is as it was. */
  async stored(layer: number, slot: number): Promise<StoredExpert | undefined> {
    if ((await this.report(layer)).stored !== true) return undefined;
    const file = await this.files.tensors(layer);
    const prefix = `${slot}.`;
    const names = [...file.tensors.keys()].filter((name) => name.startsWith(prefix));
    const read = names.map(async (name) => [name.slice(prefix.length), await file.read(name)] as const);
    return names.length === 0 ? undefined : new Map(await Promise.all(read));
  }

  /** The matrices of a finished layer's experts that are others now. */
  async parts(layer: number): Promise<ReadonlySet<ExpertPart>> {
    return new Set(refittedParts(await this.report(layer)));
  }

  /** The expert of a slot with what was refitted, but in the form of a quantised source (`stored`). */
  async expert(layer: number, slot: number, reduced: ExpertTensors): Promise<ExpertTensors> {
    const refit = await this.report(layer);
    const names = refit.stored === true ? [] : namesOf(refit, reduced);
    if (names.length === 0) return reduced;
    const file = await this.files.tensors(layer);
    const read = await Promise.all(names.map(async (name) => [name, await file.read(`${slot}.${name}`)] as const));
    return inOneDtype({ ...reduced, ...Object.fromEntries(read) });
  }
}

/** A tensor of an expert as a layer's file has it. */
function written(slot: number, part: string, { dtype, shape, data }: Tensor): ShardTensor {
  return { name: `${slot}.${part}`, dtype, shape, data: async () => data };
}

/** Some checkpoints hold gate and up in one tensor, which has one dtype. */
function inOneDtype(expert: ExpertTensors): ExpertTensors {
  const { gate, gateBias, up, upBias } = expert;
  return {
    ...expert,
    ...(gate && { gate: convert(gate, up.dtype) }),
    ...(gateBias && { gateBias: convert(gateBias, upBias?.dtype) }),
  };
}

function refittedParts({ fit }: LayerRefit): ExpertPart[] {
  const parts = fit?.rounds.flatMap(({ part }): ExpertPart[] =>
    part === "all" ? ["gate", "up", "down"] : part === "stored" || part === "then" ? [] : [part],
  );
  return [...new Set(parts)].sort();
}

/** The tensors of an expert that are refitted. */
function namesOf(refit: LayerRefit, expert: ExpertTensors) {
  return refittedParts(refit)
    .flatMap((part): readonly (keyof ExpertTensors)[] => (part === "gate" ? [part] : partNames(part)))
    .filter((name) => expert[name] !== undefined);
}
