import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type Cluster,
  type ExpertTraits,
  keepMostSalient,
  nearestCentroid,
  pseudoPrune,
  withinRouterGroups,
} from "../../src/compress/group.js";
import { hierarchicalClusters } from "../../src/compress/hierarchical.js";
import { resolveSettings } from "../../src/compress/settings.js";

const HIDDEN = 3;
const settings = resolveSettings("ream", { groupSize: 9 });

/** How experts are clustered, by method. */
const METHODS: Record<string, (traits: ExpertTraits, kept: number) => Cluster[]> = {
  "pseudo-prune": ({ saliency, similarity }, kept) => pseudoPrune(saliency, similarity, kept, settings),
  nearest: ({ saliency, similarity }, kept) => nearestCentroid(saliency, similarity, kept),
  hierarchical: ({ saliency, meanOutputs }, kept) => hierarchicalClusters(meanOutputs!, saliency.length, kept),
  none: ({ saliency }, kept) => keepMostSalient(saliency, kept),
};

const numbers = (length: number) =>
  fc
    .array(fc.integer({ min: 0, max: 9 }), { minLength: length, maxLength: length })
    .map((values) => Float64Array.from(values, (value) => value / 9));

/** A layer whose router has `count` groups of `size` experts, of which `kept` each stay. */
const layer = fc
  .record({ count: fc.integer({ min: 1, max: 4 }), size: fc.integer({ min: 1, max: 6 }) })
  .chain(({ count, size }) =>
    fc.record({
      count: fc.constant(count),
      size: fc.constant(size),
      kept: fc.integer({ min: 1, max: size }),
      saliency: numbers(count * size),
      similarity: numbers((count * size) ** 2),
      meanOutputs: numbers(count * size * HIDDEN),
    }),
  );

test.each(Object.entries(METHODS))(
  "%s: every group keeps as many experts, and no cluster crosses one",
  (_, cluster) => {
    fc.assert(
      fc.property(layer, ({ count, size, kept, ...traits }) => {
        const clusters = withinRouterGroups(traits, count, count * kept, cluster);
        const groupOf = (expert: number) => Math.floor(expert / size);
        for (let g = 0; g < count; g++) {
          expect(clusters.filter(({ centroid }) => groupOf(centroid) === g)).toHaveLength(kept);
        }
        for (const { centroid, absorbed } of clusters) {
          for (const expert of absorbed) expect(groupOf(expert)).toBe(groupOf(centroid));
        }
        const members = clusters.flatMap(({ centroid, absorbed }) => [centroid, ...absorbed]);
        expect(new Set(members).size).toBe(members.length);
        if (cluster !== METHODS.none) expect(members).toHaveLength(count * size);
      }),
    );
  },
);

test.each(Object.entries(METHODS))("%s: a group is clustered as if it were alone", (_, cluster) => {
  fc.assert(
    fc.property(layer, ({ count, size, kept, saliency, similarity, meanOutputs }) => {
      const experts = count * size;
      const all = withinRouterGroups({ saliency, similarity, meanOutputs }, count, count * kept, cluster);
      const begin = (count - 1) * size;
      const own = {
        saliency: saliency.slice(begin),
        similarity: similarity.filter((_, i) => Math.floor(i / experts) >= begin && i % experts >= begin),
        meanOutputs: meanOutputs.slice(begin * HIDDEN),
      };
      const alone = cluster(own, kept).map(({ centroid, absorbed }) => ({
        centroid: begin + centroid,
        absorbed: absorbed.map((expert) => begin + expert),
      }));
      expect(all.slice(-kept)).toEqual(alone);
    }),
  );
});
