import { describe, expect, test } from "vitest";
import { documentOf } from "../../src/calibration/document.js";

const from = (value: Record<string, unknown>, field?: string) => documentOf({ value, where: "f.jsonl:1" }, field);
const turns = (user: string, assistant: string) => [
  { role: "user", content: user },
  { role: "assistant", content: assistant },
];

describe("documentOf", () => {
  test("tries fields in a fixed order", () => {
    const all = { text: "t", content: "c", messages: turns("u", "a"), prompt: "p", answer: "a", solution: "s" };
    expect(from(all)).toEqual({ text: "t" });
    expect(from({ ...all, text: null })).toEqual({ text: "c" });
    expect(from({ ...all, text: null, content: null })).toEqual({ messages: turns("u", "a") });
    expect(from({ problem: "p", solution: "s", answer: "7" })).toEqual({ text: "p\n\ns", messages: turns("p", "s") });
    expect(from({ solution: "s", source: "x" })).toEqual({ text: "s" });
  });

  test.each([
    [{ prompt: "p", answer: "a" }],
    [{ prompt: "p", response: "a" }],
    [{ prompt: "p", completion: "a" }],
    [{ instruction: "p", output: "a" }],
    [{ question: "p", answer: "a" }],
    [{ problem: "p", solution: "a" }],
  ])("makes a conversation of %j", (record) => {
    expect(from(record)).toEqual({ text: "p\n\na", messages: turns("p", "a") });
  });

  test("an instruction takes its input", () => {
    expect(from({ instruction: "do", input: "this", output: "done" })!.messages).toEqual(turns("do\n\nthis", "done"));
    expect(from({ instruction: "do", input: "", output: "done" })!.messages).toEqual(turns("do", "done"));
  });

  test("ShareGPT conversations become messages", () => {
    const conversations = [
      { from: "system", value: "s" },
      { from: "human", value: "u" },
      { from: "gpt", value: "a" },
    ];
    expect(from({ conversations })!.messages).toEqual([{ role: "system", content: "s" }, ...turns("u", "a")]);
  });

  test("messages keep their other fields, for the template", () => {
    const messages = [{ role: "assistant", content: null, tool_calls: [{ name: "f" }] }];
    expect(from({ messages })).toEqual({ messages });
  });

  test("a named field wins", () => {
    expect(from({ text: "t", body: "b" }, "body")).toEqual({ text: "b" });
    expect(from({ text: "t", chat: turns("u", "a") }, "chat")).toEqual({ messages: turns("u", "a") });
  });

  test("empty ones give nothing", () => {
    for (const value of [
      { text: "" },
      { text: " \n" },
      { text: null },
      { messages: [] },
      { prompt: "p", answer: "" },
    ]) {
      expect(from(value)).toBeUndefined();
    }
  });

  test.each([
    [{ label: 1, body: "x" }, undefined, /No field is known to hold text; the record has label, body/],
    [{}, undefined, /no fields/],
    [{ text: 5 }, undefined, /"text" is not a text/],
    [{ text: "t" }, "body", /no field "body"/],
    [{ text: "t" }, "constructor", /no field "constructor"/],
    [{ messages: [{ role: "user" }] }, undefined, /Turn 1 of "messages"/],
    [{ messages: ["hello"] }, undefined, /Turn 1/],
    [{ conversations: [{ from: "martian", value: "x" }] }, undefined, /Turn 1/],
    [{ conversations: [{ from: "constructor", value: "x" }] }, undefined, /Turn 1/],
  ])("refuses %j", (value, field, message) => {
    expect(() => from(value, field)).toThrow(message);
    expect(() => from(value, field)).toThrow(
      expect.objectContaining({ code: "CALIBRATION_FIELD", where: "f.jsonl:1" }),
    );
  });
});
