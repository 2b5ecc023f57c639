import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** A Python script that answers each JSON line with one. */
export class PythonLines {
  private readonly child: ChildProcess;
  private readonly answers: AsyncIterator<string>;

  constructor(python: string, script: string) {
    this.child = spawn(python, [script], { stdio: ["pipe", "pipe", "inherit"] });
    this.answers = createInterface(this.child.stdout!)[Symbol.asyncIterator]();
  }

  async ask<T>(question: object): Promise<T> {
    this.child.stdin!.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await this.answers.next();
    if (done) throw new Error("PyTorch ended without an answer");
    return JSON.parse(value) as T;
  }

  close(): void {
    this.child.stdin!.end();
  }
}
