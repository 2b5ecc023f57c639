import { createHash, createHmac, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const KEYS = { id: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };

/** What becomes of a request: an error, a connection that ends early, or one that ends when all is done but not told. */
export type Fault = "503" | "cut" | "lost";

interface Asked {
  readonly method: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

/** An S3 server with one bucket in memory, which checks signatures (AWS Signature Version 4) and fails when it is told to. */
export class FakeS3 {
  readonly objects = new Map<string, Buffer>();
  /** Every request, as in `PUT jobs/x`, and the bytes of the largest body. */
  readonly asked: string[] = [];
  largest = 0;
  fault: (method: string, key: string) => Fault | undefined = () => undefined;
  private readonly uploads = new Map<string, Map<number, Buffer>>();
  private server: Server | undefined;
  private port = 0;

  constructor(readonly bucket = "bucket") {}

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** What a program needs to find the server. */
  get environment(): Record<string, string> {
    return {
      AWS_ENDPOINT_URL: this.url,
      AWS_ACCESS_KEY_ID: KEYS.id,
      AWS_SECRET_ACCESS_KEY: KEYS.secret,
      AWS_REGION: "eu-test-1",
      AWS_EC2_METADATA_DISABLED: "true",
    };
  }

  async start(): Promise<void> {
    this.server = createServer((request, response) => void this.handle(request, response));
    await new Promise<void>((resolve) => this.server!.listen(this.port, "127.0.0.1", resolve));
    this.port = (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((resolve) => this.server?.close(resolve));
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return;
    }
    const { method = "", url = "", headers } = request;
    const [path = "", search = ""] = url.split("?");
    const [, bucket, ...rest] = decodeURIComponent(path).split("/");
    const asked: Asked = {
      method,
      key: rest.join("/"),
      query: new URLSearchParams(search),
      headers,
      body: Buffer.concat(chunks),
    };
    this.asked.push(`${method} ${asked.key}`);
    this.largest = Math.max(this.largest, asked.body.length);
    const fault = this.fault(method, asked.key);
    const cut = fault === "cut" || fault === "lost";
    // A request that is cut has not come; but of an answer, half does.
    if (fault === "cut" && method !== "GET") response.destroy();
    else
      send(
        response,
        fault === "503" ? error(503, "SlowDown") : this.answer(asked, bucket, signatureFault(request, path, asked)),
        cut,
      );
  }

  private answer(asked: Asked, bucket: string | undefined, refused: string | undefined): Answer {
    if (refused !== undefined) return error(403, "SignatureDoesNotMatch", refused);
    if (bucket !== this.bucket) return error(404, "NoSuchBucket");
    const upload = asked.query.get("uploadId");
    if (upload !== null) return this.serveUpload(asked, upload);
    const { method, key, query, headers, body } = asked;
    if (method === "POST" && query.has("uploads")) {
      const id = randomUUID();
      this.uploads.set(id, new Map());
      return ok(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
    }
    const there = this.objects.get(key);
    if (method === "PUT") {
      if (headers["if-none-match"] === "*" && there !== undefined) return error(412, "PreconditionFailed");
      this.objects.set(key, body);
      return ok("", { etag: etag(body) });
    }
    if (there === undefined) return error(404, "NoSuchKey");
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "bytes=0-")![1]);
    return from > 0 && from >= there.length ? error(416, "InvalidRange") : ok(there.subarray(from));
  }

  private serveUpload({ method, key, query, body }: Asked, id: string): Answer {
    const parts = this.uploads.get(id);
    if (parts === undefined) return error(404, "NoSuchUpload");
    if (method === "PUT") {
      parts.set(Number(query.get("partNumber")), body);
      return ok("", { etag: etag(body) });
    }
    this.uploads.delete(id);
    if (method === "DELETE") return ok("");
    const named = [...body.toString().matchAll(/<PartNumber>(\d+)</g)].map(([, number]) => parts.get(Number(number))!);
    this.objects.set(key, Buffer.concat(named));
    return ok(`<CompleteMultipartUploadResult><Key>${key}</Key></CompleteMultipartUploadResult>`);
  }

  /** Uploads in parts that were neither completed nor given up. */
  get unfinished(): number {
    return this.uploads.size;
  }
}

interface Answer {
  readonly status: number;
  readonly body: string | Buffer;
  readonly headers: Record<string, string>;
}

function ok(body: string | Buffer, headers: Record<string, string> = {}): Answer {
  return { status: 200, body, headers };
}

function error(status: number, code: string, message = code): Answer {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return { status, body, headers: {} };
}

/** @param cut half of a body comes, or nothing where there is none */
function send(response: ServerResponse, { status, body, headers }: Answer, cut: boolean): void {
  const whole = Buffer.from(body);
  const half = whole.subarray(0, whole.length / 2);
  if (cut && half.length === 0) {
    response.destroy();
    return;
  }
  response.writeHead(status, { "content-length": whole.length, ...headers });
  if (cut) response.write(half, () => response.destroy());
  else response.end(whole);
}

function etag(body: Buffer): string {
  return `"${createHash("md5").update(body).digest("hex")}"`;
}

/** What is wrong with a request's signature (docs.aws.amazon.com: Create a signed AWS API request); undefined: nothing. */
function signatureFault(request: IncomingMessage, path: string, { method, query, body }: Asked): string | undefined {
  const { headers } = request;
  const given =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d+)\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)$/;
  const [, id, day, region, names, signature] = given.exec(headers.authorization ?? "") ?? [];
  if (id !== KEYS.id || signature === undefined) return `no signature of ${KEYS.id}`;
  const hex = (content: string | Buffer) => createHash("sha256").update(content).digest("hex");
  const digest = String(headers["x-amz-content-sha256"]);
  if (digest !== hex(body)) return "x-amz-content-sha256 is not the digest of the body";
  const signed = names!.split(";");
  if (!signed.includes("host") || !signed.includes("x-amz-date")) return "host and date have to be signed";
  const code = (text: string) =>
    encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
  const canonical = [
    method,
    path,
    [...query]
      .map(([name, value]) => `${code(name)}=${code(value)}`)
      .sort()
      .join("&"),
    ...signed.map((name) => `${name}:${String(headers[name]).trim()}`),
    "",
    names,
    digest,
  ].join("\n");
  const scope = `${day}/${region}/s3/aws4_request`;
  const text = ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hex(canonical)].join("\n");
  const sign = (key: string | Buffer, part: string) => createHmac("sha256", key).update(part).digest();
  const key = [day!, region!, "s3", "aws4_request"].reduce<string | Buffer>(sign, `AWS4${KEYS.secret}`);
  return sign(key, text).toString("hex") === signature ? undefined : "the signature is wrong";
}
