import { Command, CommanderError } from "commander";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { COMPRESS_GROUPS } from "../../src/cli/option-groups.js";
import { addSchemaOptions, givenOptions } from "../../src/cli/schema-options.js";
import { compressOptions } from "../../src/pipeline/options.js";

const schema = z.object({
  groupSize: z.int().min(1).max(64).default(16).describe("how large a group is"),
  share: z.number().min(0).max(1).optional(),
  grouping: z.enum(["nearest", "none"]).optional(),
  domain: z.array(z.string()).default([]),
  dryRun: z.boolean().default(false),
  sequential: z.boolean().optional(),
  note: z.string().optional(),
});

function parse(...args: string[]) {
  const command = new Command("x").exitOverride().configureOutput({ writeErr: () => {} });
  addSchemaOptions(command, schema, [{ heading: "All:", keys: Object.keys(schema.shape) }]);
  command.parse(args, { from: "user" });
  return { command, given: givenOptions(command, schema) };
}

describe("flags made from a schema", () => {
  test("have the schema's types", () => {
    expect(
      parse("--group-size", "8", "--share", ".5", "--grouping", "none", "--dry-run", "--note", "a b").given,
    ).toEqual({
      groupSize: 8,
      share: 0.5,
      grouping: "none",
      dryRun: true,
      note: "a b",
    });
  });

  test("are only what was given; defaults are the schema's business", () => expect(parse().given).toEqual({}));

  test("of arrays add up", () =>
    expect(parse("--domain", "a=1", "--domain", "b=2").given).toEqual({ domain: ["a=1", "b=2"] }));

  test("of booleans without a default have a negative", () => {
    expect(parse("--no-sequential").given).toEqual({ sequential: false });
    expect(parse("--sequential").given).toEqual({ sequential: true });
    expect(() => parse("--no-dry-run")).toThrow(CommanderError);
  });

  test.each([
    ["--group-size", "0"],
    ["--group-size", "65"],
    ["--group-size", "1.5"],
    ["--group-size", ""],
    ["--group-size", "0x10"],
    ["--share", "Infinity"],
    ["--share", "2"],
    ["--grouping", "other"],
  ])("refuse %s %s", (...args) => expect(() => parse(...args)).toThrow(CommanderError));

  test("show description, choices and default in the help", () => {
    const help = parse().command.configureHelp({ helpWidth: 200 }).helpInformation();
    expect(help).toContain("All:");
    expect(help).toContain("--group-size <number>  how large a group is (default: 16)");
    expect(help).toContain('(choices: "nearest", "none")');
  });

  test("a key that the schema has not is a mistake", () => {
    expect(() => addSchemaOptions(new Command(), schema, [{ heading: "", keys: ["other"] }])).toThrow(
      "no option other",
    );
  });
});

test("every option of a compression is in one group of the help", () => {
  const keys = COMPRESS_GROUPS.flatMap((group) => group.keys);
  expect([...keys, "model"].sort()).toEqual(Object.keys(compressOptions.shape).sort());
});
