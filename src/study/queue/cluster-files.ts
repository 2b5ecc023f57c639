import { stringify } from "yaml";

/** What the files of a cluster's scheduler are made from. */
export interface ClusterStudy {
  readonly title: string;
  /** The study's file and its folder, as all machines see them. */
  readonly file: string;
  readonly out: string;
  /** s3://bucket/prefix, where machines do not see the same folder. */
  readonly store: string | undefined;
  readonly workers: number;
}

/** A SLURM job array of workers without a queue. */
export function slurmScript({ title, file, out, store, workers }: ClusterStudy): string {
  const study = `${shellWord(file)} --out ${shellWord(out)}${store === undefined ? "" : ` --store ${shellWord(store)}`}`;
  const folder =
    store === undefined
      ? "The folder must be the same on all nodes."
      : "Every node has a folder of its own there; AWS_ACCESS_KEY_ID and so on come from the environment of sbatch.";
  return `#!/bin/bash
#SBATCH --job-name=ream-study
#SBATCH --array=0-${workers - 1}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=ream-study-%A_%a.log

# ${title.replaceAll(/\s+/g, " ")}
# Set processors, memory and time to what the model takes (\`ream inspect MODEL\`), then: sbatch THIS-FILE
# ${folder}
# When the array has ended, this collects the results:
#   ream study ${study}
set -euo pipefail
exec ream worker --study ${study} --index "$SLURM_ARRAY_TASK_ID" --of ${workers}
`;
}

/** An Indexed Job of Kubernetes with workers without a queue. */
export function kubernetesJob({ title, file, out, store, workers }: ClusterStudy): string {
  const study = [file, "--out", out, ...(store === undefined ? [] : ["--store", store])];
  const command = ["ream", "worker", "--study", ...study, "--index", "$(JOB_COMPLETION_INDEX)"];
  const job = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: "ream-study" },
    spec: {
      completionMode: "Indexed",
      completions: workers,
      parallelism: workers,
      backoffLimitPerIndex: 3,
      template: {
        spec: {
          restartPolicy: "Never",
          terminationGracePeriodSeconds: 60,
          containers: [
            {
              name: "worker",
              image: "REPLACE: an image that has ream",
              command: [...command, "--of", String(workers)],
              ...(store !== undefined && {
                envFrom: [
                  { secretRef: { name: "REPLACE: a secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ..." } },
                ],
              }),
              resources: { requests: { cpu: "16", memory: "64Gi" }, limits: { memory: "64Gi" } },
              volumeMounts: [
                {
                  name: "shared",
                  mountPath: `/REPLACE: where the study's file${store === undefined ? ", model and folder" : " and model"} lie`,
                },
              ],
            },
          ],
          volumes: [
            { name: "shared", persistentVolumeClaim: { claimName: "REPLACE: a claim that many pods may write to" } },
          ],
        },
      },
    },
  };
  const heading = `# ${title.replaceAll(/\s+/g, " ")}
# Fill in what says REPLACE, set processors and memory to what the model takes (\`ream inspect MODEL\`), then: kubectl apply -f
# THIS-FILE. When the job has ended, this collects the results: ream study ${study.map(shellWord).join(" ")}
`;
  return heading + stringify(job, { lineWidth: 0 });
}

/** A word of a shell, quoted where it needs to be. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
