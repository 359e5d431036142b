/** Random requests, random cuts, random ends: the server against a model. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import { pooledMap } from "@std/async/pool";
import fc from "fast-check";
import { BodyTimeoutError } from "../../../core/errors.ts";
import { SharedHeaders } from "../../../core/http/headers.ts";
import { type HttpRequest, type HttpResponse } from "../../../core/http/types.ts";
import { Client, fromLatin1, latin1, until, withServer } from "./testing.ts";

const SHARED = new SharedHeaders({ "content-type": "text/plain; charset=utf-8" });

/** What a request of the model asks for; its path says the same to {@link serve}. */
interface Wish {
  readonly method: "GET" | "HEAD" | "PUT" | "DELETE";
  /** The body: absent, with a length, or in chunks of these sizes. */
  readonly body: {
    readonly kind: "none" | "length" | "chunked";
    readonly sizes: readonly number[];
  };
  readonly reads: "bytes" | "chunks" | "nothing";
  readonly answers: "shared" | "record" | "bytes" | "stream" | "sized" | "empty";
  readonly size: number;
  readonly waits: boolean;
  readonly closes: "client" | "server" | "no";
}

const letters = (size: number, first = 0) =>
  Array.from({ length: size }, (_, i) => String.fromCharCode(97 + (i + first) % 26)).join("");

function bodyOf({ body }: Wish): string {
  return letters(body.sizes.reduce((sum, size) => sum + size, 0));
}

function requestOf(wish: Wish): string {
  const { method, body, reads, answers, size, waits, closes } = wish;
  const lines = [
    `${method} /${reads}/${answers}/${waits ? "later" : "now"}/${closes}?${size} HTTP/1.1`,
    "Host: x",
  ];
  if (closes === "client") lines.push("Connection: close");
  const data = bodyOf(wish);
  if (body.kind === "none") return [...lines, "", ""].join("\r\n");
  if (body.kind === "length") {
    return [...lines, `Content-Length: ${data.length}`, "", data].join("\r\n");
  }
  let coded = "";
  let at = 0;
  for (const chunk of body.sizes) {
    if (chunk === 0) continue;
    coded += `${chunk.toString(16)};a=b\r\n${data.slice(at, at += chunk)}\r\n`;
  }
  return [...lines, "Transfer-Encoding: chunked", "", `${coded}0\r\nT: u\r\n\r\n`].join("\r\n");
}

async function serve(request: HttpRequest): Promise<HttpResponse> {
  const [, reads, answers, when, closes] = request.path.split("/");
  if (when === "later") await delay(0);
  let read = "-";
  if (reads === "bytes") read = fromLatin1(await request.body?.bytes(1 << 20) ?? new Uint8Array());
  if (reads === "chunks") {
    read = "";
    for await (const piece of request.body?.chunks(1 << 20) ?? []) read += fromLatin1(piece);
  }
  const whole = `${read}|${letters(Number(request.query), 7)}`;
  const bytes = latin1(whole);
  const close = closes === "server" ? { close: true } : {};
  switch (answers) {
    case "shared":
      return { status: 200, headers: SHARED, body: whole, ...close };
    case "bytes":
      return { status: 200, body: bytes, ...close };
    case "stream":
    case "sized": {
      let at = 0;
      const body = new ReadableStream<Uint8Array>({
        pull(controller) {
          if (at >= bytes.length) return controller.close();
          controller.enqueue(bytes.slice(at, at += 1000));
        },
      });
      const headers = answers === "sized" ? { "content-length": String(bytes.length) } : {};
      return { status: 200, headers, body, ...close };
    }
    case "empty":
      return { status: 204, headers: { "a": "b" }, body: whole, ...close };
    default:
      return { status: 200, headers: { "a": "b" }, body: whole, ...close };
  }
}

/** Answers without a promise if the model does not need one. */
function serveNowOrLater(request: HttpRequest): HttpResponse | Promise<HttpResponse> {
  const [, reads, answers, when, closes] = request.path.split("/");
  if (reads !== "nothing" || answers !== "shared" || when === "later") return serve(request);
  const body = `-|${letters(Number(request.query), 7)}`;
  return { status: 200, headers: SHARED, body, close: closes === "server" };
}

/** The body that the model expects in the answer to a wish. */
function expectedBody(wish: Wish): string {
  if (wish.method === "HEAD" || wish.answers === "empty") return "";
  const read = wish.reads === "nothing" ? "-" : bodyOf(wish);
  return `${read}|${letters(wish.size, 7)}`;
}

const sizes = fc.oneof(
  { weight: 8, arbitrary: fc.nat(40) },
  { weight: 2, arbitrary: fc.nat(5000) },
  { weight: 1, arbitrary: fc.nat(70_000) },
);
const wishes: fc.Arbitrary<Wish> = fc.record({
  method: fc.constantFrom("GET", "HEAD", "PUT", "DELETE"),
  body: fc.record({
    kind: fc.constantFrom("none", "none", "length", "chunked"),
    sizes: fc.array(sizes, { maxLength: 4 }),
  }).map(({ kind, sizes }) => ({ kind, sizes: kind === "none" ? [] : sizes })),
  reads: fc.constantFrom("bytes", "chunks", "nothing"),
  answers: fc.constantFrom("shared", "shared", "record", "bytes", "stream", "sized", "empty"),
  size: sizes,
  waits: fc.boolean(),
  closes: fc.oneof(
    { weight: 12, arbitrary: fc.constant("no") },
    { weight: 1, arbitrary: fc.constantFrom("client", "server") },
  ),
});

/** Whether the server may end the connection after a wish because it did not read its body. */
function mayEnd({ reads, body }: Wish): boolean {
  return reads === "nothing" && body.kind !== "none";
}

Deno.test("pipelines of any requests, cut anywhere, are answered as the model says", async () => {
  await withServer(serveNowOrLater, {}, async ({ port }) => {
    const property = () =>
      fc.asyncProperty(
        fc.array(wishes, { minLength: 1, maxLength: 12 }),
        fc.array(fc.oneof(fc.integer({ min: 1, max: 60 }), fc.nat(9000)), { maxLength: 30 }),
        fc.boolean(),
        async (all, cuts, pauses) => {
          const bytes = latin1(all.map(requestOf).join(""));
          using client = await Client.connect(port);
          const sending = (async () => {
            let at = 0;
            for (const cut of cuts) {
              await client.trySend(bytes.subarray(at, at += cut));
              if (pauses) await delay(0);
            }
            await client.trySend(bytes.subarray(at));
            await client.conn.closeWrite().catch(() => {});
          })();
          let last: Wish | undefined;
          for (const wish of all) {
            if (last !== undefined && last.closes !== "no") {
              assertEquals(await client.response(), undefined);
              break;
            }
            const answer = await client.response(wish.method);
            if (answer === undefined) {
              assert(last !== undefined && mayEnd(last), `cut off after ${JSON.stringify(last)}`);
              break;
            }
            const status = wish.answers === "empty" ? 204 : 200;
            assertEquals(answer.status, status);
            assert(answer.body === expectedBody(wish), JSON.stringify(wish));
            if (answer.headers.get("connection") === "close") {
              assert(wish.closes !== "no" || mayEnd(wish), JSON.stringify(wish));
            }
            last = wish;
          }
          assertEquals(await client.rest(), "");
          await sending;
        },
      );
    // A run mostly waits, so many go on at the same time.
    const runs = Array.from({ length: 8 }, () => fc.assert(property(), { numRuns: 50 }));
    await Promise.all(runs);
  });
});

Deno.test("a request gives the same answer wherever it is cut", async () => {
  const base = { size: 5, waits: false, closes: "client" } as const;
  const requests = [
    requestOf({
      ...base,
      method: "PUT",
      body: { kind: "length", sizes: [9] },
      reads: "bytes",
      answers: "shared",
    }),
    requestOf({
      ...base,
      method: "PUT",
      body: { kind: "chunked", sizes: [3, 17] },
      reads: "chunks",
      answers: "stream",
    }),
    "GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
  ];
  await withServer(serveNowOrLater, {}, async ({ port }) => {
    for (const request of requests) {
      const bytes = latin1(request);
      const answer = async (cut: number) => {
        using client = await Client.connect(port);
        client.conn.setNoDelay();
        await client.trySend(bytes.subarray(0, cut));
        if (cut > 0) await delay(1);
        await client.trySend(bytes.subarray(cut));
        return (await client.rest()).replace(/date: [^\r]*/, "");
      };
      const whole = await answer(0);
      assert(whole.startsWith("HTTP/1.1 "));
      for (let cut = 1; cut < bytes.length; cut++) assertEquals(await answer(cut), whole);
    }
  });
});

Deno.test("clients that vanish at any point leave nothing behind", async () => {
  const wish = fc.sample(wishes, 600);
  const vanish = async (port: number, index: number) => {
    const client = await Client.connect(port);
    const request = latin1(
      wish.slice(index, index + 3).map(requestOf).join(""),
    );
    const length = Math.floor(Math.random() * (request.length + 1));
    await client.trySend(request.subarray(0, length));
    const kind = index % 4;
    // Unread answers make the close a reset.
    if (kind > 0) await delay(Math.random() * 5);
    if (kind > 1) await client.more();
    if (kind > 2) await client.conn.closeWrite().catch(() => {});
    client.close();
  };
  const limits = { headerTimeoutMs: 400, bodyTimeoutMs: 400 };
  await withServer(serveNowOrLater, limits, async ({ port, server, errors }) => {
    const indexes = Array.from({ length: 600 }, (_, i) => i);
    for await (const _ of pooledMap(20, indexes, (index) => vanish(port, index)));
    await until(() => server.connections === 0, "the connections to end");
    // Only what the handler saw of a body that was cut off.
    for (const error of errors.splice(0)) {
      assert(error instanceof BodyTimeoutError, String(error));
    }
  });
});
