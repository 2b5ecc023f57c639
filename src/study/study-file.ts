import { readFile } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { parseMix } from "../calibration/mix.js";
import { parseJson } from "../checkpoint/json.js";
import { METHOD_NAMES, settingsSchema } from "../compress/settings.js";
import { ReamError } from "../errors.js";
import { compressOptions, computeOptions } from "../pipeline/options.js";
import { listMixes } from "./mixes.js";
import { referencesSchema } from "./results.js";

const place = z.string().min(1);
const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/, "letters, digits, _ . and - only");
const count = z.int().min(1);

/** What a method may do with layers after their experts are reduced, on calibration text. */
const { guard, reconstruct, ridge, reconstructTokens, reconstructRandom, reconstructEpochs } = compressOptions.shape;
const { reconstructExperts, routerCalibration } = compressOptions.shape;
const onText = z
  .object({
    ...{ guard: guard.unwrap(), reconstruct, ridge, reconstructTokens, reconstructRandom, reconstructEpochs },
    ...{ reconstructExperts: reconstructExperts.unwrap(), routerCalibration: routerCalibration.unwrap() },
  })
  .partial();

const methodSchema = z.union([
  z.enum(METHOD_NAMES),
  z.strictObject({
    /** Name in tables. */
    name,
    method: z.enum(METHOD_NAMES),
    ...settingsSchema.partial().shape,
    ...onText.shape,
  }),
]);

const fileSchema = z.strictObject({
  title: z.string().optional().describe("heading of the report"),
  model: place.describe("folder or hub id of the original"),
  out: place.optional().describe("folder of the study; --out wins"),
  domains: z.record(name, place).describe("calibration text of each domain: a file, a folder, a hub dataset"),
  fields: z.record(name, z.string()).default({}).describe("field of a domain's records that holds the text"),
  sequences: count.default(3072).describe("calibration sequences of a mix"),
  length: z.int().min(8).default(512).describe("tokens of a sequence"),
  mixes: z
    .union([
      z.literal("paper"),
      z.strictObject({ simplex: z.int().min(1).max(20) }),
      z.array(z.union([z.string(), z.record(name, z.number().min(0).max(1))])).min(1),
    ])
    .default("paper")
    .describe("paper = its ten; simplex: n = every mix in steps of 1/n; or a list, as general=0.3,code=0.7"),
  methods: z.array(methodSchema).min(1).default(["ream", "reap"]).describe("names, or a name with changed settings"),
  experts: z.array(count).min(1).describe("experts that each layer keeps, one or several numbers"),
  seeds: z.array(z.int().min(0)).min(1).default([42]).describe("of the calibration text"),
  observed: z
    .boolean()
    .default(true)
    .describe("plan everything from one observation of the original; false: every compression runs its own text"),
  tasks: z.array(place).min(1).default(["mc", "gen"]).describe("tasks, groups, suites or task files"),
  data: z.array(place).default([]).describe("local rows of the tasks"),
  limit: count.optional().describe("items of each task; default: all"),
  heldOut: z.record(name, place).default({}).describe("text for KL, agreement and perplexity, by domain"),
  heldOutSequences: count.default(64).describe("sequences of it for each domain"),
  keepModels: z.boolean().default(false).describe("keep the compressed checkpoints"),
  budget: z
    .strictObject({ hours: z.number().gt(0).optional(), jobs: count.optional() })
    .default({})
    .describe("no new job is started beyond it"),
  search: z
    .strictObject({ budget: count.describe("mixes of each method and number of experts that are evaluated in full") })
    .optional()
    .describe("rank all mixes by held-out text, and evaluate only the most promising"),
  references: referencesSchema
    .optional()
    .describe("reference point of the hypervolume by number of experts, to compare it with another study's"),
  ...computeOptions.shape,
});

/** A method of a study: its name in tables, and what it is. */
export interface StudyMethod {
  readonly name: string;
  readonly method: (typeof METHOD_NAMES)[number];
  readonly settings: MethodOptions;
}

/** Settings of a method that are not its own, and what is done on calibration text. */
export type MethodOptions = Partial<z.infer<typeof settingsSchema>> & z.infer<typeof onText>;

/** A study as its file says, with defaults and absolute paths. */
export type Study = Omit<z.output<typeof fileSchema>, "mixes" | "methods" | "out" | "title"> & {
  readonly title: string;
  /** The model as the file names it; of a path beside the file its last part. */
  readonly modelName: string;
  readonly out: string | undefined;
  readonly mixes: readonly string[];
  readonly methods: readonly StudyMethod[];
};

/**
 * Reads a study from a YAML or JSON file (docs/study.md). Paths are relative to the file. Errors: STUDY_FILE.
 * @param changes keys that stand for those of the file
 */
export async function readStudy(
  path: string,
  changes: Pick<z.input<typeof fileSchema>, "search"> = {},
): Promise<Study> {
  const fail = (what: string, cause?: unknown): never => {
    throw new ReamError("STUDY_FILE", what, {
      where: path,
      hint: "docs/study.md says how studies are written.",
      cause,
    });
  };
  let value: unknown;
  try {
    const text = await readFile(path, "utf8");
    value = /\.json$/i.test(path) ? parseJson(text, path) : parseYaml(text);
  } catch (cause) {
    return fail(`the study cannot be read: ${(cause as Error).message.slice(0, 500)}`, cause);
  }
  const object = z.looseObject({}).safeParse(value);
  const parsed = fileSchema.safeParse(object.success ? { ...object.data, ...changes } : value);
  if (!parsed.success) return fail(z.prettifyError(parsed.error).slice(0, 2000));
  const { mixes, methods, title, out, ...rest } = parsed.data;
  const folder = dirname(resolve(path));
  const local = (text: string) => (isLocal(text) ? join(folder, text) : text);
  const named = methods.map((entry): StudyMethod => {
    if (typeof entry === "string") return { name: entry, method: entry, settings: {} };
    const { name, method, ...settings } = entry;
    const given = Object.entries(settings).filter(([, setting]) => setting !== undefined);
    return { name, method, settings: Object.fromEntries(given) };
  });
  const twice = named.find(({ name }, i) => named.findIndex((other) => other.name === name) !== i);
  if (twice !== undefined) return fail(`two methods are called ${twice.name}`);
  const judged = named.find(
    ({ settings: { guard, reconstruct = "none", routerCalibration = "none" } }) =>
      guard || reconstruct !== "none" || routerCalibration !== "none",
  );
  if (rest.observed && judged !== undefined)
    return fail(`${judged.name} looks at calibration text in every compression, which needs \`observed: false\``);
  const names = Object.keys(rest.domains);
  const listed = listMixes(mixes, names);
  const unknown = listed.flatMap(parseMix).find((share) => !names.includes(share.name));
  if (unknown !== undefined) return fail(`a mix names ${unknown.name}, which is no domain of the study`);
  if (rest.search !== undefined && Object.keys(rest.heldOut).length === 0)
    return fail("search ranks mixes by held-out text, and heldOut names none");
  const relative = (entries: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(entries).map(([key, text]) => [key, local(text)]));
  return {
    ...rest,
    title: title ?? `Study of ${rest.model}`,
    out: out && local(out),
    modelName: isLocal(rest.model) ? basename(rest.model) : rest.model,
    model: local(rest.model),
    domains: relative(rest.domains),
    heldOut: relative(rest.heldOut),
    data: rest.data.map((text) => text.replace(/^([\w-]+=)?(.*)$/s, (_, task = "", file) => task + local(file))),
    tasks: rest.tasks.map(local),
    mixes: listed,
    methods: named,
  };
}

/** A path that starts with a dot is relative to the study's file; everything else is a name, a hub id or absolute. */
function isLocal(text: string): boolean {
  return /^\.\.?([\\/]|$)/.test(text) && !isAbsolute(text);
}
