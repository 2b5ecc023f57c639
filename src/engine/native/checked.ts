import type { Tensor } from "../../checkpoint/tensor.js";
import type { Activation } from "../backend.js";
import type { ActivationKind } from "./binary.js";

/** Calls the library; a shape that does not fit becomes a `RangeError`. */
export function checked<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "InvalidArg") throw new RangeError(error.message);
    throw error;
  }
}

/** A weight or a cache that this backend has made. */
export function own<T>(thing: object, kind: new (...parameters: never[]) => T): T {
  if (thing instanceof kind) return thing;
  throw new RangeError("The weight or cache was made by another backend.");
}

/** Rows and columns of a matrix, checked. */
export function shapeOf(tensor: Tensor, what: string): [number, number] {
  const [rows, columns] = tensor.shape;
  if (tensor.shape.length !== 2 || rows === undefined || columns === undefined) {
    throw new RangeError(`${what}: shape [${tensor.shape.join(", ")}] has not 2 dimensions`);
  }
  // The library takes 32-bit sizes; larger ones would wrap around.
  if (rows > 0xffffffff || columns > 0xffffffff) throw new RangeError(`${what}: ${rows} x ${columns} is too large`);
  return [rows, columns];
}

/** How the library names an activation. */
export function kindOf(activation: Activation): ActivationKind {
  return typeof activation === "string" ? { kind: activation } : activation;
}
