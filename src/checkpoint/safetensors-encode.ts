import { ReamError } from "../errors.js";
import { DTYPE_BITS } from "./dtypes.js";
import { quote } from "./json-scanner.js";
import { MAX_HEADER_BYTES } from "./safetensors-header.js";
import type { StoredDType, Tensor } from "./tensor.js";

/** What the header of a file says about a tensor. */
export interface TensorLayout {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
}

const RANK = new Map(Object.keys(DTYPE_BITS).map((dtype, index) => [dtype, index]));

/** Size of a tensor's data in bytes. */
export function tensorBytes({ dtype, shape }: Pick<TensorLayout, "dtype" | "shape">): number {
  return (shape.reduce((product, size) => product * size, 1) * DTYPE_BITS[dtype]) / 8;
}

/**
 * Order of the tensors in a file and the file's first bytes (length and header). As the reference writer does it: the
 * dtypes of the largest alignment first, then by name, header padded with spaces to a multiple of 8, so that equal
 * tensors give equal bytes. `given` keeps the tensors' own order, for files that nobody else reads.
 */
export function layOutTensors<T extends TensorLayout>(
  tensors: readonly T[],
  metadata: Readonly<Record<string, string>> = {},
  order: "sorted" | "given" = "sorted",
): { readonly ordered: readonly T[]; readonly head: Uint8Array } {
  const ordered = [...tensors];
  if (order === "sorted") {
    ordered.sort((a, b) => RANK.get(b.dtype)! - RANK.get(a.dtype)! || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }
  // Text by hand, for as an object's keys names like "1" and "__proto__" would not stay as and where they are.
  const entries: string[] = [];
  const keys = Object.keys(metadata).sort();
  if (keys.length > 0) {
    entries.push(
      `"__metadata__":{${keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`).join()}}`,
    );
  }
  let end = 0;
  ordered.forEach(({ name, dtype, shape }, index) => {
    if (name === "__metadata__" || name === ordered[index - 1]?.name) {
      throw new RangeError(`${quote(name)} cannot be the name of a tensor, or there are two of it`);
    }
    const begin = end;
    end += tensorBytes({ dtype, shape });
    if (!Number.isSafeInteger(end))
      throw new RangeError(`${quote(name)} ${dtype} [${shape}] has no size in whole bytes`);
    entries.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`);
  });
  const json = Buffer.from(`{${entries.join()}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw new ReamError("SAFETENSORS_HEADER_LENGTH", `${tensors.length} tensors do not fit into one file's header`, {
      hint: "Use smaller shards.",
    });
  }
  const head = new Uint8Array(8 + length).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(json, 8);
  return { ordered, head };
}

/** A whole safetensors file in memory, for small ones. */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const named = [...tensors].map(([name, tensor]) => ({ name, ...tensor }));
  const { ordered, head } = layOutTensors(named, metadata);
  for (const tensor of ordered) {
    if (tensor.data.length !== tensorBytes(tensor))
      throw new RangeError(`${tensor.name} has ${tensor.data.length} bytes`);
  }
  return Buffer.concat([head, ...ordered.map(({ data }) => data)]);
}
