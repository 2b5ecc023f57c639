import { bytesPerElement } from "../../checkpoint/dtypes.js";
import { NVFP4_GROUP } from "../../checkpoint/quantised/e2m1.js";
import { scaleGrid } from "../../checkpoint/quantised/fp8-blocks.js";
import { packedWords } from "../../checkpoint/quantised/integer-packing.js";
import { MXFP4_GROUP } from "../../checkpoint/quantised/mxfp4.js";
import type { Backend } from "../backend.js";
import type { RoundedMatrix } from "../rounding.js";
import { factorColumns } from "../scaled-codes.js";
import type { Engine } from "./binary.js";
import { checked, shapeOf } from "./checked.js";

/** The operations on weights in the formats of quantised checkpoints. */
export function roundingOperations(engine: Engine): Pick<Backend, "largest" | "round" | "expand"> {
  return {
    largest(weight) {
      const shape = shapeOf(weight, "largest");
      return checked(() => engine.largest(weight.dtype, weight.data, ...shape));
    },
    round(weight, rounding): RoundedMatrix {
      const [rows, columns] = shapeOf(weight, "round");
      const source = [weight.dtype, weight.data, rows, columns] as const;
      if (rounding.kind === "integers") {
        const { grid, scaleDtype } = rounding;
        const { bits, group = columns, symmetric } = grid;
        const groups = wholeGroups(columns, group);
        const codes = new Uint8Array(4 * rows * packedWords(columns, bits));
        const scales = new Uint8Array(rows * groups * bytesPerElement(scaleDtype));
        const zeros = new Int8Array(rows * groups);
        checked(() => engine.roundIntegers(...source, bits, group, symmetric, scaleDtype, codes, scales, zeros));
        return { codes, scales, zeros: symmetric ? undefined : zeros };
      }
      if (rounding.kind === "e4m3") {
        const { block, scaleDtype, powersOfTwo = false } = rounding;
        const [gridRows, gridColumns] = scaleGrid([rows, columns], block);
        const codes = new Uint8Array(rows * columns);
        const scales = new Uint8Array(gridRows * gridColumns * bytesPerElement(scaleDtype));
        checked(() => engine.roundE4M3(...source, ...block, scaleDtype, powersOfTwo, codes, scales));
        return { codes, scales };
      }
      const globalScale = rounding.kind === "nvfp4" ? rounding.globalScale : undefined;
      const groups = wholeGroups(columns, rounding.kind === "nvfp4" ? NVFP4_GROUP : MXFP4_GROUP);
      const codes = new Uint8Array((rows * columns) / 2);
      const scales = new Uint8Array(rows * groups);
      checked(() => engine.roundE2M1(...source, globalScale, codes, scales));
      return { codes, scales };
    },
    expand(scaled) {
      const { kind, codes, rows, columns, block, factors, zeros, firstRow, dtype } = scaled;
      factorColumns(scaled);
      const data = new Uint8Array(rows * columns * bytesPerElement(dtype));
      const finite = checked(() =>
        engine.expand(kind, codes, rows, columns, ...block, factors, zeros, firstRow, dtype, data),
      );
      return { data, finite };
    },
  };
}

function wholeGroups(columns: number, group: number): number {
  if (columns % group === 0) return columns / group;
  throw new RangeError(`round: ${columns} columns are no groups of ${group}`);
}
