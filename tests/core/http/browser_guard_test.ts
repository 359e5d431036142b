import { assertEquals } from "@std/assert";
import { BrowserGuard, isForeign, parseHostName } from "../../../core/http/browser_guard.ts";
import { type HttpRequest } from "../../../core/http/types.ts";

function request(headers: Readonly<Record<string, string>>): HttpRequest {
  return {
    method: "GET",
    path: "/load/a",
    query: "",
    contentLength: undefined,
    chunked: false,
    body: undefined,
    header: (name) => headers[name],
  };
}

Deno.test("isForeign() tells what a page of another origin made a browser send", () => {
  const table: [Record<string, string>, boolean][] = [
    [{ host: "127.0.0.1:8000" }, false],
    [{}, false],
    [{ host: "127.0.0.1:8000", origin: "http://127.0.0.1:8000" }, false],
    [{ host: "LOCALHOST:8000", origin: "http://localhost:8000" }, false],
    [{ host: "[::1]:8000", origin: "http://[::1]:8000" }, false],
    [{ host: "kvs.example", origin: "http://kvs.example" }, false],
    [{ host: "kvs.example:80", origin: "http://kvs.example" }, false],
    // An Ingress ends TLS, and the name that it hands on may or may not have the port.
    [{ host: "kvs.example", origin: "https://kvs.example" }, false],
    [{ host: "kvs.example:443", origin: "https://kvs.example" }, false],
    [{ host: "kvs.example:80", origin: "https://kvs.example" }, true],
    [{ host: "127.0.0.1:8000", origin: "http://127.0.0.1:8001" }, true],
    [{ host: "127.0.0.1:8000", origin: "http://localhost:8000" }, true],
    [{ host: "127.0.0.1:8000", origin: "http://evil.example" }, true],
    [{ host: "127.0.0.1:8000", origin: "http://127.0.0.1:8000, http://evil.example" }, true],
    [{ host: "127.0.0.1:8000", origin: "null" }, true],
    [{ host: "127.0.0.1:8000", origin: "" }, true],
    [{ host: "127.0.0.1:8000", origin: "file://" }, true],
    [{ host: "", origin: "file://" }, true],
    [{ host: "", origin: "http://evil.example" }, true],
    [{ host: "127.0.0.1:8000", "sec-fetch-site": "cross-site" }, true],
    [{ host: "127.0.0.1:8000", "sec-fetch-site": "same-site" }, true],
    [{ host: "127.0.0.1:8000", "sec-fetch-site": "same-origin" }, false],
    [{ host: "127.0.0.1:8000", "sec-fetch-site": "none" }, false],
    // Of a kind that is not known yet: the specification asks servers to pass over it.
    [{ host: "127.0.0.1:8000", "sec-fetch-site": "other-origin" }, false],
    [{ host: "127.0.0.1:8000", "sec-fetch-site": "none, cross-site" }, true],
    [
      {
        host: "127.0.0.1:8000",
        origin: "http://127.0.0.1:8000",
        "sec-fetch-site": "cross-site",
      },
      true,
    ],
  ];
  for (const [headers, foreign] of table) {
    assertEquals([headers, isForeign(request(headers))], [headers, foreign]);
  }
});

Deno.test("BrowserGuard admits addresses, localhost and the names that it was given", () => {
  const table: [string | undefined, boolean][] = [
    [undefined, true],
    ["", true],
    ["127.0.0.1:8000", true],
    ["127.1:8000", true],
    ["10.0.0.7", true],
    ["[::1]:8000", true],
    ["localhost", true],
    ["LocalHost.:9999", true],
    ["kvs.localhost:80", true],
    ["kvs.example", true],
    ["KVS.example.:8080", true],
    ["evil.example", false],
    ["evil.example:8000", false],
    ["kvs.example.evil.example", false],
    ["127.0.0.1.evil.example", false],
    ["localhost.evil.example", false],
    ["evillocalhost", false],
    ["a_b", false],
    ["%zz", false],
    [":8000", false],
  ];
  const guard = new BrowserGuard(["kvs.example"]);
  // Twice: the Host that was admitted last is known.
  for (const [host, admitted] of table.flatMap((row) => [row, row])) {
    const headers: Record<string, string> = host === undefined ? {} : { host };
    assertEquals([host, guard.refusal(request(headers)) === undefined], [host, admitted]);
    assertEquals(new BrowserGuard(undefined).refusal(request(headers)), undefined);
  }
});

Deno.test("parseHostName() takes names alone", () => {
  for (
    const [text, name] of [
      ["kvs.example", "kvs.example"],
      ["KVS.Example.", "kvs.example"],
      ["a", "a"],
      ["", undefined],
      ["a:80", undefined],
      ["http://a", undefined],
      ["a/b", undefined],
      ["a@b", undefined],
      ["a b", undefined],
      ["a?b", undefined],
      ["*", undefined],
      ["a%", undefined],
    ] as const
  ) {
    assertEquals([text, parseHostName(text)], [text, name]);
  }
});
