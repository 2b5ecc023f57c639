import fc from "fast-check";
import { expect, test } from "vitest";
import { fitDivergence, type MeasuredDivergence } from "../../src/advise/divergence.js";

const point = (loss: number, kl: number): MeasuredDivergence => ({ loss, kl });

test("a power law is found, and holds within the measured range", () => {
  const range = (min: number, max: number) => fc.double({ min, max, noNaN: true });
  fc.assert(
    fc.property(range(0.2, 3), range(-3, 3), (slope, intercept) => {
      const law = (loss: number) => Math.exp(intercept + slope * Math.log(loss));
      const relation = fitDivergence([0.01, 0.1, 0.25, 0.5].map((loss) => point(loss, law(loss))))!;
      expect(relation.slope).toBeCloseTo(slope, 8);
      const { kl, factor } = relation.predict(0.05)!;
      expect(kl / law(0.05)).toBeCloseTo(1, 8);
      expect(factor).toBeCloseTo(1, 6);
      expect(relation.predict(0.009)).toBeUndefined();
      expect(relation.predict(0.51)).toBeUndefined();
    }),
  );
});

test("what is measured scatters: so does the prediction", () => {
  const points = [0.1, 0.1, 0.2, 0.2, 0.4, 0.4].map((loss, i) => point(loss, loss * (i % 2 === 0 ? 2 : 0.5)));
  const { predict } = fitDivergence(points)!;
  const { kl, factor } = predict(0.2)!;
  expect(kl).toBeCloseTo(0.2, 10);
  // Deviations of ln 2 six times, four degrees of freedom.
  expect(factor).toBeCloseTo(Math.exp(Math.log(2) * Math.sqrt(6 / 4)), 10);
});

test("no relation where there is none to be seen", () => {
  expect(fitDivergence([])).toBeUndefined();
  expect(fitDivergence([point(0.1, 1), point(0.2, 2), point(0.3, 3)])).toBeUndefined();
  // Two losses only, however often.
  expect(fitDivergence([point(0.1, 1), point(0.1, 1.1), point(0.2, 2), point(0.2, 2.1)])).toBeUndefined();
  // Falling, and constant.
  expect(fitDivergence([0.1, 0.2, 0.3, 0.4].map((loss) => point(loss, 1 / loss)))).toBeUndefined();
  expect(fitDivergence([0.1, 0.2, 0.3, 0.4].map((loss) => point(loss, 1)))).toBeUndefined();
  // The original itself tells nothing.
  expect(fitDivergence([0, 0.1, 0.2, 0].map((loss) => point(loss, loss)))).toBeUndefined();
});
