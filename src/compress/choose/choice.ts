import { z } from "zod";

/**
 * How the experts of a layer that stay were chosen, where tokens were looked at. Errors are shares of squared outputs; with
 * `refit-swap` those of experts that have been refitted (`RefittedBlock`).
 */
export const choiceSchema = z.object({
  /** The saliency, or "co-activation", whose experts lost least on held-out tokens. */
  criterion: z.string(),
  /** What the experts that stay lose on held-out tokens, before any merging. */
  error: z.number(),
  /** The same of every criterion's. */
  errors: z.record(z.string(), z.number()),
  /** Exchanges after that; 0: none held on held-out tokens. */
  swaps: z.int().min(0).optional(),
});

export type ExpertChoice = z.infer<typeof choiceSchema>;
