import { resolve } from "node:path";
import { Command } from "commander";
import { type Diagnosis, diagnose } from "../doctor/doctor.js";
import type { KernelResult } from "../doctor/self-test.js";
import { formatBytes, formatTable } from "../format.js";
import { EXIT } from "./failures.js";
import { addOutputOptions, type Outcome, type OutputFlags, runCommand } from "./run-command.js";

interface Flags extends OutputFlags {
  readonly folder: string;
}

export function doctorCommand(done: (status: number) => void): Command {
  const command = new Command("doctor")
    .summary("what this machine is, and whether its kernels compute what they should")
    .description(
      "Shows what the program finds on this machine, and compares every operation of the Rust core with the TypeScript\nreference, with each instruction set that the machine has.",
    )
    .option("--folder <dir>", "folder whose disk is measured", ".");
  addOutputOptions(command);
  return command.action(async ({ folder, ...flags }: Flags) => {
    done(await runCommand(flags, async ({ signal }) => doctorOutcome(await diagnose(resolve(folder), signal))));
  });
}

/** A diagnosis as the command prints it; the status tells whether all is well. */
export function doctorOutcome(found: Diagnosis): Outcome {
  const { versions, cpu, native, memory, disk, gpu } = found;
  const speed = (bytes: number) => `${formatBytes(bytes)}/s`;
  const limit = memory.limit === undefined ? "no limit" : `limit ${formatBytes(memory.limit)}`;
  const rows = [
    ["ream", `${versions.ream}, Node ${versions.node}, ${versions.platform} ${versions.system}`],
    ["processor", `${cpu.model}, ${cpu.cores} ${cpu.cores === 1 ? "core" : "cores"}`],
    ["features", cpu.features === undefined ? "not told by this system" : cpu.features.join(" ") || "none"],
    ["native core", native.loaded ? native.rust : `none. ${native.reason} ${native.hint ?? ""}`.trim()],
    ...(native.loaded
      ? [["instruction set", `${native.variant} in use (${native.variants.join(", ")}), ${native.threads}`]]
      : []),
    ["memory", `${formatBytes(memory.total)}, ${formatBytes(memory.available)} available, ${limit}`],
    ["disk", `${formatBytes(disk.free)} of ${formatBytes(disk.total)} free at ${disk.folder}`],
    [
      "disk speed",
      `writes ${speed(disk.writeSpeed)}, reads ${speed(disk.readSpeed)}${disk.readFromCache ? " (from the system's cache)" : ""}`,
    ],
    ["GPU libraries", gpu.map(({ name, path }) => `${name} (${path})`).join(", ") || "none found"],
  ];
  const width = Math.max(...rows.map(([name]) => name!.length));
  const facts = rows.map(([name, value]) => `${name!.padEnd(width)}  ${value}`).join("\n");
  return {
    json: { ...found },
    text: `${facts}\n\n${describeKernels(found)}\n`,
    status: found.healthy ? EXIT.done : EXIT.failed,
  };
}

function describeKernels({ kernels, selfTestSeconds, healthy }: Diagnosis): string {
  if (kernels.length === 0) return "No kernels were tested.";
  const columns = [...new Set(kernels.map(({ variant, precision }) => `${variant} ${precision}`))];
  const names = (result: KernelResult) => result.operations.join(", ");
  const rows = [...new Set(kernels.map(names))].map((operations) => [
    operations,
    ...columns.map((column) => {
      const results = kernels.filter((result) => names(result) === operations);
      return cell(results.find(({ variant, precision }) => `${variant} ${precision}` === column)!);
    }),
  ]);
  const failures = kernels.flatMap(({ failure, operations }) =>
    failure === undefined ? [] : [`${operations.join(", ")}: ${failure}`],
  );
  const wrong = kernels.filter(({ right }) => !right).length;
  const verdict = healthy
    ? `All ${kernels.length} kernels are right (${selfTestSeconds.toFixed(1)} s).`
    : `${wrong} of ${kernels.length} kernels are WRONG: do not trust results of this build on this machine.`;
  const title = "Largest difference from the TypeScript reference, relative to the largest result";
  return [title, formatTable([["operations", ...columns], ...rows]), ...new Set(failures), verdict].join("\n");
}

function cell({ difference, right }: KernelResult): string {
  const number = difference === 0 ? "0" : difference.toExponential(0);
  return right ? number : `${number} WRONG`;
}
