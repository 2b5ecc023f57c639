import { stringify } from "yaml";

/** What the files of a cluster's scheduler are made from. */
export interface ClusterStudy {
  readonly title: string;
  /** The study's file and its folder, as all machines see them. */
  readonly file: string;
  readonly out: string;
  readonly workers: number;
}

/** A SLURM job array of workers without a queue. */
export function slurmScript({ title, file, out, workers }: ClusterStudy): string {
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
# The folder must be the same on all nodes. When the array has ended, this collects the results:
#   ream study ${shellWord(file)} --out ${shellWord(out)}
set -euo pipefail
exec ream worker --study ${shellWord(file)} --out ${shellWord(out)} --index "$SLURM_ARRAY_TASK_ID" --of ${workers}
`;
}

/** An Indexed Job of Kubernetes with workers without a queue. */
export function kubernetesJob({ title, file, out, workers }: ClusterStudy): string {
  const command = ["ream", "worker", "--study", file, "--out", out, "--index", "$(JOB_COMPLETION_INDEX)"];
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
              resources: { requests: { cpu: "16", memory: "64Gi" }, limits: { memory: "64Gi" } },
              volumeMounts: [{ name: "shared", mountPath: "/REPLACE: where the study's file, model and folder lie" }],
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
# THIS-FILE. When the job has ended, this collects the results: ream study ${shellWord(file)} --out ${shellWord(out)}
`;
  return heading + stringify(job, { lineWidth: 0 });
}

/** A word of a shell, quoted where it needs to be. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
