import { prettifyError, type z } from "zod";
import { ReamError } from "../errors.js";

/** Options checked by their schema, with its defaults. Errors: OPTION_INVALID. */
export function parseOptions<Schema extends z.ZodType>(schema: Schema, input: z.input<Schema>): z.output<Schema> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new ReamError("OPTION_INVALID", prettifyError(parsed.error));
}
