import { describe, expect, test } from "vitest";
import { ProgressDisplay } from "../../src/cli/progress.js";
import { ProgressState } from "../../src/cli/progress-state.js";
import type { CompressEvent } from "../../src/pipeline/events.js";

type ProgressEvent = Extract<CompressEvent, { type: "progress" }>;

function progress(share: number, rest: Partial<ProgressEvent> = {}): ProgressEvent {
  return { type: "progress", layer: 0, layers: 4, phase: "observe", share, memory: 2.1e9, ...rest };
}

describe("ProgressState", () => {
  test("speed is that of the phase, time left that of the whole run", () => {
    let now = 100;
    const state = new ProgressState(() => now);
    const first = state.update(progress(0, { phase: "load" }));
    expect(first.tokensPerSecond).toBeUndefined();
    expect(first.secondsLeft).toBeUndefined();
    now = 104;
    const second = state.update(progress(0.1, { tokens: { done: 2000, total: 8000 } }));
    expect(second.tokensPerSecond).toBe(500);
    expect(second.secondsLeft).toBeCloseTo(36);
    now = 110;
    const next = state.update(progress(0.2, { phase: "forward", tokens: { done: 3000, total: 8000 } }));
    expect(next.tokensPerSecond).toBe(500);
    expect(next.secondsLeft).toBeCloseTo(40);
  });

  test("layers from an earlier run do not make the rest look faster", () => {
    let now = 0;
    const state = new ProgressState(() => now);
    state.update(progress(0.5));
    now = 10;
    expect(state.update(progress(0.6)).secondsLeft).toBeCloseTo(40);
  });
});

describe("ProgressDisplay", () => {
  function display(live: boolean, columns = 200) {
    const written: string[] = [];
    let now = 0;
    const shown = new ProgressDisplay({ columns, write: (text) => written.push(text) }, { live, now: () => now });
    return { written, shown, tick: (seconds: number) => (now += seconds) };
  }

  test("in a log, a study's parts are told each", () => {
    const { written, shown } = display(false);
    for (const total of [2, 20])
      for (let done = 0; done <= total; done++) shown.update({ type: "study", done, failed: 0, total });
    expect(written.map((line) => line.trim())).toEqual([
      ...["jobs  1 of 2 done", "jobs  2 of 2 done"],
      ...Array.from({ length: 10 }, (_, i) => `jobs  ${2 * (i + 1)} of 20 done`),
    ]);
  });

  test("in a log, one line for every tenth", () => {
    const { written, shown, tick } = display(false);
    for (let step = 0; step <= 1000; step++) {
      tick(0.01);
      shown.update(progress(step / 1000, { layer: Math.min(3, Math.floor(step / 250)) }));
    }
    shown.end();
    expect(written).toHaveLength(10);
    expect(written.every((line) => line.endsWith("\n"))).toBe(true);
    expect(written.join("")).not.toContain("\u001b");
    expect(written[4]).toMatch(/^ 50 % {2}layer 3\/4 {2}observe .* left {2}2\.10 GB\n$/);
  });

  test("on a terminal, one line that fits and is drawn at most ten times a second", () => {
    const { written, shown, tick } = display(true, 40);
    for (let step = 0; step <= 1000; step++) {
      tick(0.001);
      shown.update(progress(step / 2000));
    }
    shown.end();
    expect(written.length).toBeLessThanOrEqual(12);
    expect(written.length).toBeGreaterThan(5);
    for (const text of written) {
      expect(text.startsWith("\r\u001b[2K")).toBe(true);
      expect(text).not.toContain("\n");
      expect(text.length - 5).toBeLessThan(40);
    }
    expect(written.at(-1)).toBe("\r\u001b[2K");
  });

  test("notes, waits and files have their own lines", () => {
    const { written, shown } = display(false);
    shown.update({ type: "note", message: "math holds 812 sequences" });
    shown.update({ type: "hub.retry", url: "https://x/y", reason: "503", seconds: 4 });
    shown.update({ type: "shard", file: "a.safetensors", done: 5, total: 10 });
    shown.update({ type: "shard", file: "b.safetensors", done: 10, total: 10 });
    expect(written).toEqual([
      "note: math holds 812 sequences\n",
      "waiting 4.0 s before another try: 503 (https://x/y)\n",
      "writing  5 B of 10 B  a.safetensors\n",
      "writing  10 B of 10 B  b.safetensors\n",
    ]);
  });

  test("downloads are told by tenths", () => {
    const { written, shown } = display(false);
    const event = {
      type: "hub.download" as const,
      repository: "o/n",
      file: "f",
      received: 0,
      size: 1000,
      totalSize: 1000,
    };
    for (let totalReceived = 0; totalReceived <= 1000; totalReceived += 10) shown.update({ ...event, totalReceived });
    expect(written).toHaveLength(10);
    expect(written.at(-1)).toBe("downloading  1.00 kB of 1.00 kB  f\n");
  });
});
