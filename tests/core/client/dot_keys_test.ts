import { assertEquals, assertRejects } from "@std/assert";
import { Remote } from "../../../core/client/remote.ts";
import { InvalidKeyError, RemoteError } from "../../../core/errors.ts";
import { FlakyServer } from "./flaky_server.ts";

/** A server whose batches have this result, and what it is asked by `work`. */
async function asked(
  result: object | string,
  work: (remote: Remote) => Promise<unknown>,
): Promise<{ readonly answer: unknown; readonly seen: readonly unknown[] }> {
  const line = typeof result === "string" ? result : JSON.stringify(result) + "\n";
  await using server = new FlakyServer(() => new Response(line));
  const { address } = server;
  const remote = new Remote(
    { name: address, origin: `http://${address}` },
    { timeoutMs: 10_000 },
  );
  const answer = await work(remote);
  const seen = server.seen.map(({ method, path, body }) => [method, path, JSON.parse(body)]);
  return { answer, seen };
}

Deno.test("Remote asks for the keys . and .. by a batch, and takes what their paths would answer", async () => {
  const bytes = Uint8Array.of(0, 255, 10);
  for (const key of [".", ".."]) {
    const text = { status: 200, key, value: "é", etag: '"e"', type: "text/plain" };
    assertEquals(await asked(text, (remote) => remote.get(key)), {
      answer: { bytes: new TextEncoder().encode("é"), contentType: "text/plain", etag: '"e"' },
      seen: [["POST", "/v1/batch", { op: "get", key }]],
    });
    const binary = { status: 200, key, base64: "AP8K", etag: '"e"', type: "x/y" };
    assertEquals((await asked(binary, (remote) => remote.get(key))).answer, {
      bytes,
      contentType: "x/y",
      etag: '"e"',
    });
    assertEquals(
      (await asked({ status: 404, key }, (remote) => remote.get(key))).answer,
      undefined,
    );
    const put = await asked({ status: 201, key, etag: '"new"' }, (remote) =>
      remote.put(
        key,
        { bytes: new Blob([bytes]).stream(), contentType: "x/y" },
        { ifAbsent: true, run: "m 1" },
      ));
    assertEquals(put, {
      answer: { created: true, etag: '"new"' },
      seen: [["POST", "/v1/batch?move=m%201", {
        ...{ op: "put", key, base64: "AP8K", type: "x/y", ifNoneMatch: "*" },
      }]],
    });
    assertEquals(
      await asked({ status: 204, key }, (remote) => remote.delete(key, { ifMatch: '"e"' })),
      { answer: true, seen: [["POST", "/v1/batch", { op: "delete", key, ifMatch: '"e"' }]] },
    );
    assertEquals((await asked({ status: 404, key }, (remote) => remote.delete(key))).answer, false);
  }
});

Deno.test("Remote tells why a batch did not do what was asked of the key ..", async () => {
  const results: [object | string, number, string][] = [
    [
      { status: 412, error: "precondition_failed", detail: "It is not" },
      412,
      "answered 412: It is not",
    ],
    [{ status: 413, detail: "Value too large: 70000 bytes" }, 413, "answered 413: Value too large"],
    ["<h1>It works</h1>", 200, "answered with no result of a batch"],
  ];
  for (const [result, status, message] of results) {
    await asked(result, async (remote) => {
      const put = () => remote.put("..", { bytes: new Uint8Array(9) });
      const error = await assertRejects(put, RemoteError, message);
      assertEquals(error.status, status);
    });
  }
});

Deno.test("Remote refuses over the book routes what no path can hold, and sends nothing", async () => {
  const word = new TextEncoder().encode("..");
  const calls: ((remote: Remote) => Promise<unknown>)[] = [
    (remote) => remote.load("."),
    (remote) => remote.save("..", new Uint8Array(1)),
    (remote) => remote.save("key", word),
  ];
  for (const call of calls) {
    const { seen } = await asked({}, async (remote) => {
      await assertRejects(() => call(remote), InvalidKeyError, "no URL can hold");
    });
    assertEquals(seen, []);
  }
});
