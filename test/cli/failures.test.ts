import { describe, expect, test } from "vitest";
import { z } from "zod";
import { describeFailure, exitStatus, formatFailure } from "../../src/cli/failures.js";
import { ReamError } from "../../src/errors.js";

const error = new ReamError("TENSOR_SHAPE", "it is [2]", {
  where: "a.safetensors",
  hint: "Fetch it again.",
  cause: new Error("inner"),
});

describe("errors", () => {
  test("print code, message, place and remedy, and no stack", () => {
    expect(formatFailure(error, {})).toBe(
      "error TENSOR_SHAPE: it is [2]\n  where: a.safetensors\n  what to do: Fetch it again.\n",
    );
    expect(formatFailure(new ReamError("X", "y"), {})).toBe("error X: y\n");
  });

  test("print the stack and its causes with REAM_DEBUG", () => {
    const text = formatFailure(error, { REAM_DEBUG: "1" });
    expect(text).toContain("failures.test.ts");
    expect(text).toContain("Caused by: Error: inner");
  });

  test("of the system name the file, those of the program are called unexpected", () => {
    const missing = Object.assign(new Error("ENOENT: no such file"), { code: "ENOENT", path: "/x" });
    expect(describeFailure(missing)).toEqual({ code: "FILE", message: "ENOENT: no such file", where: "/x" });
    expect(describeFailure(new TypeError("oops"))).toMatchObject({ code: "UNEXPECTED", message: "oops" });
    expect(describeFailure("thrown text")).toMatchObject({ code: "UNEXPECTED", message: "thrown text" });
    const invalid = z.object({ a: z.int() }).safeParse({ a: "b" });
    expect(describeFailure(invalid.error).code).toBe("OPTION_INVALID");
  });

  test("of usage exit with 2, others with 1", () => {
    expect(exitStatus(new ReamError("EXPERTS_RANGE", ""))).toBe(2);
    expect(exitStatus(error)).toBe(1);
    expect(exitStatus(new Error())).toBe(1);
  });
});
