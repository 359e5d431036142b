/**
 * What the documents say, tried: each link, each option, task, variable, route and metric that they
 * name, and the commands of the sections that a newcomer pastes, with the outputs that they promise.
 */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { exists } from "@std/fs/exists";
import { dirname, join, normalize } from "@std/path";
import {
  anchorsOf,
  codeOf,
  type Command,
  commandsOf,
  cutComment,
  type Document,
  isPrinted,
  linksOf,
  partsOf,
  readDocuments,
  ROOT,
  sectionOf,
  spansOf,
} from "./documents.ts";
import { KVS, kvs, Running, Server, TempDir } from "./program.ts";

const documents = await readDocuments();

/** A changelog tells of what was, too. */
const current = documents.filter(({ path }) => path !== "CHANGELOG.md");

function documentAt(path: string): Document {
  const document = documents.find((each) => each.path === path);
  assert(document !== undefined, `There is no ${path}`);
  return document;
}

/** The links of `document` that lead nowhere. */
async function brokenLinks(document: Document): Promise<string[]> {
  const broken: string[] = [];
  for (const link of linksOf(document.text)) {
    if (/^https?:\/\//.test(link)) continue;
    const [file = "", anchor] = link.split("#");
    const path = file === "" ? document.path : normalize(join(dirname(document.path), file));
    const isOwn = path === document.path;
    const isThere = isOwn || (!path.startsWith("..") && await exists(join(ROOT, path)));
    const text = isOwn ? document.text : documents.find((each) => each.path === path)?.text;
    const isAnchor = anchor === undefined || (text !== undefined && anchorsOf(text).has(anchor));
    if (!isThere || !isAnchor) broken.push(link);
  }
  return broken;
}

Deno.test("each link in the documents leads to a file, and to a heading in it", async () => {
  let links = 0;
  for (const document of documents) {
    assertEquals([document.path, await brokenLinks(document)], [document.path, []]);
    links += linksOf(document.text).length;
  }
  assertGreater(links, 40);
  const text = "# A `b` c!\n[a](#a-b-c) [b](#a) [c](no.md) [d](README.md#no) [e](../README.md)\n";
  const broken = ["#a", "no.md", "README.md#no", "../README.md"];
  assertEquals(await brokenLinks({ path: "x.md", text }), broken);
});

/** What looks like the path of a file or of a folder: `core/http/`, `storage/overlay.ts`; not those in DATA_DIR. */
const PATH =
  /^(?!\.kvs\/)[\w.-]+(?:\/[\w.-]+)*(?:\/|\/[\w.-]+\.(?:ts|js|md|json|yaml|yml|png|sh))$/;

/** The paths in backticks in `text`, and those of them that are neither in the root nor in core. */
async function namedPaths(text: string): Promise<{ named: string[]; missing: string[] }> {
  const named = spansOf(text).filter((span) => PATH.test(span));
  const missing: string[] = [];
  for (const path of named) {
    const found = await Promise.all(
      [ROOT, join(ROOT, "core")].map((folder) => exists(join(folder, path))),
    );
    if (!found.includes(true)) missing.push(path);
  }
  return { named, missing };
}

Deno.test("the documents name files that exist, from the root or from core", async () => {
  for (const { path, text } of current) {
    assertEquals([path, (await namedPaths(text)).missing], [path, []]);
  }
  // The walks go through files of core.
  const { named } = await namedPaths(documentAt("ARCHITECTURE.md").text);
  assertGreater(named.length, 20);
  const text =
    "`core/key.ts` `http/server.ts` `core/http/` `http/no.ts` `no/http/` `/v1/keys` `a/b`";
  assertEquals((await namedPaths(text)).missing, ["http/no.ts", "no/http/"]);
});

/** The options that `text` gives to commands of kvs or names alone, and that are in no help. */
function unknownOptions(text: string, helps: ReadonlyMap<string, string>, tools: string): string[] {
  const unknown: string[] = [];
  const all = [...helps.values(), tools].join("\n");
  const check = (words: string, help: string, what: string) => {
    for (const [option] of words.matchAll(/(?<=^|[\s[])--[a-z][a-z-]*/g)) {
      if (!new RegExp(`${option}(?![a-z-])`).test(help)) unknown.push(`${what} ${option}`);
    }
  };
  for (const code of codeOf(text)) {
    const { code: line } = cutComment(code, "#");
    for (const piece of line.split(/[|;)]|&&/)) {
      const [, name, words = ""] = /(?:^|[\s("/])kvs ([a-z]+)\b(.*)$/.exec(piece) ?? [];
      const help = name === undefined ? undefined : helps.get(name);
      if (help !== undefined) check(words, help, `kvs ${name}`);
      else if (piece.startsWith("--")) check(piece, all, "the option");
    }
  }
  return unknown;
}

Deno.test("each option and variable in the documents is in the help of its command", async () => {
  const usage = (await kvs(["--help"])).stdout;
  const names = /Usage: kvs ([a-z|]+)/.exec(usage)?.[1]?.split("|") ?? [];
  assertGreater(names.length, 8);
  const helps = new Map<string, string>();
  for (const name of names) helps.set(name, (await kvs([name, "--help"])).stdout);
  const tools = (await Promise.all(
    ["bench.ts", "compile.ts"].map((name) => Deno.readTextFile(join(ROOT, "tools", name))),
  )).join("\n");
  const tasks = await Deno.readTextFile(join(ROOT, "deno.json"));
  const everything = [...helps.values(), tools, tasks].join("\n");
  for (const { path, text } of current) {
    assertEquals([path, unknownOptions(text, helps, tools)], [path, []]);
    for (const [variable] of text.matchAll(/\bKVS_[A-Z_]*[A-Z]\b/g)) {
      const known = new RegExp(`${variable}(?![A-Z_])`).test(everything);
      assert(known || variable === "KVS_TEST_SEED", `${path} names ${variable}`);
    }
  }
  const wrong =
    "Say `kvs get KEY --prune`, `--caches`.\n\n    kvs put a b --rows 1 | kvs keys --no\n";
  const found = ["kvs get --prune", "the option --caches", "kvs put --rows", "kvs keys --no"];
  assertEquals(unknownOptions(wrong, helps, tools), found);
});

/** Names of tasks that `text` tells people to run. */
function tasksIn(text: string): string[] {
  const matches = text.matchAll(/\bdeno(?:@[\d.]+)? task (?:--quiet )?([a-z][a-z0-9:-]*)/g);
  return [...matches].map(([, name = ""]) => name);
}

Deno.test("each task in the documents exists, and README begins with demo and test", async () => {
  const config: unknown = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  assert(typeof config === "object" && config !== null && "tasks" in config);
  const tasks = Object.keys(Object(config.tasks));
  for (const { path, text } of documents) {
    assertEquals([path, tasksIn(text).filter((name) => !tasks.includes(name))], [path, []]);
  }
  assertEquals(tasksIn("`deno task nothing` or `npx -y deno@2.9.6 task no:thing`"), [
    "nothing",
    "no:thing",
  ]);
  const commands = commandsOf(documentAt("README.md").text).map(({ line }) => line);
  assertEquals(commands.slice(0, 2), [
    "npx -y deno@2.9.6 task demo",
    "npx -y deno@2.9.6 task test",
  ]);
});

Deno.test("README lists the routes that a server lists, and operating.md its metrics", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.join("data"));
  const paths = (text: string) =>
    new Set([...text.matchAll(/(?<=[A-Z] |^ {2})\/[\w/]*/gm)].map(([path]) => path));
  const listed = paths((await server.ask("/")).body);
  const told = paths(sectionOf(documentAt("README.md"), "The routes").replaceAll("`", ""));
  assertGreater(listed.size, 8);
  assertEquals(told, new Set([...listed, "/"]));

  const { body } = await server.ask("/metrics");
  const text = documentAt("docs/operating.md").text;
  const metrics = [...text.matchAll(/\bkvs_[a-z_]+/g)].map(([name]) => name);
  assertGreater(metrics.length, 10);
  for (const name of metrics) assert(body.includes(`# TYPE ${name} `), `There is no ${name}`);
});

/** A section whose commands are run: in a folder of its own, with its ports replaced by free ones. */
class Session implements AsyncDisposable {
  readonly #dir = new TempDir();
  #running: Running | undefined;
  /** The ports in the place of 8000, 8001 and so on. */
  #ports: string[] = [];

  static async start(): Promise<Session> {
    const session = new Session();
    const { path } = session.#dir;
    await Deno.mkdir(join(path, "dist"));
    await Deno.symlink(KVS, join(path, "dist", "kvs"));
    await Deno.copyFile(join(ROOT, "README.md"), join(path, "README.md"));
    await Deno.copyFile(join(ROOT, "docs", "page-phone.png"), join(path, "photo.jpg"));
    await Deno.mkdir(join(path, "notes"));
    await Deno.writeTextFile(join(path, "notes", "monday.txt"), "A fine day\n");
    return session;
  }

  /** Starts the server or cluster of a document, as it stands there but for its port. */
  async #serve(line: string): Promise<void> {
    const [name = "", ...args] = line.replace(/\b8000\b/, "0").split(" ").slice(1);
    const isServer = name === "server";
    // A temporary folder of its own goes with ours, however it ends.
    const options = { cwd: this.#dir.path, env: { TMPDIR: this.#dir.path } };
    this.#running = new Running([name, ...args, ...(isServer ? [] : ["--port", "0"])], options);
    const [, list = ""] = await this.#running.line(
      isServer ? /listening.*address"?[=:]"?([0-9.:]+)/ : /^servers: (\S+)$/,
    );
    if (!isServer) await this.#running.line(/^all \d+ servers are ready$/);
    this.#ports = list.split(",").map((address) => address.split(":").at(-1) ?? "");
  }

  /** `text` with the ports that are listened on. */
  withPorts(text: string): string {
    const port = (number: string) => this.#ports[Number(number) - 8000] ?? number;
    return text
      .replaceAll(/localhost:\{(\d+)\.\.(\d+)\}/g, (_, first: string, last: string) => {
        const count = Number(last) - Number(first) + 1;
        const all = Array.from({ length: count }, (_, at) => `localhost:${port(`${+first + at}`)}`);
        return all.join(",");
      })
      .replaceAll(/(?<=localhost:)\d+/g, port);
  }

  /** Runs commands in one shell; returns what is not as the documents say, a line each. */
  async run(commands: readonly Command[]): Promise<string[]> {
    const served = commands.find(({ line }) => /^kvs (?:server|cluster)\b/.test(line));
    if (served !== undefined) await this.#serve(served.line);
    const hasJq = await hasProgram("jq");
    const tried = commands.filter((command) =>
      // The binary is made; a task is tried by its name. The rest of the section does without jq.
      command !== served && !command.line.startsWith("npx ") &&
      (hasJq || !/\bjq\b/.test(command.line))
    );
    const results = this.#dir.join("results");
    await Deno.mkdir(results, { recursive: true });
    const script = tried.map(({ line, prints }, at) => {
      const file = `${results}/${at}`;
      // To curl, an error that was answered is a success. It is none if it was not promised.
      const strict = prints === undefined ? line.replaceAll(/\bcurl\b/g, "curl --fail") : line;
      const run = `{ ${this.withPorts(strict)}\n} > ${file}.out 2> ${file}.err < /dev/null`;
      // The file of a key may follow the save a moment later.
      const poll = `for try in {1..500}; do\n${run} && break\nsleep 0.02\ndone`;
      return `${line.startsWith("cat ") ? poll : run}\necho $? > ${file}.code\n`;
    }).join("");
    await new Deno.Command("bash", {
      args: ["-c", `set -o pipefail\n${script}`],
      cwd: this.#dir.path,
      stdin: "null",
    }).output();
    const wrong: string[] = [];
    for (const [at, { line, prints }] of tried.entries()) {
      const read = (name: string) => Deno.readTextFile(`${results}/${at}.${name}`);
      const [code, out, err] = [await read("code"), await read("out"), await read("err")];
      if (code.trim() !== "0") wrong.push(`${line}: exit code ${code.trim()}: ${err}`);
      if (prints === undefined || isPrinted(out, this.withPorts(prints))) continue;
      wrong.push(`${line}: promised ${prints}, printed ${out}`);
    }
    await Deno.remove(results, { recursive: true });
    return wrong;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running?.[Symbol.asyncDispose]();
    await this.#dir[Symbol.asyncDispose]();
  }
}

async function hasProgram(name: string): Promise<boolean> {
  const { success } = await new Deno.Command("bash", {
    args: ["-c", `command -v ${name}`],
    stdout: "null",
  }).output();
  return success;
}

Deno.test("README's quick start does what it says", async () => {
  await using session = await Session.start();
  const commands = commandsOf(sectionOf(documentAt("README.md"), "Quick start"));
  assertGreater(commands.filter(({ prints }) => prints !== undefined).length, 8);
  assertEquals(await session.run(commands), []);
  // The same session tells what is wrong with others.
  const wrong = [
    { line: "curl -s localhost:8000/load/greeting", prints: "goodbye" },
    { line: "kvs serve 8000 ./data", prints: undefined },
    { line: "curl -s localhost:8000/nothing", prints: undefined },
  ];
  assertEquals((await session.run(wrong)).length, wrong.length);
});

Deno.test("daily use, HTTP by hand and scaling by hand do what the documents say", async () => {
  await using session = await Session.start();
  const daily = commandsOf(sectionOf(documentAt("docs/clients.md"), "Daily use"));
  assertGreater(daily.filter(({ prints }) => prints !== undefined).length, 6);
  const path = { line: 'export PATH="$PWD/dist:$PATH"', prints: undefined };
  assertEquals(await session.run([path, ...daily]), []);
  const http = commandsOf(sectionOf(documentAt("docs/clients.md"), "By HTTP"));
  assertGreater(http.length, 4);
  assertEquals(await session.run(http), []);
  const scaling = commandsOf(sectionOf(documentAt("docs/scaling.md"), "By hand"));
  assertGreater(scaling.length, 2);
  assertEquals(await session.run([path, ...scaling]), []);
});

Deno.test("the program in clients.md prints what it says, without import map", async () => {
  await using dir = new TempDir();
  const servers: Server[] = [];
  try {
    for (const name of ["0", "1", "2"]) servers.push(await Server.start(dir.join(name)));
    const list = servers.map(({ address }) => address).join(",");
    const section = sectionOf(documentAt("docs/clients.md"), "As a library");
    const lines = partsOf(section).blocks.flat();
    const program = lines.join("\n")
      .replaceAll("localhost:{8000..8002}", list)
      .replaceAll('"@kvs/kvs"', `"${new URL("../../core/client/kvs.ts", import.meta.url).href}"`);
    await Deno.writeTextFile(dir.join("program.ts"), program);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--check", "--no-config", "--no-remote", "--allow-net", "program.ts"],
      cwd: dir.path,
      env: { NO_COLOR: "1" },
    }).output();
    const decoder = new TextDecoder();
    assertEquals(code, 0, decoder.decode(stderr));
    const promised = lines.flatMap((line) => cutComment(line, "//").comment ?? []);
    assertGreater(promised.length, 1);
    assertEquals(decoder.decode(stdout).trim().split("\n"), promised);
  } finally {
    for (const server of servers) await server[Symbol.asyncDispose]();
  }
});
