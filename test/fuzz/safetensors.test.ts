import { expect, it } from "vitest";
import { fuzz } from "./safetensors.fuzz.js";

const iterations = Number(process.env.FUZZ_ITERATIONS ?? 20_000);
const seed = Number(process.env.FUZZ_SEED ?? 1);

it(
  `reads ${iterations} mutated headers, indexes and configs without an error that has no name (seed ${seed})`,
  async () => {
    const started = performance.now();
    const { outcomes, failures } = await fuzz(iterations, seed);
    if (process.env.FUZZ_ITERATIONS !== undefined) {
      console.log(
        JSON.stringify({ iterations, seed, seconds: (performance.now() - started) / 1000, outcomes }, null, 2),
      );
    }
    expect(failures).toEqual([]);
    // A fuzzer whose inputs are all refused, or all accepted, tests little.
    for (const target of ["safetensors header", "shard index", "config edit"]) {
      const accepted = outcomes[`${target}: accepted`] ?? 0;
      expect(accepted).toBeGreaterThan(iterations / 100);
      expect(accepted).toBeLessThan(iterations / 4);
    }
  },
  24 * 3600 * 1000,
);
