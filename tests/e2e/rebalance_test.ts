import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type Placement, PLACEMENTS } from "../../core/placement.ts";
import { equalBytes } from "../../core/client/remote.ts";
import { Doorway } from "./doorway.ts";
import { ForeignServer } from "./foreign_server.ts";
import { KVS, kvs, Server, TempDir } from "./program.ts";
import {
  type Addressed,
  at,
  LETTERS,
  listOf,
  ownerOf,
  remote,
  write,
} from "./rebalance_servers.ts";

const encoder = new TextEncoder();

/** Runs `test` with `count` servers of ours, all on fresh folders. */
async function withServers(
  count: number,
  test: (servers: readonly Server[], dir: TempDir) => Promise<void>,
): Promise<void> {
  await using dir = new TempDir();
  await using stack = new AsyncDisposableStack();
  const servers: Server[] = [];
  for (let i = 0; i < count; i++) servers.push(stack.use(await Server.start(dir.join(`${i}`))));
  await test(servers, dir);
}

/** What clients read for each of the keys. */
async function view(
  servers: readonly Addressed[],
  keys: Iterable<string>,
  placement?: Placement,
): Promise<Map<string, string | undefined>> {
  const words = new Map<string, string | undefined>();
  for (const key of keys) {
    const bytes = await remote(ownerOf(servers, key, placement)).load(key);
    words.set(key, bytes && new TextDecoder().decode(bytes));
  }
  return words;
}

function letters(prefix = ""): Map<string, string> {
  return new Map(LETTERS.map((letter) => [letter, prefix + letter]));
}

/** The lines of the book's script: what it prints of `lists`, and of each value. */
function bookLines(
  asIs: readonly Addressed[],
  toBe: readonly Addressed[],
  lists: readonly (readonly string[])[],
): string {
  const lines: string[] = [];
  const saves: string[] = [];
  for (const [index, from] of asIs.entries()) {
    const keys = at(lists, index);
    lines.push(`${from.address}: [${keys.map((key) => `'${key}'`).join(", ")}]`);
    for (const key of keys) {
      const to = ownerOf(toBe, key);
      lines.push(`${key}=${key} ${from.address}->${to.address}`);
      if (to !== from) saves.push(`http://${to.address}/save/${key}/${key} ${key}`);
    }
  }
  return [...lines, ...saves, ""].join("\n");
}

function lettersOf(servers: readonly Addressed[]): string[][] {
  return servers.map((server) => LETTERS.filter((key) => ownerOf(servers, key) === server));
}

Deno.test("rebalance prints the book's lines, byte for byte", async () => {
  await withServers(3, async (servers) => {
    await write(servers, letters());
    const two = servers.slice(0, 2);
    const down = await kvs(["rebalance", listOf(servers), listOf(two)]);
    assertEquals(down.stdout, bookLines(servers, two, lettersOf(servers)));
    assertEquals(down.code, 0);
    assertMatch(
      down.stderr,
      /^17 copies .* --prune deletes them\n26 keys seen, 17 moved, 9 already in place, 17 stale, 0 pruned; 17 bytes, \d+\.\d\d seconds, \d+ keys per second \(\d+ moved\)\n$/,
    );
    assertEquals(await view(two, LETTERS), letters());
  });
});

Deno.test("rebalance works on servers that know only the book routes", async () => {
  await using a = new ForeignServer();
  await using b = new ForeignServer();
  await using c = new ForeignServer();
  await write([a, b, c], letters());
  const down = await kvs(["rebalance", listOf([a, b, c]), listOf([a, b])]);
  assertEquals(down.stdout, bookLines([a, b, c], [a, b], lettersOf([a, b, c])));
  assertStringIncludes(down.stderr, `${a.address} speaks only the book routes`);
  assertEquals(down.code, 0);
  assertEquals(await view([a, b], LETTERS), letters());

  const saves = a.saves + b.saves + c.saves;
  const again = await kvs(["rebalance", listOf([a, b, c]), listOf([a, b]), "--output", "progress"]);
  assertEquals([again.code, a.saves + b.saves + c.saves], [0, saves]);
  assertMatch(again.stdout, /^26 keys seen, 0 moved, 26 already in place, 17 stale, 0 pruned; /);

  await write([a, b], letters("new "));
  const up = await kvs(["rebalance", listOf([a, b]), listOf([a, b, c])]);
  assertEquals([up.code, await view([a, b, c], LETTERS)], [0, letters("new ")]);

  const before = [...a.values];
  const prune = await kvs(["rebalance", listOf([a, b, c]), listOf([a]), "--prune"]);
  assertEquals([prune.code, prune.stdout, [...a.values]], [1, "", before]);
  assertMatch(
    prune.stderr,
    /^Cannot prune: \S+ speaks only the book routes.*nothing was changed\n$/,
  );
});

for (const name of ["modulo", "jump"] as const) {
  Deno.test(`3 → 2 → write → 3 → write → 2: the newest value wins (${name})`, async () => {
    await withServers(3, async (three) => {
      const placement = PLACEMENTS[name];
      const two = three.slice(0, 2);
      const expected = letters("first ");
      await write(three, expected, placement);
      let now = three;
      for (const [round, next] of [two, three, two, three].entries()) {
        const run = await kvs([
          ...["rebalance", listOf(now), listOf(next), "--placement", name],
          ...(round === 3 ? ["--prune"] : []),
        ]);
        assertEquals(run.code, 0, run.stderr);
        assertEquals(await view(next, LETTERS, placement), expected);
        now = next;
        const written = new Map(
          LETTERS.filter((_, index) => index % 3 !== round % 3).map((key) => [key, round + key]),
        );
        await write(now, written, placement);
        for (const [key, word] of written) expected.set(key, word);
      }
      assertEquals(await view(three, LETTERS, placement), expected);
      const keys = await Promise.all(three.map((server) => remote(server).allKeys()));
      assertEquals(keys.flat().sort(), LETTERS);
    });
  });
}

Deno.test("one server to many, many to one, and none of them has a key", async () => {
  await withServers(4, async (four) => {
    const one = four.slice(0, 1);
    for (const [from, to] of [[one, four], [four, one]] as const) {
      const empty = await kvs(["rebalance", listOf(from), listOf(to), "--output", "json"]);
      assertEquals([empty.code, empty.stderr], [0, ""]);
      assertMatch(
        empty.stdout.split("\n").at(-2) ?? "",
        /^\{"event":"summary","keys":0,"moved":0,/,
      );
    }
    await write(one, letters());
    for (const [from, to] of [[one, four], [four, one], [one, four.slice(2)]] as const) {
      const run = await kvs(["rebalance", listOf(from), listOf(to), "--prune"]);
      assertEquals(run.code, 0, run.stderr);
      assertEquals(await view(to, LETTERS), letters());
      const keys = await Promise.all(four.map((server) => remote(server).allKeys()));
      assertEquals(keys.flat().length, LETTERS.length);
    }
  });
});

Deno.test("values of 0 bytes and of 16 MiB move among small ones", async () => {
  await withServers(2, async (servers) => {
    const target = at(servers, 1);
    const large = new Uint8Array(16 * 1024 * 1024).map((_, index) => index % 251);
    const expected = new Map<string, Uint8Array<ArrayBuffer>>(
      LETTERS.map((key) => [key, encoder.encode(key)]),
    );
    for (const key of ["b", "d", "large"]) expected.set(key, large);
    for (const key of ["a", "c", "empty"]) expected.set(key, new Uint8Array());
    expected.set("edge", large.slice(0, 64 * 1024));
    expected.set("behind", large.slice(0, 64 * 1024 + 1));
    for (const [key, bytes] of expected) {
      const copy = { bytes, contentType: "x/y", etag: undefined };
      await remote(ownerOf(servers, key)).put(key, copy);
    }
    const lists = [listOf(servers), target.address];
    const run = await kvs(["rebalance", ...lists, "--output", "progress"]);
    assertEquals(run.code, 0, run.stderr);
    for (const [key, bytes] of expected) {
      const copy = await remote(target).get(key);
      assert(
        copy !== undefined && equalBytes(copy.bytes, bytes) && copy.contentType === "x/y",
        key,
      );
    }
    const again = await kvs(["rebalance", ...lists, "--output", "progress", "--prune"]);
    assertEquals(again.code, 0, again.stderr);
    assertMatch(again.stdout, / 0 moved, /);
    assertEquals(await remote(at(servers, 0)).allKeys(), []);
  });
});

const ODD_KEYS = [
  ...[
    ",",
    "/",
    "%",
    "%2F",
    "'",
    '"',
    "\\",
    "a b",
    "a\nb",
    "\t",
    "?x=1",
    "#",
    "&",
    "+",
    "é",
    "日本",
  ],
  ...["😀", ".", "..", "...", ".hidden", "\x7f", "\u2028", "\ufeff", "x".repeat(200)],
];
const ODD_WORDS = ["", " ", "  a b  ", "é😀", "a\nb\r\n", "/", ".", "..", "%41", "?#&", "\ufeff"];

Deno.test("keys and values of any shape move, and back, on servers of ours", async () => {
  await withServers(3, async (three) => {
    const binary = new Uint8Array(256).map((_, index) => index);
    const large = new Uint8Array(1024 * 1024).map((_, index) => index % 251);
    const values: [Uint8Array<ArrayBuffer>, string][] = [
      [new Uint8Array(), "application/octet-stream"],
      [encoder.encode("_key_not_found_"), "application/octet-stream"],
      [encoder.encode('{"a":1}'), "application/json"],
      [binary, "image/png"],
      [large, "application/octet-stream"],
      ...ODD_WORDS.map((word): [Uint8Array<ArrayBuffer>, string] => [
        encoder.encode(word),
        "application/octet-stream",
      ]),
    ];
    const expected = new Map<string, [Uint8Array<ArrayBuffer>, string]>();
    for (const [index, key] of ODD_KEYS.entries()) {
      expected.set(key, at(values, index % values.length));
    }
    for (const [index, value] of values.entries()) expected.set(`value-${index}`, value);
    for (const [key, [bytes, contentType]] of expected) {
      await remote(ownerOf(three, key)).put(key, { bytes, contentType });
    }
    const two = three.slice(0, 2);
    // Not every store keeps content types; what it has must not be lost on the way.
    const types = new Map<string, string | undefined>();
    for (const key of expected.keys()) {
      types.set(key, (await remote(ownerOf(three, key)).get(key))?.contentType);
    }
    for (const [from, to] of [[three, two], [two, three]] as const) {
      const run = await kvs(["rebalance", listOf(from), listOf(to), "--prune"]);
      assertEquals(run.code, 0, run.stderr);
      for (const [key, [bytes]] of expected) {
        const copy = await remote(ownerOf(to, key)).get(key);
        assert(copy !== undefined && equalBytes(copy.bytes, bytes), JSON.stringify(key));
        assertEquals([key, copy.contentType], [key, types.get(key)]);
      }
      // One line each for three or two listings, every key, and every save.
      const moved = [...expected.keys()].filter((key) => ownerOf(from, key) !== ownerOf(to, key));
      assertEquals(run.stdout.split("\n").length - 1, from.length + expected.size + moved.length);
    }
  });
});

Deno.test("keys and words of any shape move on servers that know only the book routes", async () => {
  await using a = new ForeignServer();
  await using b = new ForeignServer();
  // A URL holds neither of them as a part of its path.
  const isHeld = (text: string) => text !== "." && text !== "..";
  const words = ODD_WORDS.filter(isHeld);
  const expected = new Map(
    ODD_KEYS.filter(isHeld).map((key, index) => [key, at(words, index % words.length)]),
  );
  for (const [key, word] of expected) ownerOf([a, b], key).values.set(key, word);
  a.values.set("bb", "w".repeat(50_000));
  const run = await kvs(["rebalance", listOf([a, b]), listOf([b])]);
  assertEquals([run.code, run.stderr.includes("Internal")], [0, false], run.stderr);
  assertEquals(
    new Map([...b.values].sort()),
    new Map([...expected, ["bb", "w".repeat(50_000)] as const].sort()),
  );
});

Deno.test("a key that no path can hold stops a move between servers of the book routes", async () => {
  for (const key of [".", ".."]) {
    await using a = new ForeignServer();
    await using b = new ForeignServer();
    for (const held of [key, ...LETTERS]) ownerOf([a, b], held).values.set(held, "value");
    const run = await kvs(["rebalance", listOf([a, b]), listOf([b, a]), "--patience", "60"]);
    assertEquals([run.code, a.saves + b.saves], [1, 0]);
    assertEquals(
      run.stderr.trim().split("\n").at(-1),
      `Invalid path: no URL can hold "${key}", which the book routes need; nothing was changed`,
    );
  }
});

Deno.test("a value that a server cannot take is named before anything is changed", async () => {
  await withServers(1, async (servers) => {
    const server = at(servers, 0);
    await using foreign = new ForeignServer();
    const values: [Uint8Array<ArrayBuffer>, string][] = [
      [new Uint8Array([0xff]), "is not UTF-8 text"],
      [encoder.encode("_key_not_found_"), 'is the text for "no such key"'],
      [new Uint8Array(100_000), "makes a path of 300009 bytes, over 61440"],
      [encoder.encode(".."), "is one that no path can hold"],
    ];
    for (const key of LETTERS) await remote(server).save(key, encoder.encode(key));
    for (const [bytes, reason] of values) {
      await remote(server).put("zz", { bytes });
      const run = await kvs(["rebalance", server.address, foreign.address]);
      assertEquals([run.code, foreign.saves], [1, 0]);
      assertEquals(
        run.stderr.split("\n").at(-2),
        `Cannot move "zz" to ${foreign.address}: it speaks only the book routes, and the value ` +
          `${reason}; nothing was changed`,
      );
    }
    await remote(server).batch('{"op":"delete","key":"zz"}\n');
    assertEquals((await kvs(["rebalance", server.address, foreign.address])).code, 0);
    assertEquals(foreign.values, letters());

    // And the other way: what the book's routes cannot tell is not guessed.
    foreign.values.set("zz", "_key_not_found_");
    const run = await kvs(["rebalance", foreign.address, server.address, "--output", "json"]);
    assertEquals(run.code, 1);
    assertStringIncludes(run.stderr, 'Cannot move "zz": ');
    assertStringIncludes(run.stderr, "nothing was changed");
  });
});

Deno.test("a server that cannot be used stops it before anything is changed", async () => {
  await withServers(2, async (servers) => {
    await write(servers, letters());
    await using foreign = new ForeignServer();
    foreign.shuttingDown = true;
    const lists = () => Promise.all(servers.map((server) => remote(server).allKeys()));
    const before = await lists();
    const [first, second] = [at(servers, 0), at(servers, 1)];
    const nobody = "127.0.0.1:1";
    const table: [string, string, RegExp][] = [
      [listOf(servers), nobody, /^127\.0\.0\.1:1 cannot be reached: no connection; nothing was/],
      [`${nobody},${first.address}`, first.address, /^127\.0\.0\.1:1 cannot be reached/],
      [listOf(servers), `${first.address},${foreign.address}`, /answered 503: it is shutting down/],
      [listOf(servers), "no-such-host.invalid", /^no-such-host\.invalid cannot be reached/],
    ];
    for (const [asIs, toBe, message] of table) {
      const run = await kvs(["rebalance", asIs, toBe]);
      assertEquals([run.code, run.stdout], [1, ""]);
      assertMatch(run.stderr, message);
      assertEquals(run.stderr.trim().split("\n").length, 1);
    }
    await Deno.writeTextFile(`${second.dir}/_shutting_down_`, "");
    const run = await kvs(["rebalance", listOf(servers), first.address]);
    await Deno.remove(`${second.dir}/_shutting_down_`);
    assertEquals([run.code, run.stdout], [1, ""]);
    assertMatch(
      run.stderr,
      /answered 503: it is shutting down or starting; nothing was changed\n$/,
    );
    assertEquals(await lists(), before);
  });
});

Deno.test("lists that are identical, empty, doubled or missing are usage errors", async () => {
  const table: [string[], RegExp][] = [
    [[], /^Missing argument: AS_IS\n/],
    [["a"], /^Missing argument: TO_BE\n/],
    [["a", "b", "c"], /^Unexpected argument: c\n/],
    [["a,b", "a,b"], /^Nothing to do: AS_IS and TO_BE are the same list\n/],
    [["a,b:80", "A:80,b"], /^Nothing to do: /],
    [["", "a"], /^Empty server list: AS_IS/],
    [["a", ""], /^Empty server list: TO_BE/],
    [["a,b,a", "a"], /^Duplicate server in AS_IS: a\n/],
    [["a", "b,b:80"], /^Duplicate server in TO_BE: b:80 is b\n/],
    [["a.,b", "b,a,c"], /^a\. and a are one server: name it in one way in both lists\n/],
    [["http://a:1", "https://a:1,b"], /^http:\/\/a:1 and https:\/\/a:1 are one server: /],
    [["a", "b,"], /^Invalid server in TO_BE/],
    [["a", "b", "--output", "xml"], /^Invalid --output: /],
    [["a", "b", "--fast"], /^Unknown option: --fast\n/],
  ];
  for (const [args, message] of table) {
    const run = await kvs(["rebalance", ...args]);
    assertEquals([run.code, run.stdout], [1, ""]);
    assertMatch(run.stderr, message);
    assertMatch(run.stderr, /\nUsage: kvs rebalance AS_IS_SRV_1\[:PORT\],\.\.\. .*\n$/);
  }
});

Deno.test("one server by two names ends it with one line before anything is changed", async () => {
  await withServers(3, async (three) => {
    await write(three.slice(0, 2), letters());
    const first = at(three, 0).address;
    const asIs = listOf(three.slice(0, 2));
    const local = three.map(({ port }) => `localhost:${port}`);
    // What a Service is: an address of its own that leads to one of the servers.
    await using service = new Doorway(first, (_asked, forward) => forward());
    const lists = () => Promise.all(three.map((server) => remote(server).allKeys()));
    const before = await lists();
    for (
      const [toBe, alias] of [
        [local.join(","), at(local, 0)],
        [`${asIs},${service.address}`, service.address],
      ] as const
    ) {
      for (const prune of [[], ["--prune"]]) {
        const run = await kvs(["rebalance", asIs, toBe, ...prune]);
        assertEquals([run.code, run.stdout, run.stderr], [
          1,
          "",
          `${first} and ${alias} are one server: name it in one way in both lists; ` +
          "nothing was changed\n",
        ]);
        assertEquals(await lists(), before);
      }
    }
  });
});

Deno.test("an output that fails ends it with one line, and running it again completes it", async () => {
  await withServers(3, async (three) => {
    const words = new Map<string, string>();
    for (let index = 0; index < 600; index++) words.set(`key-${index}`, "w".repeat(100));
    await write(three.slice(0, 2), words);
    const lists = [listOf(three.slice(0, 2)), listOf(three)];
    const outputs: readonly [string[], string][] = [
      [["--output", "lines"], "; nothing was changed"],
      // On a slow machine the first text is given to the output before a key has moved.
      [
        ["--output", "json"],
        "; (nothing was changed|\\d+ of \\d+ keys are on their .* run it again to complete it)",
      ],
      [["--output", "progress"], "; the run had come to its end, .* running it again is safe"],
      [["--dry-run"], "; nothing was changed"],
    ];
    for (const [options, end] of outputs) {
      for (const [sink, why] of [["> /dev/full", "No space left.*"], ["| true", "its reader.*"]]) {
        if (options.includes("json")) {
          // Other values each time: a run that has little to tell holds its text back until its end.
          for (const key of words.keys()) words.set(key, `${sink} ${"w".repeat(80)}`);
          await write(three.slice(0, 2), words);
        }
        // The pipe's reader has gone before anything is written.
        const script = `(sleep 0.3; "$0" rebalance "$@"; echo "exit $?" >&2) ${sink}`;
        const { stderr } = await new Deno.Command("sh", {
          args: ["-c", script, KVS, ...lists, ...options],
          stdin: "null",
        }).output();
        const told = new TextDecoder().decode(stderr).trim().split("\n");
        assertEquals(told.at(-1), "exit 2", told.join("\n"));
        assertMatch(told.at(-2) ?? "", new RegExp(`^Cannot write the output: ${why}${end}$`));
      }
    }
    const last = await kvs(["rebalance", ...lists, "--output", "json"]);
    assertEquals(last.code, 0, last.stderr);
    assertEquals(await view(three, words.keys()), words);
  });
});

Deno.test("--dry-run prints the plan and changes nothing", async () => {
  await withServers(3, async (three) => {
    await write(three, letters("xx"));
    const two = three.slice(0, 2);
    const names = async () =>
      await Promise.all(three.map(async (server) => await remote(server).allKeys()));
    const before = await names();
    const run = await kvs(["rebalance", listOf(three), listOf(two), "--dry-run", "--prune"]);
    const [a, b, c] = three.map((server) => server.address);
    assertEquals([run.code, run.stderr, run.stdout.split("\n").slice(0, 4)], [0, "", [
      `${a} -> ${b}: 4 keys, 12 bytes`,
      `${b} -> ${a}: 4 keys, 12 bytes`,
      `${c} -> ${a}: 5 keys, 15 bytes`,
      `${c} -> ${b}: 4 keys, 12 bytes`,
    ]]);
    assertMatch(run.stdout, /\n26 keys seen, 17 to move, 9 already in place, 17 stale, 0 pruned; /);
    assertEquals(await names(), before);
  });
});

Deno.test("--prune deletes what is no longer owned; --output json tells of everything", async () => {
  await withServers(3, async (three) => {
    await write(three, letters());
    const two = three.slice(0, 2);
    const run = await kvs(["rebalance", listOf(three), listOf(two), "--prune", "--output", "json"]);
    assertEquals([run.code, run.stderr], [0, ""]);
    const events = run.stdout.trim().split("\n").map((line): Record<string, unknown> =>
      JSON.parse(line)
    );
    const count = (name: string) => events.filter(({ event }) => event === name).length;
    assertEquals([count("moved"), count("pruned"), count("summary")], [17, 17, 1]);
    const { seconds, keysPerSecond, phases, ...summary } = events.at(-1) ?? {};
    assert(typeof seconds === "number" && typeof keysPerSecond === "number");
    assertEquals(Object.keys(phases ?? {}), ["survey", "read", "room", "move", "check", "prune"]);
    assertEquals(summary, {
      event: "summary",
      ...{ keys: 26, moved: 17, inPlace: 9, left: 0, stale: 0, leftOver: 0, pruned: 17 },
      ...{ unclear: 0, orphans: 0, newer: 0, changing: 0, deleted: 0, gone: 0 },
      ...{ bytes: 17, busy: false, interrupted: false },
    });
    const keys = await Promise.all(three.map((server) => remote(server).allKeys()));
    assertEquals(keys, [...lettersOf(two), []]);

    const again = await kvs(["rebalance", listOf(three), listOf(two), "--prune"]);
    assertEquals(again.code, 0);
    assertMatch(again.stderr, /\n26 keys seen, 0 moved, 9 .* 0 pruned, 17 unclear; /);
    assertEquals(await Promise.all(three.map((server) => remote(server).allKeys())), keys);
  });
});
