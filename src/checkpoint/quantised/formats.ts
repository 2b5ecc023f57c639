import { MXFP4, NVFP4 } from "./e2m1.js";
import { packedIntegers } from "./integers.js";
import { roundedE4m3 } from "./scaled-e4m3.js";
import { WEIGHT_FORMAT_NAMES, type WeightFamily, type WeightFormat, type WeightFormatName } from "./weight-format.js";

const int4 = (group: number | undefined, symmetric: boolean) => packedIntegers({ bits: 4, group, symmetric });

const FORMATS: Readonly<Record<WeightFormatName, readonly [about: string, format: WeightFamily]>> = {
  int8: ["8-bit integers, a scale for each row", packedIntegers({ bits: 8, group: undefined, symmetric: true })],
  "int4-channel": ["4-bit integers, a scale for each row", int4(undefined, true)],
  "int4-g32": ["4-bit integers, a scale for every 32", int4(32, true)],
  "int4-g128": ["4-bit integers, a scale for every 128", int4(128, true)],
  "int4-g32-asym": ["4-bit integers, a scale and a zero point for every 32", int4(32, false)],
  "int4-g128-asym": ["4-bit integers, a scale and a zero point for every 128", int4(128, false)],
  fp8: ["8-bit floats (E4M3), a scale for each row", roundedE4m3("channel")],
  "fp8-block": ["8-bit floats (E4M3), a scale for each 128 x 128", roundedE4m3([128, 128])],
  mxfp4: ["4-bit floats (E2M1), a power of two for every 32", MXFP4],
  nvfp4: ["4-bit floats (E2M1), an 8-bit float for every 16, one scale for the matrix", NVFP4],
};

/** docs/quantisation.md, "Who reads them". */
const CAUTIONS: Readonly<Partial<Record<WeightFormatName, string>>> = {
  "int4-g32-asym": "cannot load experts with zero points",
  "int4-g128-asym": "cannot load experts with zero points",
  "fp8-block": "does not apply the scales of blocks to experts",
  nvfp4: "loads experts without their global scale, with wrong values and without an error",
};

const formats = new Map(
  WEIGHT_FORMAT_NAMES.map((name): [string, WeightFormat] => {
    const [about, format] = FORMATS[name];
    const caution = CAUTIONS[name];
    return [name, { ...format, name, about, ...(caution !== undefined && { caution }) }];
  }),
);

/** The format of this name. */
export function weightFormat(name: WeightFormatName): WeightFormat {
  return formats.get(name)!;
}
