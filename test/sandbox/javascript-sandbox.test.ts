import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { QuickJsSandbox } from "../../src/sandbox/javascript-sandbox.js";
import { Slots } from "../../src/sandbox/slots.js";

const sandbox = new QuickJsSandbox(new Slots(2));
const { signal } = new AbortController();
const limits = { seconds: 1, memoryBytes: 32 * 2 ** 20 };
const evaluate = (code: string, ...expressions: string[]) => sandbox.evaluate(code, expressions, limits, signal);
const f = (body: string) => evaluate(`function f() { ${body} }`, "f()");

test("values come as plain data, with their types", async () => {
  const outcome = await evaluate(
    "const f = (x) => x;",
    ...[
      "f(1)",
      "-0",
      "NaN",
      "-Infinity",
      "undefined",
      "null",
      "'\\ud800é'",
      "[1, [true]]",
      "({ a: 1, __proto__: null, b: [] })",
    ],
    ...[
      "10n",
      "() => 1",
      "new Map()",
      "[1, , 2]",
      "new (class extends Array {})()",
      "({ get a() { return 1; } })",
      "new Number(1)",
    ],
  );
  const other = expect.objectContaining({ type: "other" });
  expect(outcome).toEqual({
    kind: "done",
    value: [
      ...[1, -0, Number.NaN, Number.NEGATIVE_INFINITY, { type: "undefined", items: [] }, null, "\ud800é", [1, [true]]],
      {
        type: "object",
        items: [
          ["a", 1],
          ["b", []],
        ],
      },
      ...[{ type: "bigint", items: ["10"] }, other, other, other, other, other, other],
    ],
  });
});

test.each([
  ["a loop", "while (true);", "limit"],
  ["a loop that catches everything", "for (;;) try { for (;;); } catch {}", "limit"],
  ["a loop in a proxy", "return new Proxy({}, { getPrototypeOf() { for (;;); } });", "limit"],
  ["a pattern", "return /^(a+)+$/.test('a'.repeat(40) + 'b');", "limit"],
  ["memory", "const x = []; for (;;) x.push('y'.repeat(1e6) + x.length);", "limit"],
  ["a long text", "return 'x'.repeat(8e6);", "limit"],
  ["recursion", "return f();", "error"],
  ["an exception", "throw new TypeError('no');", "error"],
  ["an exception that answers strangely", "throw { get message() { throw 1; }, toString() { throw 2; } };", "error"],
  ["nesting", "let x = []; for (let i = 0; i < 1e4; i++) x = [x]; return x;", "error"],
])("ends %s", async (_, body, kind) => {
  expect((await f(body)).kind).toBe(kind);
});

test("nothing of the outside is there", async () => {
  const names = [
    "process",
    "require",
    "fetch",
    "Worker",
    "WebAssembly",
    "setTimeout",
    "std",
    "os",
    "globalThis.print",
    "parentPort",
  ];
  const outcome = await evaluate(
    "",
    ...names.map((name) => `typeof ${name}`),
    "typeof (async () => (await import('node:fs')))",
  );
  expect(outcome).toEqual({ kind: "done", value: [...names.map(() => "undefined"), "function"] });
  expect(await evaluate("import('node:fs').then((m) => (globalThis.got = m));", "typeof got")).toMatchObject({
    value: ["undefined"],
  });
});

test("changed built-in functions change no value", async () => {
  const code = `
    JSON.stringify = () => '{"d":[]}'; Array.isArray = () => true; Object.is = () => true;
    Object.getPrototypeOf = () => null; Reflect.ownKeys = () => []; String.prototype.concat = () => "";
    Object.prototype.toJSON = () => 5; Array.prototype[Symbol.iterator] = null; globalThis.String = null;`;
  expect(await evaluate(code, "({ a: [1] })")).toEqual({
    kind: "done",
    value: [{ type: "object", items: [["a", [1]]] }],
  });
});

test("nothing stays for the next answer", async () => {
  await evaluate("globalThis.left = 1; Array.prototype.left = 1;", "1");
  expect(await evaluate("", "typeof left", "[].left")).toMatchObject({ value: ["undefined", { type: "undefined" }] });
});

test("an abort ends a loop", async () => {
  const controller = new AbortController();
  const running = sandbox.evaluate("for (;;);", [], { ...limits, seconds: 600 }, controller.signal);
  const rejected = expect(running).rejects.toThrow("no longer wanted");
  setImmediate(() => controller.abort(new Error("no longer wanted")));
  await rejected;
});

test("many at a time warn of nothing", async () => {
  const warnings: Error[] = [];
  const heard = (warning: Error) => warnings.push(warning);
  process.on("warning", heard);
  const { signal: shared } = new AbortController();
  const many = new QuickJsSandbox(new Slots(12));
  const limits = { seconds: 20, memoryBytes: 2 ** 24 };
  await Promise.all(Array.from({ length: 12 }, () => many.evaluate("", ["1"], limits, shared)));
  process.off("warning", heard);
  expect(warnings).toEqual([]);
});

// Counted where the system tells it.
test.skipIf(process.platform !== "linux")("threads end when it is closed", async () => {
  const threads = () => readdirSync("/proc/self/task").length;
  const many = new QuickJsSandbox(new Slots(4));
  const run = () => many.evaluate("const x = 1;", ["x"], limits, signal);
  await Promise.all([run(), run(), run(), run()]);
  const working = threads();
  await many.close();
  expect(threads()).toBe(working - 4);
  expect(await run()).toEqual({ kind: "done", value: [1] });
  await many.close();
});
