import type { DType } from "../../checkpoint/tensor.js";
import type { LinearExperts, Part, Piece } from "../../compress/reconstruct/problem.js";
import type { Backend, ExpertTensors } from "../../engine/backend.js";
import type { MoeDescription } from "../../model/description.js";
import type { RoutedRows } from "../steps/routed-rows.js";
import { ExpertMatrices, type RefitPart, type StoreParts } from "./expert-matrices.js";
import type { LayerTargets } from "./layer-targets.js";
import { PieceCache } from "./piece-cache.js";
import { KEPT_BYTES } from "./refit-plan.js";

export interface RefitExpertsOptions {
  readonly backend: Backend;
  readonly moe: MoeDescription;
  /** The reduced layer's experts. */
  readonly experts: readonly ExpertTensors[];
  /** Which of them may change, by their slots. */
  readonly free: ReadonlySet<number>;
  /** Dtype of refitted weights; undefined: that of the expert's. */
  readonly dtype: DType | undefined;
  /** What refitted weights become where they are stored in another form (`ExpertMatrices`). */
  readonly store?: StoreParts;
  /** Bytes of what experts make of tokens that are kept, to be asked for again; default: KEPT_BYTES. */
  readonly keptBytes?: number;
  /** Where the tokens of both parts go. */
  readonly routed: Readonly<Record<Part, RoutedRows>>;
  readonly targets: LayerTargets;
  /** The block's inputs `[rows, hidden]`, in the order of the residuals. */
  readonly inputs: Float32Array;
}

/** One matrix of all experts of a layer as a problem of least squares. */
export abstract class RefitExperts implements LinearExperts {
  readonly count: number;
  readonly hidden: number;
  abstract readonly columns: number;
  readonly matrices: ExpertMatrices;
  private readonly cache: PieceCache;

  constructor(
    protected readonly options: RefitExpertsOptions,
    readonly part: RefitPart,
  ) {
    const { experts, moe, dtype, store } = options;
    this.count = experts.length;
    this.hidden = moe.experts.hidden;
    this.matrices = new ExpertMatrices(experts, part, dtype, store);
    this.cache = new PieceCache(options.keptBytes ?? KEPT_BYTES);
  }

  isFree = (expert: number): boolean => this.options.free.has(expert);

  weights(expert: number): Float32Array {
    return this.matrices.weights(expert);
  }

  start(expert: number): Float32Array {
    return this.matrices.start(expert);
  }

  replace(expert: number, weights: Float32Array): void {
    this.matrices.replace(expert, weights);
  }

  save(): (expert: number) => void {
    return this.matrices.save();
  }

  pieces(expert: number, part: Part): Generator<Piece> {
    return this.cache.take(`${part} ${expert}`, () => this.made(expert, this.options.routed[part]));
  }

  protected abstract made(expert: number, routed: RoutedRows): Iterable<Piece>;
}

/** Rows `[tokens, size]` with one more column of 1, for a bias. */
export function withOnes(values: Float32Array, size: number): Float32Array {
  const tokens = values.length / size;
  const result = new Float32Array(tokens * (size + 1)).fill(1);
  for (let i = 0; i < tokens; i++) result.set(values.subarray(i * size, (i + 1) * size), i * (size + 1));
  return result;
}
