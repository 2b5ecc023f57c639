import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { BIN } from "../../support/command.js";

export const REDIS_MISSING = spawnSync("redis-server", ["--version"]).status !== 0;
if (REDIS_MISSING)
  console.warn("SKIPPED: redis-server is missing, so that queues are not tested (apt-get install redis-server).");

/** A program whose output is kept, and can be waited for. */
export class Program {
  private readonly child: ChildProcess;
  output = "";
  readonly ended: Promise<number | null>;

  constructor(command: string, args: readonly string[]) {
    this.child = spawn(command, args, {
      env: { ...process.env, HF_HUB_OFFLINE: "1", NO_COLOR: "1", REAM_DEBUG: "" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    }
    this.ended = new Promise((resolve) => this.child.on("close", resolve));
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Waits until the output shows a text. */
  async shows(text: RegExp, seconds = 60): Promise<void> {
    await until(() => text.test(this.output), `${text}\n${this.output}`, seconds);
  }
}

export function ream(...args: readonly string[]): Program {
  return new Program(process.execPath, [BIN, ...args]);
}

export async function until(condition: () => boolean | Promise<boolean>, what: string, seconds = 60): Promise<void> {
  const began = performance.now();
  while (!(await condition())) {
    if (performance.now() - began > 1000 * seconds) throw new Error(`waited in vain for ${what}`);
    await sleep(50);
  }
}

/** A server of its own, which keeps what it knows in a folder. */
export class RedisServer {
  private program: Program | undefined;

  private constructor(
    private readonly folder: string,
    private readonly port: number,
  ) {}

  static async start(folder: string): Promise<RedisServer> {
    mkdirSync(folder, { recursive: true });
    const server = new RedisServer(folder, await freePort());
    await server.restart();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async restart(): Promise<void> {
    const options = ["--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.folder];
    this.program = new Program("redis-server", [...options, "--save", "", "--appendonly", "yes"]);
    await this.program.shows(/Ready to accept connections/);
  }

  async kill(): Promise<void> {
    this.program?.kill("SIGKILL");
    await this.program?.ended;
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
