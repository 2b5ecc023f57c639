import { type Calibration, calibrationDigest } from "./calibration.js";

/** The first sequences of a set, which have about its mix. */
export function calibrationPrefix(calibration: Calibration, sequences: number): Calibration {
  const { length, domains } = calibration;
  const ids = calibration.ids.slice(0, sequences * length);
  const mask = calibration.mask.slice(0, sequences * length);
  const domainOfSequence = calibration.domainOfSequence.slice(0, sequences);
  const counted = domains.map((domain, index) => {
    const own = { sequences: 0, tokens: 0 };
    for (const [i, of] of domainOfSequence.entries()) {
      if (of !== index) continue;
      own.sequences += 1;
      own.tokens += mask.subarray(i * length, (i + 1) * length).reduce((sum, value) => sum + value, 0);
    }
    return { ...domain, ...own };
  });
  const digest = calibrationDigest(sequences, length, ids, mask);
  return { ...calibration, sequences, ids, mask, domainOfSequence, domains: counted, digest };
}
