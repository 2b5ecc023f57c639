import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { GOLDENS, readJson } from "../support/goldens.js";
import { ream, temporaryFolder } from "./ream.js";

const model = join(GOLDENS, "ream/qwen3_moe/model");
const tokens = join(GOLDENS, "ream/qwen3_moe/calibration.safetensors");
const folder = temporaryFolder();
const reference = ["--tokens", tokens, "--backend", "reference"];

interface Result {
  out: string | null;
  method: string;
  experts: { before: number; after: number };
  bytes: { before: number; after: number };
  peakMemory: number;
  plan: {
    digest?: string;
    layers: { keptExperts: number[]; groups: { members: number[]; permutations?: object }[] }[];
  };
}

describe("ream compress", () => {
  test("writes a checkpoint, tells its progress on stderr and its result on stdout", async () => {
    const out = join(folder, "human");
    const { status, stdout, stderr } = await ream(["compress", model, "--experts", "12", "--out", out, ...reference]);
    expect(stderr).toContain("16 -> 12 experts in 2 layers by ream");
    expect(stderr).toMatch(/%\s+layer 2\/2/);
    expect(stdout).toContain(`Written to ${out}`);
    expect(stdout).not.toContain("%  layer");
    expect(status).toBe(0);
    expect(readJson<{ num_experts: number }>(join(out, "config.json")).num_experts).toBe(12);
  });

  test("--json prints one object, without permutations, and -q nothing else", async () => {
    const out = join(folder, "json");
    const run = await ream(["compress", model, "--experts", "8", "--out", out, ...reference, "--json", "-q"]);
    expect(run.stderr).toBe("");
    const result = JSON.parse(run.stdout) as Result;
    expect(result).toMatchObject({ out, method: "ream", experts: { before: 16, after: 8 } });
    expect(result.bytes.after).toBeLessThan(result.bytes.before);
    expect(result.peakMemory).toBeGreaterThan(10e6);
    expect(result.plan.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(result.plan.layers[0]!.keptExperts).toHaveLength(8);
    expect(run.stdout).not.toContain("permutations");
  });

  test("a plan of --dry-run --json, applied, gives the checkpoint of a direct run", async () => {
    const [direct, planned, file] = [join(folder, "direct"), join(folder, "planned"), join(folder, "plan.json")];
    const options = ["--experts", "12", "--method", "ream", "--group-size", "4", ...reference];
    const dry = await ream(["compress", model, ...options, "--dry-run", "--json"]);
    expect(dry.status).toBe(0);
    const { out, plan } = JSON.parse(dry.stdout) as Result;
    expect(out).toBeNull();
    expect(
      plan.layers.flatMap(({ groups }) => groups.flatMap((group) => Object.keys(group.permutations!))),
    ).toHaveLength(8);
    writeFileSync(file, dry.stdout);
    expect((await ream(["compress", model, ...options, "--out", direct])).status).toBe(0);
    expect((await ream(["compress", model, "--plan", file, "--out", planned, "--backend", "reference"])).status).toBe(
      0,
    );
    expect(
      readFileSync(join(planned, "model.safetensors")).equals(readFileSync(join(direct, "model.safetensors"))),
    ).toBe(true);
  });

  test("--events streams every event as a line and the result last", async () => {
    const file = join(folder, "events.jsonl");
    const common = ["compress", model, "--experts", "12", "--dry-run", ...reference];
    const streamed = await ream([...common, "--events", "jsonl"]);
    expect(streamed.stderr).toBe("");
    const types = (text: string) =>
      text
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line).type as string);
    expect(types(streamed.stdout)).toEqual(expect.arrayContaining(["start", "progress", "layer"]));
    expect(types(streamed.stdout).at(-1)).toBe("result");
    const toFile = await ream([...common, "--events", file, "--json"]);
    expect(JSON.parse(toFile.stdout)).toHaveProperty("plan");
    expect(types(readFileSync(file, "utf8"))).toEqual(types(streamed.stdout));
    const both = await ream([...common, "--events", "-", "--json"]);
    expect(JSON.parse(both.stdout)).toHaveProperty("plan");
    expect(types(both.stderr).at(-1)).toBe("result");
  });

  test("options of --config hold where no flag says otherwise", async () => {
    const config = join(folder, "config.json");
    writeFileSync(
      config,
      JSON.stringify({ model, experts: 12, method: "reap", tokens, backend: "reference", dryRun: true }),
    );
    const fromFile = await ream(["compress", "--config", config, "--json"]);
    expect(JSON.parse(fromFile.stdout)).toMatchObject({ method: "reap", experts: { after: 12 } });
    const withFlag = await ream(["compress", "--config", config, "--experts", "8", "--method", "frequency", "--json"]);
    expect(JSON.parse(withFlag.stdout)).toMatchObject({ method: "frequency", experts: { after: 8 } });
  });
});

describe("refusals of ream compress", () => {
  const attempt = (...args: string[]) => ream(["compress", ...args]);
  const refused = join(folder, "refused");

  test.each<[string, string[], number, string]>([
    ["fewer experts than a token uses", [model, "--experts", "3", "--out", refused, ...reference], 2, "EXPERTS_RANGE"],
    ["more experts than there are", [model, "--experts", "17", "--out", refused, ...reference], 2, "EXPERTS_RANGE"],
    [
      "no room in the groups",
      [model, "--experts", "4", "--group-size", "2", "--out", refused, ...reference],
      2,
      "GROUP_ROOM",
    ],
    ["no output", [model, "--experts", "12", ...reference], 2, "OPTION_MISSING"],
    ["no number of experts", [model, "--out", refused, ...reference], 2, "OPTION_MISSING"],
    ["no model", ["--experts", "12", "--out", refused], 2, "OPTION_INVALID: model"],
    ["a model that is nowhere", ["./nowhere", "--experts", "12", "--out", refused], 1, "MODEL_NOT_FOUND"],
    [
      "the source as output",
      [model, "--experts", "12", "--out", join(model, "x"), ...reference],
      1,
      "OUTPUT_IN_SOURCE",
    ],
    [
      "a mix that does not add up",
      [model, "--experts", "12", "--out", refused, "--mix", "a=0.5,b=0.4"],
      2,
      "CALIBRATION_MIX",
    ],
    ["an unknown option", [model, "--expert", "12"], 2, "Did you mean --experts?"],
    ["an unknown method", [model, "--method", "reem"], 2, "Allowed choices are ream"],
    ["a number that is none", [model, "--experts", "many"], 2, "That is not a number."],
    ["a fraction of an expert", [model, "--experts", "1.5"], 2, "That is not a whole number."],
    ["too short sequences", [model, "--length", "2"], 2, "The least is 8."],
    ["a configuration that is not there", [model, "--config", "./nowhere.json"], 2, "CONFIG_FILE"],
  ])("%s", async (_, args, status, text) => {
    const run = await attempt(...args);
    expect(run.stderr).toContain(text);
    expect(run.stderr).not.toMatch(/^\s+at /m);
    expect(run.stdout).toBe("");
    expect(run.status).toBe(status);
    expect(existsSync(refused)).toBe(false);
  });

  test("an output that is there, left as it was", async () => {
    const out = join(folder, "existing");
    mkdirSync(out);
    writeFileSync(join(out, "precious.txt"), "mine");
    const run = await attempt(model, "--experts", "12", "--out", out, ...reference);
    expect(run.stderr).toContain("OUTPUT_EXISTS");
    expect(run.stderr).toContain(`where: ${out}`);
    expect(run.stderr).toContain("what to do:");
    expect(run.status).toBe(1);
    expect(readFileSync(join(out, "precious.txt"), "utf8")).toBe("mine");
  });

  test("a family that is not known, and errors as JSON", async () => {
    const other = join(folder, "family");
    cpSync(model, other, { recursive: true });
    const config = readJson<Record<string, unknown>>(join(model, "config.json"));
    writeFileSync(join(other, "config.json"), JSON.stringify({ ...config, model_type: "gpt2" }));
    const run = await attempt(other, "--experts", "12", "--out", refused, "--json");
    expect(JSON.parse(run.stdout)).toMatchObject({ error: { code: "FAMILY_UNSUPPORTED" } });
    expect(run.stderr).toContain("FAMILY_UNSUPPORTED");
    expect(run.status).toBe(1);
  });

  test("missing tensors and cut files", async () => {
    const broken = join(folder, "broken");
    mkdirSync(broken);
    copyFileSync(join(model, "config.json"), join(broken, "config.json"));
    expect((await attempt(broken, "--experts", "12", "--out", refused)).stderr).toContain("WEIGHTS_MISSING");
    const whole = readFileSync(join(model, "model.safetensors"));
    writeFileSync(join(broken, "model.safetensors"), whole.subarray(0, whole.length - 100));
    const cut = await attempt(broken, "--experts", "12", "--out", refused);
    expect(cut.stderr).toContain("SAFETENSORS_LENGTH");
    expect(cut.status).toBe(1);
    const renamed = Buffer.from(whole.toString("latin1").replace("model.norm.weight", "model.nose.weight"), "latin1");
    writeFileSync(join(broken, "model.safetensors"), renamed);
    const missing = await attempt(broken, "--experts", "12", "--out", refused);
    expect(missing.stderr).toContain('TENSOR_MISSING: the checkpoint has no tensor "model.norm.weight"');
  });

  test("an unknown key of the configuration file", async () => {
    const config = join(folder, "typo.json");
    writeFileSync(config, JSON.stringify({ experts: 12, grupSize: 3 }));
    const run = await attempt(model, "--config", config);
    expect(run.stderr).toContain("grupSize");
    expect(run.status).toBe(2);
  });
});

describe("interruption", () => {
  test("Ctrl-C ends with 130 and says that the same command goes on; it then gives the same bytes", async () => {
    const [out, whole] = [join(folder, "interrupted"), join(folder, "uninterrupted")];
    const args = ["compress", model, "--experts", "12", ...reference, "--batch-sequences", "1"];
    let killed = false;
    const run = await ream([...args, "--out", out], {
      onStderr: (text, kill) => {
        if (killed || !text.includes("layer 2/2")) return;
        killed = true;
        kill("SIGINT");
      },
    });
    expect(run.status).toBe(130);
    expect(run.stderr).toContain("The same command goes on from here");
    expect(existsSync(out)).toBe(false);
    const again = await ream([...args, "--out", out]);
    expect(again.stderr).toContain("1 layers are there from an earlier run");
    expect(again.status).toBe(0);
    await ream([...args, "--out", whole]);
    expect(readFileSync(join(out, "model.safetensors")).equals(readFileSync(join(whole, "model.safetensors")))).toBe(
      true,
    );
  });
});

describe("ream", () => {
  test("--help and --version are results, no command is wrong usage", async () => {
    const help = await ream(["--help"]);
    expect(help.status).toBe(0);
    for (const command of ["demo", "inspect", "compress", "forward"]) expect(help.stdout).toContain(`  ${command} `);
    const version = await ream(["--version"]);
    expect(version.stdout.trim()).toBe(readJson<{ version: string }>("package.json").version);
    expect((await ream([])).status).toBe(2);
    const unknown = await ream(["compres"]);
    expect(unknown.stderr).toContain("Did you mean compress?");
    expect(unknown.status).toBe(2);
  });

  test.each(["demo", "inspect", "compress", "forward"])("%s --help has examples", async (command) => {
    const { stdout, status } = await ream([command, "--help"]);
    expect(stdout).toContain(`$ ream ${command}`);
    expect(status).toBe(0);
  });
});
