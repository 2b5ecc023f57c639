import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Cluster, checkRoom, keepMostSalient, nearestCentroid, pseudoPrune } from "../../src/compress/group.js";
import { hierarchicalClusters } from "../../src/compress/hierarchical.js";
import { rank } from "../../src/compress/saliency.js";
import { resolveSettings } from "../../src/compress/settings.js";
import { ReamError } from "../../src/errors.js";

const settings = (groupSize: number, groupIncludesCentroid = true) =>
  resolveSettings("ream", { groupSize, groupIncludesCentroid });

/** A layer: saliencies with ties, and a symmetric similarity. */
const layer = fc.integer({ min: 2, max: 24 }).chain((experts) =>
  fc.record({
    saliency: fc
      .array(fc.integer({ min: 0, max: 5 }), { minLength: experts, maxLength: experts })
      .map((v) => Float64Array.from(v)),
    kept: fc.integer({ min: 1, max: experts }),
    similarity: fc
      .array(fc.integer({ min: 0, max: 9 }), { minLength: experts * experts, maxLength: experts * experts })
      .map((values) =>
        Float64Array.from(
          values,
          (_, i) => values[Math.min(i, (i % experts) * experts + Math.floor(i / experts))]! / 9,
        ),
      ),
  }),
);

function expectPartition(clusters: readonly Cluster[], experts: number) {
  const members = clusters.flatMap(({ centroid, absorbed }) => [centroid, ...absorbed]);
  expect(members.sort((a, b) => a - b)).toEqual(Array.from({ length: experts }, (_, e) => e));
}

test("experts of equal saliency rank in index order", () => {
  expect(rank(Float64Array.of(1, 3, 1, 3))).toEqual([1, 3, 0, 2]);
});

describe("pseudoPrune", () => {
  test("every expert is in one group, groups stay within C, centroids are the most salient", () => {
    fc.assert(
      fc.property(
        layer,
        fc.integer({ min: 2, max: 8 }),
        fc.boolean(),
        ({ saliency, similarity, kept }, size, includes) => {
          const capacity = includes ? size - 1 : size;
          fc.pre(kept * capacity >= saliency.length - kept);
          const clusters = pseudoPrune(saliency, similarity, kept, settings(size, includes));
          expectPartition(clusters, saliency.length);
          expect(clusters.map(({ centroid }) => centroid)).toEqual(rank(saliency).slice(0, kept));
          for (const { absorbed } of clusters) expect(absorbed.length).toBeLessThanOrEqual(capacity);
        },
      ),
    );
  });

  test("the most salient centroid takes its nearest experts first, ties by index", () => {
    const similarity = new Float64Array(25).fill(0.5);
    similarity[0 * 5 + 4] = 0.9;
    const clusters = pseudoPrune(Float64Array.of(9, 8, 1, 2, 3), similarity, 2, settings(3));
    expect(clusters).toEqual([
      { centroid: 0, absorbed: [4, 2] },
      { centroid: 1, absorbed: [3] },
    ]);
  });

  test("too little room is refused with a size that fits", () => {
    const attempt = () => checkRoom(16, 4, settings(3));
    expect(attempt).toThrow(ReamError);
    expect(attempt).toThrow(/room for 8 experts, 12 have to be absorbed/);
    expect(() => checkRoom(16, 4, settings(4))).not.toThrow();
    expect(() => checkRoom(16, 4, settings(3, false))).not.toThrow();
    expect(() => checkRoom(16, 4, settings(2, false))).toThrow(/8/);
  });
});

test("nearestCentroid gives every expert to a centroid that no other exceeds in similarity", () => {
  fc.assert(
    fc.property(layer, ({ saliency, similarity, kept }) => {
      const experts = saliency.length;
      const clusters = nearestCentroid(saliency, similarity, kept);
      expectPartition(clusters, experts);
      for (const { centroid, absorbed } of clusters) {
        for (const expert of absorbed) {
          for (const other of clusters) {
            expect(similarity[other.centroid * experts + expert]!).toBeLessThanOrEqual(
              similarity[centroid * experts + expert]!,
            );
          }
        }
      }
    }),
  );
});

test("keepMostSalient keeps exactly the most salient", () => {
  expect(keepMostSalient(Float64Array.of(1, 5, 3, 4), 2).map(({ centroid }) => centroid)).toEqual([1, 3]);
});

describe("hierarchicalClusters", () => {
  test("finds clusters that are far apart, each with its middle as centroid", () => {
    const points = Float64Array.of(0, 10, 0.1, 10.1, 0.2, 20);
    const clusters = hierarchicalClusters(points, 6, 3);
    expect(clusters).toEqual([
      { centroid: 2, absorbed: [0, 4] },
      { centroid: 1, absorbed: [3] },
      { centroid: 5, absorbed: [] },
    ]);
  });

  test("is a partition into the asked number of clusters", () => {
    const outputs = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 24, maxLength: 24 });
    fc.assert(
      fc.property(outputs, fc.integer({ min: 1, max: 8 }), (values, kept) => {
        const clusters = hierarchicalClusters(Float64Array.from(values), 8, kept);
        expect(clusters).toHaveLength(kept);
        expectPartition(clusters, 8);
      }),
    );
  });
});
