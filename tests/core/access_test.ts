import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Access, parseTokens } from "../../core/access.ts";
import { RemoteError, UsageError } from "../../core/errors.ts";
import { distrustOf } from "../../core/client/distrust.ts";
import { Remote } from "../../core/client/remote.ts";
import { parseServerList } from "../../core/client/server_list.ts";
import { Authority } from "../certificates.ts";

const authority = await Authority.create();

Deno.test("parseTokens() takes one token a line, and nothing that is none", () => {
  assertEquals(parseTokens("\n abc== \r\n\n1.2-3_4~5+6/7\n"), ["abc==", "1.2-3_4~5+6/7"]);
  for (const text of ["", " \n", "two words", "a\n=b", "ü", "a=b"]) {
    const error = assertThrows(() => parseTokens(text), UsageError, "Invalid token");
    assertEquals(text.trim() !== "" && error.message.includes(text.trim()), false);
  }
});

Deno.test("Access refuses what is no authority", () => {
  for (const pem of ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAA\n"]) {
    assertThrows(() => new Access({ caCerts: [pem] }).close(), UsageError, "Invalid authority");
  }
});

Deno.test("parseServerList() takes a scheme, and another one where an item names it", () => {
  const origins = (text: string, scheme?: "http" | "https") =>
    parseServerList(text, "LIST", scheme).map(({ origin }) => origin);
  assertEquals(origins("a,b:8,http://c,https://d,https://e:443,https://f:80"), [
    "http://a",
    "http://b:8",
    "http://c",
    "https://d",
    "https://e",
    "https://f:80",
  ]);
  assertEquals(origins("a,b:443,http://c,https://d", "https"), [
    "https://a",
    "https://b",
    "http://c",
    "https://d",
  ]);
  assertEquals(parseServerList("https://A:8", "LIST"), [{ name: "A:8", origin: "https://a:8" }]);
  for (const text of ["https://", "ftp://a", "https://a/", "https://a,https://A:443"]) {
    assertThrows(() => parseServerList(text, "LIST"), UsageError, "LIST");
  }
});

Deno.test("Remote shows its token, and asks only servers that its authority vouches for", async () => {
  const seen: (string | null)[] = [];
  const { cert, key } = await authority.sign();
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", cert, key, onListen() {} },
    (request) => {
      seen.push(request.headers.get("authorization"), new URL(request.url).pathname);
      return new Response("value");
    },
  );
  const list = `localhost:${server.addr.port}`;
  const [address] = parseServerList(list, "LIST", "https");
  if (address === undefined) throw new Error("no server");
  const access = new Access({ token: "secret", caCerts: [authority.cert] });
  try {
    const remote = new Remote(address, { timeoutMs: 10_000, access });
    assertEquals(new TextDecoder().decode(await remote.load("key")), "value");
    assertEquals(seen.splice(0), ["Bearer secret", "/load/key"]);
  } finally {
    access.close();
  }

  const stranger = await Authority.create();
  const wrong = new Access({ token: "secret", caCerts: [stranger.cert] });
  try {
    for (const access of [wrong, new Access({ token: "secret" })]) {
      const remote = new Remote(address, { timeoutMs: 10_000, access });
      const error = await assertRejects(() => remote.load("key"), RemoteError);
      assertEquals(
        error.message,
        `${list} cannot be reached: its certificate is signed by nobody who is trusted ` +
          "(--ca names who is)",
      );
    }
  } finally {
    wrong.close();
  }
  assertEquals(seen, []);
});

Deno.test("a certificate that no server should show is told with what to do", async () => {
  const authority = await Authority.create();
  const { cert, key } = await authority.asServer();
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", cert, key, onListen() {} },
    () => new Response("never sent"),
  );
  const list = `127.0.0.1:${server.addr.port}`;
  const [address] = parseServerList(list, "LIST", "https");
  assert(address !== undefined);
  const access = new Access({ caCerts: [authority.cert] });
  try {
    const remote = new Remote(address, { timeoutMs: 10_000, access });
    await assertRejects(
      () => remote.load("key"),
      RemoteError,
      `${list} cannot be reached: its certificate is that of an authority, as openssl req -x509 makes it: ` +
        "make one with -addext basicConstraints=critical,CA:FALSE",
    );
  } finally {
    access.close();
  }
});

Deno.test("distrustOf() gives the runtime's reason, and what to do where that is a name only", () => {
  const why = (reason: string) =>
    distrustOf(new TypeError(`client error (Connect): invalid peer certificate: ${reason}`));
  assertEquals(
    why(
      "certificate expired: verification time 2 (UNIX), but certificate is not valid after 1 (1 seconds ago)",
    ),
    "its certificate is not valid: expired: verification time 2",
  );
  assertEquals(
    why('certificate not valid for name "b"; certificate is only valid for DnsName("a")'),
    'its certificate is not valid: not valid for name "b"',
  );
  assertMatch(why("UnknownIssuer") ?? "", /--ca names who is/);
  assertMatch(why("BadSignature") ?? "", /--ca names who is/);
  assertMatch(why("Other(OtherError(UnsupportedCertVersion))") ?? "", /subjectAltName=DNS:NAME/);
  assertEquals(why("Other(OtherError(Strange))"), "its certificate is not valid: Strange");
  assertEquals(distrustOf(new TypeError("client error (Connect): refused")), undefined);
});
