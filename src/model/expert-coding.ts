import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { convert } from "../checkpoint/convert.js";
import { decode, decodeIntegers, encode } from "../checkpoint/dtypes.js";
import { quote } from "../checkpoint/json-scanner.js";
import type { QuantisedWeight } from "../checkpoint/quantised/weight-format.js";
import type { DType, Tensor, TensorInfo } from "../checkpoint/tensor.js";
import type { Backend, ExpertTensors } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { EXPERT_PARTS, type ExpertPart, type ExpertStorage, expertShape, isSeparate } from "./expert-storage.js";
import { OTHER_PARTS, quantisationOf } from "./quantisation.js";
import { storedAs } from "./read-weight.js";
import { type StoredWeight, scaleDtype } from "./weight-parts.js";

/** A routed expert as a quantised checkpoint stores it: its tensors by a name of their own, as `gate.weight_packed`. */
export type StoredExpert = ReadonlyMap<string, Tensor>;

/** A tensor of the compressed checkpoint that holds quantised experts; as `ExpertOutput`. */
export interface StoredOutput {
  readonly name: string;
  /** The source's tensor of the same kind: dtype and file are its. */
  readonly source: TensorInfo;
  readonly shape: readonly number[];
  readonly slots: readonly number[];
  /** The one of a stored expert's tensors that it holds. */
  readonly part: string;
}

/** How the routed experts of a layer are quantised. What is only read and written again keeps its bytes. */
export interface ExpertCoding {
  /** An expert's tensors, byte for byte. */
  read(checkpoint: Checkpoint, expert: number): Promise<StoredExpert>;
  /** The values of an expert, those that `ExpertStorage.read` gives. */
  decode(stored: StoredExpert, backend: Backend): ExpertTensors;
  /**
   * An expert rounded to the form that the layer's have. `members`: those that it was made of, whose measured ranges of
   * inputs are joined.
   */
  encode(backend: Backend, values: ExpertTensors, members: readonly StoredExpert[]): StoredExpert;
  outputs(kept: number): readonly StoredOutput[];
}

/** Names of all tensors that hold the routed experts of a layer, quantised or not. */
export function expertTensorNames(checkpoint: Checkpoint, experts: ExpertStorage): readonly string[] {
  if (quantisationOf(checkpoint) === undefined || !isSeparate(experts)) return experts.names;
  const own = ownTensors(checkpoint, experts, experts.parts ?? EXPERT_PARTS);
  return own.flatMap((tensors) => [...tensors.values()].map(({ name }) => name));
}

/** How a layer's experts are quantised; undefined: they are floats. Errors: QUANTISED_PARTS. */
export function codingOf(checkpoint: Checkpoint, experts: ExpertStorage): ExpertCoding | undefined {
  if (experts.coding !== undefined) return experts.coding(checkpoint);
  // Experts in one tensor are floats: `check` refuses others.
  if (!isSeparate(experts)) return undefined;
  const matrices = experts.parts ?? EXPERT_PARTS;
  const storages = new Map(matrices.map((matrix) => [matrix, storedAs(checkpoint, experts.matrixName(0, matrix))]));
  if ([...storages.values()].every((storage) => storage === undefined)) return undefined;
  return separateCoding(checkpoint, experts, matrices, storages);
}

/** Experts whose matrices are modules of their own, each in its tensors. */
function separateCoding(
  checkpoint: Checkpoint,
  experts: ExpertStorage,
  matrices: readonly ExpertPart[],
  storages: ReadonlyMap<ExpertPart, StoredWeight | undefined>,
): ExpertCoding {
  const own = ownTensors(checkpoint, experts, matrices);
  checkUniform(checkpoint, own);
  const partsOf = (stored: StoredExpert, matrix: ExpertPart) =>
    new Map([...stored].flatMap(([name, tensor]) => (name.startsWith(`${matrix}.`) ? [[suffixOf(name), tensor]] : [])));
  return {
    async read(from, expert) {
      const read = [...own[expert]!].map(async ([part, { name }]) => [part, await from.read(name)] as const);
      return new Map(await Promise.all(read));
    },
    decode(stored, backend) {
      const values = matrices.map((matrix) => {
        const parts = partsOf(stored, matrix);
        const storage = storages.get(matrix)?.storage;
        const decoded = storage?.decode(parts, expertShape(experts, matrix), 0, backend);
        return [matrix, decoded ?? parts.get("weight")!];
      });
      return Object.fromEntries(values) as Record<ExpertPart, Tensor>;
    },
    encode(backend, values, members) {
      const encoded = new Map<string, Tensor>();
      const largest = Math.max(...[values.gate, values.up].map((tensor) => (tensor ? backend.largest(tensor) : 0)));
      for (const matrix of matrices) {
        const stored = storages.get(matrix);
        const joint = stored?.storage.joint === true && matrix !== "down" ? largest : undefined;
        const made = stored?.storage.encode(backend, values[matrix]!, scaleDtype(checkpoint, stored), joint);
        for (const [part, info] of own[0]!) {
          if (!part.startsWith(`${matrix}.`)) continue;
          const suffix = suffixOf(part);
          const others = members.map((member) => member.get(part)!);
          const tensor =
            made === undefined ? values[matrix]! : (made.get(suffix) ?? otherPart(info, suffix, others, made));
          encoded.set(part, { ...inDtype(tensor, info.dtype as DType), shape: info.shape });
        }
      }
      return encoded;
    },
    outputs: (kept) =>
      own.slice(0, kept).flatMap((tensors, slot) =>
        [...tensors].map(([part, source]) => ({
          ...{ name: source.name, source, shape: source.shape, slots: [slot], part },
        })),
      ),
  };
}

/** The tensors of every expert by `<matrix>.<suffix>`, in the order of the checkpoint. */
function ownTensors(
  checkpoint: Checkpoint,
  experts: ExpertStorage,
  matrices: readonly ExpertPart[],
): Map<string, TensorInfo>[] {
  return Array.from({ length: experts.count }, (_, expert) => {
    const found = new Map<string, TensorInfo>();
    for (const matrix of matrices) {
      const module = experts.matrixName(expert, matrix).slice(0, -".weight".length);
      for (const suffix of SUFFIXES) {
        const info = checkpoint.tensors.get(`${module}.${suffix}`);
        if (info !== undefined) found.set(`${matrix}.${suffix}`, info);
      }
    }
    return found;
  });
}

/** Everything that modules of a quantised checkpoint have. */
const SUFFIXES = ["weight", "weight_packed", "qweight", ...OTHER_PARTS];

/** Refuses layers whose experts are not all stored in the same way: under another number each has to have the same form. */
function checkUniform({ folder }: Checkpoint, own: readonly ReadonlyMap<string, TensorInfo>[]): void {
  const forms = own.map((tensors) =>
    [...tensors].map(([part, { dtype, shape }]) => `${part} ${dtype} [${shape.join(", ")}]`),
  );
  for (const [expert, form] of forms.entries()) {
    const other = form.find((line) => !forms[0]!.includes(line)) ?? forms[0]!.find((line) => !form.includes(line));
    if (other === undefined) continue;
    const [name = ""] = [...own[expert]!.values()].map((info) => info.name);
    throw new ReamError("QUANTISED_PARTS", `experts of a layer are stored in different ways: ${other}`, {
      where: `${folder}, ${quote(name)}`,
      hint: "Give --output-dtype bf16: the output is not quantised then.",
    });
  }
}

/** A tensor of a module that its storage has not `made`, for an expert that was made of several. */
function otherPart(
  { name, shape }: TensorInfo,
  suffix: string,
  members: readonly Tensor[],
  made: QuantisedWeight,
): Tensor {
  // Rounded anew, columns lie in groups one after the other.
  if (suffix === "weight_g_idx") return groupsInOrder(shape[0]!, made.get("weight_scale")!.shape[1]!);
  if (suffix === "g_idx") return groupsInOrder(shape[0]!, made.get("scales")!.shape[0]!);
  const join = JOINED[suffix];
  if (join !== undefined) {
    const [first, ...rest] = members.map((member) => decode(member));
    const joined = rest.reduce((all, other) => all.map((value, i) => join(value, other[i]!)), first!);
    return { dtype: "F32", shape, data: encode("F32", joined) };
  }
  const [first, ...rest] = members;
  if (rest.every(({ data }) => Buffer.compare(data, first!.data) === 0)) return first!;
  throw new ReamError("QUANTISED_PARTS", `${quote(name)} differs between experts that are merged`, {
    hint: "Give --output-dtype bf16: the output is not quantised then.",
  });
}

/** Measured ranges of inputs: the wider one, which is the larger scale, and the smaller of what scales are divided by. */
const JOINED: Readonly<Record<string, (a: number, b: number) => number>> = {
  input_scale: Math.max,
  input_global_scale: Math.min,
};

/** The group of each column. */
function groupsInOrder(columns: number, groups: number): Tensor {
  const groupOf = Int32Array.from({ length: columns }, (_, column) => Math.floor((column * groups) / columns));
  return { dtype: "I32", shape: [columns], data: new Uint8Array(groupOf.buffer) };
}

function inDtype(tensor: Tensor, dtype: DType): Tensor {
  if (tensor.dtype === dtype || !tensor.dtype.startsWith("I")) return convert(tensor, dtype);
  return { dtype, shape: tensor.shape, data: encode(dtype, Float32Array.from(decodeIntegers(tensor))) };
}

function suffixOf(part: string): string {
  return part.slice(part.indexOf(".") + 1);
}
