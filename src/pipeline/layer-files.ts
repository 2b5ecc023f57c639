import { mkdir, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeDurably, writeError, writeFully } from "../checkpoint/durable.js";
import type { OutputFolder } from "../checkpoint/output.js";
import { SafetensorsFile } from "../checkpoint/safetensors.js";
import { type ShardTensor, writeTensors } from "../checkpoint/shard-writer.js";

/**
 * What a run keeps of each layer until its output is written: a safetensors file, and a report whose file says that the
 * layer is whole. A file is there when it is whole, even after a crash.
 */
export class LayerFiles<Report extends { readonly layer: number }> {
  /** The file that was read last; several tensors of it are asked for at once. */
  private last: { readonly layer: number; readonly file: Promise<SafetensorsFile> } | undefined;
  private readonly reports = new Map<number, Promise<Report>>();

  private constructor(
    private readonly folder: string,
    private readonly temporary: boolean,
  ) {}

  /** @param name of the folder in an unfinished output, which goes with it; in a dry run it is a temporary one */
  static async open<Report extends { readonly layer: number }>(
    output: OutputFolder | undefined,
    name: string,
  ): Promise<LayerFiles<Report>> {
    if (output === undefined) return new LayerFiles(await mkdtemp(join(tmpdir(), "ream-")), true);
    const folder = join(output.partial, name);
    await mkdir(folder, { recursive: true });
    return new LayerFiles(folder, false);
  }

  /** Whether a layer is whole. */
  has(layer: number): Promise<boolean> {
    return stat(this.reportPath(layer)).then(
      (stats) => stats.isFile(),
      () => false,
    );
  }

  /** Keeps tensors of a layer, in their order. Errors: OUTPUT_WRITE. */
  async write(layer: number, tensors: readonly ShardTensor[]): Promise<void> {
    await this.put(this.tensorPath(layer), (handle) => writeTensors(handle, tensors, {}, "given"));
  }

  /** Says that a layer is whole, and what was done to it. */
  async finish(report: Report): Promise<void> {
    await this.put(this.reportPath(report.layer), (handle) => writeFully(handle, Buffer.from(JSON.stringify(report))));
  }

  /** What was done to a layer that is whole. */
  report(layer: number): Promise<Report> {
    const known =
      this.reports.get(layer) ?? readFile(this.reportPath(layer), "utf8").then((text): Report => JSON.parse(text));
    this.reports.set(layer, known);
    return known;
  }

  /** The tensors of a layer. */
  async tensors(layer: number): Promise<SafetensorsFile> {
    if (this.last?.layer === layer) return this.last.file;
    const closed = this.closeLast();
    const file = closed.then(() => SafetensorsFile.open(this.tensorPath(layer)));
    this.last = { layer, file };
    return file;
  }

  /** Closes what is open, and removes a temporary folder. */
  async close(): Promise<void> {
    await this.closeLast();
    if (this.temporary) await rm(this.folder, { recursive: true, force: true });
  }

  private async closeLast(): Promise<void> {
    const { last } = this;
    this.last = undefined;
    await (await last?.file)?.close();
  }

  private tensorPath(layer: number): string {
    return join(this.folder, `layer-${layer}.safetensors`);
  }

  private reportPath(layer: number): string {
    return join(this.folder, `layer-${layer}.json`);
  }

  private async put(path: string, write: Parameters<typeof writeDurably>[2]): Promise<void> {
    await writeDurably(path, `${path}.new`, write).catch((error: unknown) => {
      throw writeError(error, path);
    });
  }
}

/** What some work keeps of finished layers until the output is written; `write` is its own. */
export class FinishedLayers<Report extends { readonly layer: number }> {
  constructor(protected readonly files: LayerFiles<Report>) {}

  /** Whether a layer is finished. */
  has(layer: number): Promise<boolean> {
    return this.files.has(layer);
  }

  /** What was done to a finished layer. */
  report(layer: number): Promise<Report> {
    return this.files.report(layer);
  }

  close(): Promise<void> {
    return this.files.close();
  }
}
