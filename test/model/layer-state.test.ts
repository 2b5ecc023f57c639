import { expect, test } from "vitest";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { cacheSize } from "../../src/model/layer-state.js";

test.each([
  [5, 5],
  [16, 16],
  [64, 64],
  [80, 80],
  [128, 128],
  [192, 100],
  [576, 512],
])("bytes per token are what the native cache takes, keys of %i and values of %i", (headSize, valueSize) => {
  for (const precision of ["f32", "bf16"] as const) {
    const backend = createNativeBackend({ precision, threads: 1 });
    const cache = backend.keyValueCache(3, headSize, valueSize);
    const keys = new Float32Array(64 * 3 * headSize);
    const values = new Float32Array(64 * 3 * valueSize);
    backend.attendCached(keys, keys, values, cache, [{ sequence: 0, tokens: 64 }], { heads: 3, scale: 1 });
    expect(cache.bytes).toBe(64 * cacheSize(3, headSize, valueSize, backend).bytesPerToken);
    cache.dispose();
  }
});
