import { describe, expect, test } from "vitest";
import { formatOf, needOf, parseSteps, sparsityOf } from "../../../src/compress/steps/step.js";
import { ReamError } from "../../../src/errors.js";

describe("steps are read from text", () => {
  test("a format, a short name of one, and GPTQ", () => {
    expect(parseSteps(["int8"])).toMatchObject([{ kind: "quantise", solver: "nearest", text: "int8" }]);
    expect(parseSteps(["int4"])).toMatchObject([{ solver: "nearest", text: "int4-g128" }]);
    expect(parseSteps(["gptq:int4"])).toMatchObject([{ solver: "gptq", text: "gptq:int4-g128" }]);
    expect(formatOf(parseSteps(["gptq:int4"]))!.name).toBe("int4-g128");
  });

  test("pruning by a share or a pattern, and a format after it, in one text or two", () => {
    expect(parseSteps(["wanda:50%"])).toMatchObject([{ pruner: "wanda", sparsity: { kind: "ratio", share: 0.5 } }]);
    expect(sparsityOf(parseSteps(["magnitude:2:4"]))).toEqual({ kind: "n:m", zeros: 2, of: 4 });
    for (const texts of [["sparsegpt:2:4,int8"], ["sparsegpt:2:4", " int8"]]) {
      expect(parseSteps(texts).map(({ text }) => text)).toEqual(["sparsegpt:2:4", "int8"]);
    }
  });

  test("what a step has to know of inputs", () => {
    expect(needOf([])).toBe("nothing");
    expect(needOf(parseSteps(["magnitude:0.5", "int8"]))).toBe("nothing");
    expect(needOf(parseSteps(["wanda:0.5", "int8"]))).toBe("squares");
    expect(needOf(parseSteps(["sparsegpt:0.5"]))).toBe("gram");
    expect(needOf(parseSteps(["gptq:int8"]))).toBe("gram");
  });

  test.each([
    [""],
    ["int5"],
    ["wanda"],
    ["wanda:"],
    ["wanda:1.5"],
    ["wanda:4:2"],
    ["int8:0.5"],
    ["gptq"],
    ["gptq:fp8"],
    ["gptq:wanda"],
    ["int8,int4"],
    ["wanda:0.5,magnitude:0.5"],
    ["int8,wanda:0.5"],
    ["wanda:0.5,gptq:int4"],
    ["INT8"],
    ["magnitude:0.5,,int8"],
  ])("%j is refused", (text) => {
    const read = () => parseSteps([text]);
    expect(read).toThrow(ReamError);
    expect(read).toThrow(expect.objectContaining({ code: "OPTION_INVALID" }));
  });
});
