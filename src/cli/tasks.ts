import { Command } from "commander";
import type { Task } from "../evaluate/task.js";
import { findTasks, listTasks } from "../evaluate/tasks/registry.js";
import { formatTable } from "../format.js";
import { addOutputOptions, type OutputFlags, runCommand } from "./run-command.js";
import { styleFor } from "./style.js";

export function tasksCommand(done: (status: number) => void): Command {
  const command = new Command("tasks")
    .summary("list the benchmarks")
    .description(
      "Lists the tasks that `ream evaluate --tasks` can name. Without names: all, the subjects of mmlu as one.",
    )
    .argument("[names...]", "tasks, groups, suites or task files");
  return addOutputOptions(command).action(async (names: string[], flags: OutputFlags) => {
    done(
      await runCommand(flags, async () => {
        const known = listTasks();
        const tasks = await findTasks(names.length > 0 ? names : known.tasks);
        const shown =
          names.length > 0 ? tasks : tasks.filter(({ groups }) => groups === undefined || groups.length < 2);
        const [header, ...rows] = formatTable([
          ["task", "suite", "metric", "examples", "chat", "rows"],
          ...shown.map(taskRow),
        ]).split("\n");
        const ends = [`Suites: ${known.suites.join(", ")}. Groups: ${known.groups.join(", ")}.`];
        const text = [styleFor(process.stdout).bold(header!), ...rows, "", ...ends, ""].join("\n");
        return { json: { suites: known.suites, groups: known.groups, tasks: tasks.map(taskJson) }, text };
      }),
    );
  });
}

function taskRow(task: Task): string[] {
  const { name, suite, primary, fewshot, chat, data } = task;
  const place =
    "repository" in data ? `${data.repository}${data.config ? ` ${data.config}` : ""}, ${data.split}` : "local";
  return [name, suite, primary, String(fewshot.count), chat ?? "none", place];
}

function taskJson({ name, version, kind, suite, groups = [], primary, fewshot, chat, data }: Task) {
  return { name, version, kind, suite, groups, primary, fewshot: fewshot.count, chat: chat ?? "none", data };
}
