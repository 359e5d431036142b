import { assertEquals, assertRejects } from "@std/assert";
import {
  Access,
  InvalidKeyError,
  Kvs,
  KvsError,
  type KvsOptions,
  PreconditionFailedError,
  RemoteError,
  StoredValue,
  UnknownOutcomeError,
} from "../../../core/client/kvs.ts";
import { SYSTEM_CLOCK } from "../../../core/client/clock.ts";
import { Authority } from "../../certificates.ts";
import { type Fate, FlakyServer, type Seen } from "./flaky_server.ts";

/** Waits are noted and not waited for, since the failures are real and take no time. */
function impatient(options: KvsOptions = {}) {
  const sleeps: number[] = [];
  let skipped = 0;
  const clock = {
    now: () => SYSTEM_CLOCK.now() + skipped,
    sleep: (ms: number) => {
      sleeps.push(ms);
      skipped += ms;
      return Promise.resolve();
    },
  };
  return { sleeps, options: { timeoutMs: 10_000, clock, random: () => 1, ...options } };
}

const ok = (body = "value") => new Response(body, { headers: { etag: '"e"' } });
const saved = () => new Response(null, { status: 204, headers: { etag: '"new"' } });
const broken = () => Response.json({ detail: "Condition" }, { status: 412 });
const absent = () => Response.json({ detail: "No such key" }, { status: 404 });
const busy = () =>
  new Response("_shutting_down_", { status: 503, headers: { "retry-after": "1" } });

/** A server that meets its requests with these fates, the last one for all that follow. */
function server(...fates: (() => Fate)[]): FlakyServer {
  return new FlakyServer((_, index) => (fates[index] ?? fates.at(-1) ?? ok)());
}

Deno.test("Kvs says why a server answers 503, unless it is shutting down", async () => {
  const tell = async (body: string) => {
    await using flaky = server(() => new Response(body, { status: 503 }));
    const store = await Kvs.open(flaky.address, { patienceMs: 0 });
    const { message } = await assertRejects(() => store.get("k"), RemoteError);
    return message.replace(/^\S+ answered 503: | \(tried.*/g, "");
  };
  assertEquals(await tell("_shutting_down_"), "it is shutting down or starting");
  assertEquals(
    await tell('{"error":"x","detail":"Busy: no file is free"}'),
    "Busy: no file is free",
  );
});

Deno.test("Kvs.get() tries again after 503, a cut connection, a cut answer, and silence", async () => {
  const fates: [() => Fate, number][] = [
    [busy, 1100],
    [() => "cut", 100],
    [() => "cut body", 100],
    [() => "silent", 100],
  ];
  for (const [fate, wait] of fates) {
    await using flaky = server(fate, ok);
    const { sleeps, options } = impatient({ timeoutMs: 300 });
    const store = await Kvs.open(flaky.address, options);
    assertEquals((await store.get("k"))?.text, "value");
    assertEquals(sleeps, [wait]);
    assertEquals(flaky.seen.length, 2);
  }
});

/** Options whose fifth wait starts a server on `port`, where nobody listened before. */
function lateServer(answer: () => Response) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  let served: Deno.HttpServer | undefined;
  const { sleeps, options } = impatient();
  const sleep = async (ms: number) => {
    await options.clock.sleep(ms);
    if (sleeps.length !== 5) return;
    served = Deno.serve({ port, hostname: "127.0.0.1", onListen() {} }, () => answer());
  };
  return {
    list: `127.0.0.1:${port}`,
    options: { ...options, clock: { ...options.clock, sleep } },
    [Symbol.asyncDispose]: async () => await served?.shutdown(),
  };
}

Deno.test("Kvs finds a server that comes up at last", async () => {
  await using late = lateServer(ok);
  const store = await Kvs.open(late.list, late.options);
  assertEquals((await store.get("k"))?.text, "value");
});

Deno.test("Kvs knows that what met no connection was not carried out", async () => {
  await using late = lateServer(broken);
  const store = await Kvs.open(late.list, late.options);
  await assertRejects(() => store.put("k", "v", { ifAbsent: true }), PreconditionFailedError);
});

Deno.test("Kvs tells what failed, how, and how often it was tried", async () => {
  const { options } = impatient({ timeoutMs: 50, patienceMs: 1000 });
  await using silent = server(() => "silent");
  const store = await Kvs.open(silent.address, options);
  await assertRejects(() => store.get("k"), RemoteError, "no answer within 50 ms (tried ");
  await using cut = server(() => "cut body");
  const other = await Kvs.open(cut.address, options);
  await assertRejects(() => other.get("k"), RemoteError, "cut its answer off (tried ");
});

Deno.test("Kvs.get() tells absent from empty, and gives bytes as they are", async () => {
  await using absentServer = server(absent);
  assertEquals(await (await Kvs.open(absentServer.address)).get("k"), undefined);
  await using empty = server(() => ok(""));
  assertEquals((await (await Kvs.open(empty.address)).get("k"))?.bytes, new Uint8Array());
  const bytes = Uint8Array.of(0, 255, 10, 13);
  await using binary = server(() =>
    new Response(bytes, { headers: { etag: '"b"', "content-type": "x/y" } })
  );
  assertEquals(
    await (await Kvs.open(binary.address)).get("k"),
    new StoredValue(bytes, "x/y", '"b"'),
  );
});

Deno.test("Kvs.put() repeats a plain write, and sends what it was given", async () => {
  await using flaky = server(() => "cut", busy, saved);
  const store = await Kvs.open(flaky.address, impatient().options);
  const result = await store.put("a/b", "text", { contentType: "x/y" });
  assertEquals(result, { created: false, etag: '"new"' });
  const [, , last] = flaky.seen;
  assertEquals(
    [last?.method, last?.path, last?.body, last?.headers.get("content-type")],
    ["PUT", "/v1/keys/a%2Fb", "text", "x/y"],
  );
});

Deno.test("Kvs.put() asks a function for a new stream each time, and sends a stream once", async () => {
  await using flaky = server(busy, saved);
  const store = await Kvs.open(flaky.address, impatient().options);
  let streams = 0;
  await store.put("k", () => {
    streams++;
    return new Blob(["streamed"]).stream();
  });
  assertEquals(streams, 2);
  assertEquals(flaky.seen[1]?.body, "streamed");
  await using down = server(busy);
  const other = await Kvs.open(down.address, impatient().options);
  await assertRejects(() => other.put("k", new Blob(["x"]).stream()), RemoteError, "503");
  assertEquals(down.seen.length, 1);
});

Deno.test("Kvs.put() fails as its stream does, and does not take that for the server's failure", async () => {
  await using flaky = server(saved);
  const { sleeps, options } = impatient();
  const store = await Kvs.open(flaky.address, options);
  const unreadable = () =>
    new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull(controller) {
        if (sleeps.length === 0) controller.enqueue(new Uint8Array(10));
        throw new Error("bad sector");
      },
    });
  await assertRejects(() => store.put("k", unreadable), Error, "bad sector");
  assertEquals(sleeps, []);
});

Deno.test("Kvs.put() tells a broken condition only where no answer was lost before", async () => {
  const cases: [Fate[], typeof PreconditionFailedError | typeof UnknownOutcomeError][] = [
    [[broken()], PreconditionFailedError],
    [[busy(), broken()], PreconditionFailedError],
    [["cut", broken()], UnknownOutcomeError],
  ];
  for (const [fates, errorClass] of cases) {
    await using flaky = server(...fates.map((fate) => () => fate));
    const store = await Kvs.open(flaky.address, impatient().options);
    // Equal or not, a value that others may write too proves nothing.
    await assertRejects(() => store.put("k", "value", { ifMatch: '"e"' }), errorClass);
    assertEquals(flaky.seen.map(({ method }) => method), fates.map(() => "PUT"));
  }
});

Deno.test("Kvs.put() takes its own unique value for the proof that the write was carried out", async () => {
  const answer = (there: string) => ({ method }: Seen, index: number): Fate =>
    method === "GET" ? ok(there) : index === 0 ? "cut" : broken();
  for (const condition of [{ ifMatch: '"old"' }, { ifAbsent: true }]) {
    await using mine = new FlakyServer(answer("by me"));
    const store = await Kvs.open(mine.address, impatient().options);
    assertEquals(
      await store.put("k", "by me", { ...condition, unique: true }),
      { created: condition.ifAbsent === true, etag: '"e"' },
    );
    await using other = new FlakyServer(answer("by another"));
    const late = await Kvs.open(other.address, impatient().options);
    await assertRejects(
      () => late.put("k", "by me", { ...condition, unique: true }),
      UnknownOutcomeError,
    );
  }
});

Deno.test("Kvs.delete() takes a key that is gone after a lost answer for deleted", async () => {
  const cases: [Fate[], boolean][] = [
    [[saved()], true],
    [[absent()], false],
    [[busy(), absent()], false],
    [["cut", absent()], true],
  ];
  for (const [fates, deleted] of cases) {
    await using flaky = server(...fates.map((fate) => () => fate));
    const store = await Kvs.open(flaky.address, impatient().options);
    assertEquals(await store.delete("k"), deleted);
  }
  await using flaky = server(() => "cut", broken);
  const store = await Kvs.open(flaky.address, impatient().options);
  await assertRejects(() => store.delete("k", { ifMatch: '"e"' }), UnknownOutcomeError);
  assertEquals(flaky.seen[1]?.headers.get("if-match"), '"e"');
});

Deno.test("Kvs.getStream() fails within a large value that is cut off", async () => {
  const answer = "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + "x".repeat(2_000_000);
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const answered = listener.accept().then(async (asked) => {
    // The first request asks for the layout.
    await asked.read(new Uint8Array(65536));
    await asked.write(
      new TextEncoder().encode("HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    );
    asked.close();
    const conn = await listener.accept();
    await conn.read(new Uint8Array(65536));
    const bytes = new TextEncoder().encode(answer);
    for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
    conn.close();
  });
  const store = await Kvs.open(`127.0.0.1:${port}`);
  const value = await store.getStream("k");
  assertEquals(value?.size, 3_000_000);
  await assertRejects(() => new Response(value?.body).bytes(), RemoteError, "cut its answer off");
  await answered;
});

Deno.test("Kvs.keys() merges what each owner lists, and leaves stale copies out", async () => {
  // By modulo on two servers: b, d, f are of server 0, a, c, e of server 1.
  const held: [string[], string[]] = [["a", "b", "d", "e", "f"], ["a", "b", "c", "f"]];
  const listing = (keys: string[]) =>
    new FlakyServer(({ path }, index) => {
      if (index === 1) return "cut";
      const query = new URL(path, "http://x").searchParams;
      const rest = keys.filter((key) => key > (query.get("after") ?? ""));
      const page = rest.slice(0, 2);
      return Response.json({ keys: page, next: rest.length > 2 ? page.at(-1) : null });
    });
  await using first = listing(held[0]);
  await using second = listing(held[1]);
  const store = await Kvs.open(`${first.address},${second.address}`, impatient().options);
  assertEquals(await Array.fromAsync(store.keys()), ["a", "b", "c", "d", "f"]);
  assertEquals(await Array.fromAsync(store.keys({ prefix: "x y", after: "d" })), ["f"]);
  assertEquals(first.seen.at(-1)?.path, "/v1/keys?limit=1000&prefix=x%20y&after=d");
});

Deno.test("Kvs.keys() tells a listing that is out of order by an error of the library", async () => {
  await using flaky = server(() => Response.json({ keys: ["b", "a"], next: null }));
  const store = await Kvs.open(flaky.address);
  const error = await assertRejects(() => Array.fromAsync(store.keys()), KvsError, "out of order");
  assertEquals(error.constructor, KvsError);
});

Deno.test("Kvs refuses a key that cannot be, and gives up when the caller does", async () => {
  await using silent = server(() => "silent");
  const store = await Kvs.open(silent.address);
  await assertRejects(() => store.get(""), InvalidKeyError);
  const stop = new AbortController();
  const get = store.get("k", { signal: stop.signal });
  setTimeout(() => stop.abort(new Error("enough")), 20);
  await assertRejects(() => get, Error, "enough");
});

Deno.test("Kvs shows its token over TLS, and does not go on asking a server it cannot trust", async () => {
  const authority = await Authority.create();
  const { cert, key } = await authority.sign();
  const seen: (string | null)[] = [];
  await using tls = Deno.serve(
    { port: 0, hostname: "127.0.0.1", cert, key, onListen() {} },
    (request) => {
      seen.push(request.headers.get("authorization"));
      return ok();
    },
  );
  const list = `localhost:${tls.addr.port}`;
  const { sleeps, options } = impatient({ scheme: "https" });
  const access = new Access({ token: "secret", caCerts: [authority.cert] });
  try {
    const store = await Kvs.open(list, { ...options, access });
    assertEquals((await store.get("k"))?.text, "value");
  } finally {
    access.close();
  }
  const stranger = await Kvs.open(list, options);
  await assertRejects(() => stranger.get("k"), RemoteError, "its certificate is signed by nobody");
  assertEquals([seen, sleeps], [["Bearer secret", "Bearer secret"], []]);
});
