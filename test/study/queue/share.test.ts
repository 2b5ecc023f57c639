import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { StudyJobs } from "../../../src/study/expand.js";
import { type Job, type JobSpec, makeJob } from "../../../src/study/job.js";
import type { JobOutcome, JobQueue } from "../../../src/study/job-queue.js";
import { kubernetesJob, slurmScript } from "../../../src/study/queue/cluster-files.js";
import { doShare } from "../../../src/study/queue/share.js";
import { SharedFolder } from "../../../src/study/store/store.js";

const out = mkdtempSync(join(tmpdir(), "ream-share-"));
afterAll(() => rmSync(out, { recursive: true, force: true }));

const common = {
  model: "m",
  identity: "i",
  engine: { backend: "auto", precision: "auto", threads: undefined },
} as const;
const judging = { tasks: [], data: [], limit: undefined, heldOut: {}, heldOutSequences: 1, length: 8 };
const text = { domains: {}, fields: {}, sequences: 8, length: 8, seed: 1 };
const original = makeJob({ ...common, kind: "original", judging });
const observation = makeJob({ ...common, kind: "observe", text, mixes: [] });
const compressions = [1, 2, 3, 4].map((experts) => {
  const spec: JobSpec = {
    ...common,
    ...{ kind: "compress", text, judging, name: "reap", method: "reap", settings: {}, experts, mix: "a=1" },
    ...{ observed: observation.id, keepModel: false },
  };
  return makeJob(spec);
});
const jobs: StudyJobs = {
  limits: { experts: 8, topK: 1, step: 1, least: 1 },
  original,
  observations: [observation],
  compressions,
};

/** Does nothing, and notes what was to be done. */
function noting(done: Job[]): JobQueue {
  return {
    async *run(list) {
      done.push(...list);
      const common = { format: "ream-study-job", version: 1, spec: {}, seconds: 0 } as const;
      return new Map(
        list.map((job): [string, JobOutcome] => {
          const { id, label } = job;
          return [id, { state: "done", job, result: { ...common, id, label, notes: [] } }];
        }),
      );
    },
  };
}

async function shareOf(index: number, of: number, options: { patience: number }): Promise<Job[]> {
  const done: Job[] = [];
  const signal = new AbortController().signal;
  const run = doShare(jobs, {
    store: new SharedFolder(out),
    queue: noting(done),
    signal,
    index,
    of,
    pause: 5,
    ...options,
  });
  for (let step = await run.next(); !step.done; step = await run.next());
  return done;
}

describe("shares of a study's jobs", () => {
  test("are all jobs, each in one", async () => {
    const shares = [];
    for (const index of [0, 1, 2, 3]) shares.push(await shareOf(index, 4, { patience: 0 }));
    const own = shares.map((done, index) => done.filter((job) => index === 1 || job !== observation));
    expect(
      own
        .flat()
        .map(({ id }) => id)
        .sort(),
    ).toEqual([original, observation, ...compressions].map(({ id }) => id).sort());
  });

  test("include what they need where nobody else shows a sign of life", async () => {
    const began = performance.now();
    expect(await shareOf(2, 4, { patience: 100 })).toEqual([observation, compressions[0]]);
    expect(performance.now() - began).toBeGreaterThan(95);
    expect(await shareOf(1, 4, { patience: 1e6 })).toEqual([observation, compressions[3]]);
  });

  test("wait as long as somebody works at it", async () => {
    const attempt = (n: number) => join(out, "jobs", observation.id, `attempt-${n}`);
    let signs = 0;
    const alive = setInterval(() => mkdirSync(attempt(signs++), { recursive: true }), 30);
    setTimeout(() => clearInterval(alive), 400);
    const began = performance.now();
    await shareOf(2, 4, { patience: 150 });
    expect(performance.now() - began).toBeGreaterThan(400);
    rmSync(join(out, "jobs"), { recursive: true });
  });
});

describe("files of schedulers", () => {
  const study = {
    title: "A\nstudy",
    file: "/data/it's here/study.yaml",
    out: "/data/out",
    store: undefined,
    workers: 5,
  };

  test("SLURM: an array of workers", () => {
    const script = slurmScript(study);
    expect(script).toContain("#SBATCH --array=0-4\n");
    expect(script).toContain("# A study\n");
    expect(script).toContain(
      `\nexec ream worker --study '/data/it'\\''s here/study.yaml' --out /data/out --index "$SLURM_ARRAY_TASK_ID" --of 5\n`,
    );
  });

  test("with a store in place of a common folder", () => {
    const stored = { ...study, store: "s3://bucket/study" };
    expect(slurmScript(stored)).toContain(` --out /data/out --store s3://bucket/study --index "$SLURM_ARRAY_TASK_ID"`);
    const { spec } = parse(kubernetesJob(stored));
    const { command, envFrom } = spec.template.spec.containers[0];
    expect(command.slice(6, 8)).toEqual(["--store", "s3://bucket/study"]);
    expect(envFrom).toHaveLength(1);
  });

  test("Kubernetes: an Indexed Job", () => {
    const { spec } = parse(kubernetesJob(study));
    expect(spec).toMatchObject({ completionMode: "Indexed", completions: 5, parallelism: 5 });
    const { command } = spec.template.spec.containers[0];
    expect(command.slice(0, 4)).toEqual(["ream", "worker", "--study", study.file]);
    expect(command.slice(-4)).toEqual(["--index", "$(JOB_COMPLETION_INDEX)", "--of", "5"]);
  });
});
