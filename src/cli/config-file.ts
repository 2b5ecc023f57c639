import { readFile } from "node:fs/promises";
import { z } from "zod";
import { parseJson } from "../checkpoint/json.js";
import { ReamError } from "../errors.js";

/**
 * Options of a command: those of the configuration file, then those given on the command line, which win. Both are checked
 * by the schema; an unknown key is an error.
 * Errors: CONFIG_FILE, OPTION_INVALID.
 */
export async function readOptions<Schema extends z.ZodObject>(
  schema: Schema,
  file: string | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<z.output<Schema>> {
  const fromFile = file === undefined ? {} : await readConfigFile(schema, file);
  const parsed = schema.safeParse({ ...fromFile, ...given });
  if (parsed.success) return parsed.data;
  throw new ReamError("OPTION_INVALID", issues(parsed.error), { where: "options", hint: "See --help." });
}

async function readConfigFile(schema: z.ZodObject, file: string): Promise<Record<string, unknown>> {
  let value: unknown;
  try {
    value = parseJson(await readFile(file, "utf8"), file);
  } catch (cause) {
    throw new ReamError("CONFIG_FILE", `the configuration cannot be read: ${(cause as Error).message}`, {
      where: cause instanceof ReamError ? (cause.where ?? file) : file,
      hint: "It is a JSON object with the options as keys, as in the settings of ream.json.",
      cause,
    });
  }
  const parsed = z.strictObject(schema.partial().shape).safeParse(value);
  if (!parsed.success) {
    const hint = `Keys: ${Object.keys(schema.shape).join(", ")}.`;
    throw new ReamError("CONFIG_FILE", issues(parsed.error), { where: file, hint });
  }
  // The checked value would hold the defaults too, which must not hide what the schema decides later.
  return value as Record<string, unknown>;
}

function issues(error: z.ZodError): string {
  return error.issues
    .map(({ path, message }) => (path.length > 0 ? `${path.join(".")}: ${message}` : message))
    .join("; ");
}
