import { z } from "zod";
import { sha256 } from "../../sha256.js";

const recordSchema = z.object({ fingerprint: z.string(), digest: z.string(), value: z.unknown() });

/** The text of a small result that one process leaves for others: with the output that it is of, and a digest. */
export function encodeRecord(fingerprint: string, value: object): string {
  return `${JSON.stringify({ fingerprint, digest: sha256(JSON.stringify(value)), value })}\n`;
}

/** The value of a record, unchanged since it was written. `fail` throws. */
export function decodeRecord(text: string, fingerprint: string, fail: (what: string) => never): unknown {
  const record = recordSchema.safeParse(parsed(text));
  if (!record.success) return fail("it is not whole");
  const { value, digest } = record.data;
  if (record.data.fingerprint !== fingerprint) fail("it is of another output");
  if (digest !== sha256(JSON.stringify(value))) fail("it does not have its digest");
  return value;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
