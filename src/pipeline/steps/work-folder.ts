import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeDurably, writeError, writeFully } from "../../checkpoint/durable.js";
import type { OutputFolder } from "../../checkpoint/output.js";
import { type ShardTensor, writeTensors } from "../../checkpoint/shard-writer.js";

/** Files that a run keeps until its output is written. A file is there when it is whole, even after a crash. */
export class WorkFolder {
  private constructor(
    readonly folder: string,
    private readonly temporary: boolean,
  ) {}

  /** That of an unfinished output, which goes when the output is finished; in a dry run a temporary one. */
  static async open(output: OutputFolder | undefined, name = "steps"): Promise<WorkFolder> {
    if (output === undefined) return new WorkFolder(await mkdtemp(join(tmpdir(), "ream-")), true);
    const folder = join(output.partial, name);
    await mkdir(folder, { recursive: true });
    return new WorkFolder(folder, false);
  }

  async has(name: string): Promise<boolean> {
    return stat(join(this.folder, name)).then(
      (stats) => stats.isFile(),
      () => false,
    );
  }

  /** Writes a safetensors file in the order of its tensors. Errors: OUTPUT_WRITE. */
  async writeShard(name: string, tensors: readonly ShardTensor[]): Promise<void> {
    await this.write(name, (handle) => writeTensors(handle, tensors, {}, "given"));
  }

  async writeFile(name: string, text: string): Promise<void> {
    await this.write(name, (handle) => writeFully(handle, Buffer.from(text)));
  }

  /** Removes a temporary folder. */
  async close(): Promise<void> {
    if (this.temporary) await rm(this.folder, { recursive: true, force: true });
  }

  private async write(name: string, write: Parameters<typeof writeDurably>[2]): Promise<void> {
    const path = join(this.folder, name);
    await writeDurably(path, `${path}.new`, write).catch((error: unknown) => {
      throw writeError(error, path);
    });
  }
}
