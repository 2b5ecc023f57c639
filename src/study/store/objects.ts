import type { FileHandle } from "node:fs/promises";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { z } from "zod";
import { parseJson } from "../../checkpoint/json.js";
import { ReamError } from "../../errors.js";
import type { StoreAddress } from "./address.js";
import { PATIENCE, type Patience, patiently, statusOf } from "./patience.js";

/** Bytes of a file that are in memory at a time. S3 wants parts of 5 MiB at least, and 10,000 of them at most. */
const PART = 8 * 2 ** 20;
const PARTS = 10_000;
/** Milliseconds without data after which a connection counts as dead. */
const STALL = 60_000;

export interface ObjectsOptions {
  readonly signal?: AbortSignal | undefined;
  readonly patience?: Patience;
  /** Bytes of a part; for tests. */
  readonly part?: number;
}

/**
 * The objects below an address in an S3-compatible store. Every call waits for a store that is down (patience.ts).
 * Errors: STORE_UNREACHABLE, STORE_REFUSED.
 */
export class Objects {
  private readonly client = new S3Client(settings(process.env));
  private readonly patience: Patience;
  private readonly signal: AbortSignal | undefined;
  private readonly part: number;

  constructor(
    readonly address: StoreAddress,
    { signal, patience = PATIENCE, part = PART }: ObjectsOptions = {},
  ) {
    this.signal = signal;
    this.patience = patience;
    this.part = part;
  }

  /** A small object; undefined where there is none. */
  async get(key: string): Promise<string | undefined> {
    return this.ifThere(key, async (abort) => {
      const { Body } = await this.client.send(new GetObjectCommand(this.at(key)), abort);
      return Body!.transformToString("utf8");
    });
  }

  /** A small object of JSON; undefined where there is none. Errors: STORE_DAMAGED. */
  async getJson<T>(key: string, schema: z.ZodType<T>): Promise<T | undefined> {
    const text = await this.get(key);
    if (text === undefined) return undefined;
    const parsed = schema.safeParse(parseJson(text, this.placeOf(key)));
    if (parsed.success) return parsed.data;
    throw damaged(this.placeOf(key), z.prettifyError(parsed.error));
  }

  /** Bytes of an object; undefined where there is none. */
  async size(key: string): Promise<number | undefined> {
    return this.ifThere(key, async (abort) => {
      const { ContentLength } = await this.client.send(new HeadObjectCommand(this.at(key)), abort);
      return ContentLength!;
    });
  }

  /** Puts a small object, which appears whole or not at all. */
  async put(key: string, content: string | Uint8Array): Promise<void> {
    await this.trying(key, (abort) =>
      this.client.send(new PutObjectCommand({ ...this.at(key), Body: content }), abort),
    );
  }

  async putJson(key: string, value: unknown): Promise<void> {
    await this.put(key, jsonText(value));
  }

  /** Puts an object of JSON where there is none. Stores that do not know the condition replace what is there. */
  async putNewJson(key: string, value: unknown): Promise<void> {
    await this.trying(key, async (abort) => {
      try {
        await this.client.send(
          new PutObjectCommand({ ...this.at(key), Body: jsonText(value), IfNoneMatch: "*" }),
          abort,
        );
      } catch (error) {
        if (statusOf(error) !== 412) throw error;
      }
    });
  }

  /** Puts the first `bytes` of a file, which appear whole or not at all; a part at a time is in memory. */
  async putFile(key: string, file: FileHandle, bytes: number): Promise<void> {
    if (bytes <= this.part) return this.put(key, await readPart(file, 0, bytes));
    const size = Math.max(this.part, Math.ceil(bytes / PARTS));
    const { UploadId } = await this.trying(key, (abort) =>
      this.client.send(new CreateMultipartUploadCommand(this.at(key)), abort),
    );
    const upload = { ...this.at(key), UploadId };
    try {
      const Parts: { ETag: string | undefined; PartNumber: number }[] = [];
      for (let begin = 0; begin < bytes; begin += size) {
        const PartNumber = Parts.length + 1;
        const Body = await readPart(file, begin, Math.min(begin + size, bytes));
        const { ETag } = await this.trying(key, (abort) =>
          this.client.send(new UploadPartCommand({ ...upload, PartNumber, Body }), abort),
        );
        Parts.push({ ETag, PartNumber });
      }
      await this.trying(key, (abort) =>
        this.client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }), abort),
      );
    } catch (error) {
      // The answer to a completion may have been lost; then the upload is unknown, and the object there.
      if (!this.signal?.aborted && (await this.size(key).catch(() => undefined)) === bytes) return;
      await this.client.send(new AbortMultipartUploadCommand(upload)).catch(() => undefined);
      throw error;
    }
  }

  /**
   * Passes on the bytes of an object as they come. A connection that is cut is taken up where it ended.
   * Errors: STORE_DAMAGED where the object is missing, or shorter than `bytes`.
   */
  async getFile(key: string, bytes: number, write: (chunk: Uint8Array) => Promise<void>): Promise<void> {
    for (let done = 0; done < bytes; ) {
      await this.trying(key, async (abort) => {
        const before = done;
        try {
          const range = { ...this.at(key), Range: `bytes=${done}-` };
          const { Body } = await this.client.send(new GetObjectCommand(range), abort);
          for await (const chunk of Body as AsyncIterable<Uint8Array>) {
            await write(chunk);
            done += chunk.length;
          }
        } catch (error) {
          if (statusOf(error) === 404 || statusOf(error) === 416)
            throw damaged(this.placeOf(key), "an object is missing, or too short");
          // What has come counts as an answer: patience begins anew.
          if (done === before) throw error;
        }
      });
    }
  }

  /** For people. */
  placeOf(key: string): string {
    return `${this.address.url}/${key}`;
  }

  close(): void {
    this.client.destroy();
  }

  private at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.address.bucket, Key: this.address.prefix + key };
  }

  private ifThere<T>(key: string, work: (abort: { abortSignal?: AbortSignal }) => Promise<T>): Promise<T | undefined> {
    return this.trying(key, (abort) =>
      work(abort).catch((error) => {
        if (statusOf(error) === 404 && error.name !== "NoSuchBucket") return undefined;
        throw error;
      }),
    );
  }

  private trying<T>(key: string, work: (abort: { abortSignal?: AbortSignal }) => Promise<T>): Promise<T> {
    const { signal } = this;
    const abort = signal === undefined ? {} : { abortSignal: signal };
    return patiently(this.placeOf(key), this.patience, signal, () => work(abort));
  }
}

/** What the customary variables say; keys, and what files of ~/.aws and machines of AWS tell, the library finds itself. */
function settings(environment: NodeJS.ProcessEnv): S3ClientConfig {
  // Its version is pinned, and which Node.js it will want later is nothing that who uses this program can act on.
  environment.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
  const set = (name: string) => environment[name]?.trim() || undefined;
  const endpoint = set("AWS_ENDPOINT_URL_S3") ?? set("AWS_ENDPOINT_URL");
  const amazon = endpoint === undefined || /\.amazonaws\.com(\.cn)?(:\d+)?\/*$/.test(endpoint);
  const region = set("AWS_REGION") ?? set("AWS_DEFAULT_REGION") ?? (amazon ? undefined : "us-east-1");
  return {
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
    // bucket.host is a name that other stores need not have.
    forcePathStyle: !amazon,
    // Other stores need not know the newer checksums; bundle.ts has digests of its own.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // patience.ts tries again, and for longer.
    maxAttempts: 1,
    requestHandler: { connectionTimeout: 10_000, socketTimeout: STALL },
  };
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

export function damaged(where: string, what: string): ReamError {
  return new ReamError("STORE_DAMAGED", `what lies in the store is damaged: ${what}`, {
    where,
    hint: "Delete the folder of this job or unit in the store; it will be done again.",
  });
}

async function readPart(file: FileHandle, begin: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - begin);
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, begin + done);
    if (bytesRead === 0) throw new Error("a file has become shorter while it was put up");
    done += bytesRead;
  }
  return bytes;
}
