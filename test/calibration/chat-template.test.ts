import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { ChatTemplate, loadChatTemplate } from "../../src/calibration/chat-template.js";
import { loadTokenizer, type TextTokenizer } from "../../src/calibration/tokenizer.js";
import { temporaryFolder } from "./folder.js";

const demo = join(import.meta.dirname, "../../demo/model");
const tokens = { bosToken: "<s>", eosToken: "</s>" };
const messages = [
  { role: "user", content: "hi" },
  { role: "assistant", content: "ho" },
];
let open: ChatTemplate | undefined;
afterEach(() => open?.close());

function template(text: string, timeout?: number): ChatTemplate {
  open = new ChatTemplate(text, tokens, timeout);
  return open;
}

describe("ChatTemplate", () => {
  test("renders the demo model's template, again and again", async () => {
    open = await loadChatTemplate(demo, await loadTokenizer(demo));
    const text = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nho<|im_end|>\n";
    for (let round = 0; round < 3; round++) expect(await open!.render(messages, "f:1")).toBe(text);
  });

  test("gives what templates expect: special tokens, no tools, no prompt for a further answer", async () => {
    const text =
      "{{bos_token}}{% if tools is none %}T{% endif %}{% if add_generation_prompt %}G{% endif %}{{eos_token}}";
    expect(await template(text).render(messages, "f:1")).toBe("<s>T</s>");
  });

  test("the clock stands still, so that the same text comes out every day", async () => {
    expect(await template("{{ strftime_now('%Y-%m-%d') }}").render(messages, "f:1")).toBe("2025-01-01");
  });

  test.each([
    ["an unknown filter", "{{ messages | no_such_filter }}"],
    ["a syntax error", "{% for %}"],
    ["its own refusal", "{{ raise_exception('only one turn') }}"],
    ["recursion without end", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"],
    ["a way out of the sandbox", "{{ messages.constructor.constructor('return process')().exit() }}"],
  ])("names %s and goes on", async (_, text) => {
    const it = template(text);
    for (let round = 0; round < 2; round++) {
      await expect(it.render(messages, "f.jsonl:9")).rejects.toMatchObject({
        code: "CALIBRATION_TEMPLATE",
        where: "f.jsonl:9",
      });
    }
  });

  test("a loop that takes too long is ended, and the next conversation is tried anew", async () => {
    const text =
      "{% if messages[0].content == 'hi' %}{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}{% endif %}ok";
    const it = template(text, 1500);
    await expect(it.render(messages, "f:1")).rejects.toMatchObject({ code: "CALIBRATION_TEMPLATE_LIMIT" });
    expect(await it.render([{ role: "user", content: "x" }], "f:2")).toBe("ok");
  });

  test.each([
    ["a list", "{% for i in range(1000000000000) %}{% endfor %}"],
    [
      "a text",
      "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    ],
    [
      "many lists",
      "{% set ns = namespace(x=[1,2,3]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
    ],
  ])("%s that grows without end is stopped", async (_, text) => {
    await expect(template(text).render(messages, "f:1")).rejects.toMatchObject({
      code: expect.stringMatching(/^CALIBRATION_TEMPLATE(_LIMIT)?$/),
    });
  });
});

describe("loadChatTemplate", () => {
  const root = temporaryFolder();
  const load = async (name: string, files: Record<string, string>, config: Record<string, unknown>) => {
    const folder = join(root, name);
    mkdirSync(folder);
    for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, file), content);
    open = await loadChatTemplate(folder, { ...tokens, config } as unknown as TextTokenizer);
    return open?.render(messages, "f:1");
  };

  test("the .jinja file comes first, then tokenizer_config.json, then chat_template.json", async () => {
    const json = { "chat_template.json": JSON.stringify({ chat_template: "json" }) };
    const list = [
      { name: "tool_use", template: "tools" },
      { name: "default", template: "default" },
    ];
    expect(await load("a", { "chat_template.jinja": "file", ...json }, { chat_template: "config" })).toBe("file");
    expect(await load("b", json, { chat_template: "config" })).toBe("config");
    expect(await load("c", json, { chat_template: list })).toBe("default");
    expect(await load("d", json, {})).toBe("json");
    expect(await load("e", {}, {})).toBeUndefined();
  });

  test("a huge template is refused", async () => {
    await expect(load("f", { "chat_template.jinja": "x".repeat(2 ** 20 + 1) }, {})).rejects.toMatchObject({
      code: "CALIBRATION_TEMPLATE_LIMIT",
    });
  });
});
