import { expect, test } from "vitest";
import { inspect } from "../../../src/pipeline/inspect.js";
import { forwardCases } from "../../support/goldens.js";

// test/cli/inspect.test.ts compares one with what is written. Here: every expert has equally many bytes, its scales and its
// rows of the router with them, and nothing else changes.
test.each(forwardCases().filter(([name]) => name !== "jetmoe"))(
  "%s: an expert less is an equal part less of experts and routers",
  async (_, folder) => {
    const { compressed, where, bytes, parameters, experts, predictionLayers } = await inspect(folder);
    expect(compressed.length).toBeGreaterThan(0);
    for (const size of compressed) {
      const left = size.experts / experts;
      if (predictionLayers === undefined)
        expect(size.bytes).toBe(bytes - (1 - left) * (where.routedExperts + where.routers));
      else expect(size.bytes).toBeLessThan(bytes - (1 - left) * (where.routedExperts + where.routers));
      expect(size.parameters).toBeLessThan(parameters);
    }
    // Parameters fall by the same number with each expert.
    const each = compressed.map((size) => (parameters - size.parameters) / (experts - size.experts));
    for (const one of each) expect(one).toBeCloseTo(each[0]!, 6);
  },
);
