/** Many connections at once against one server, with everything watched that must not happen. */
import { assertEquals, assertLess } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { delay } from "@std/async/delay";
import { Dice } from "../crash/dice.ts";
import { Running, TempDir, until } from "../e2e/program.ts";
import { badRequest, SMUGGLED } from "./bad_requests.ts";
import { KnownKeys, type Piece } from "./good_requests.ts";
import { converse, judge, manner } from "./session.ts";

/** Connections at once. */
const WORKERS = 16;

/** How long a look at the canary may take (milliseconds): a stalled server is a failure. */
const CANARY_MS = 10_000;

/** What is to be done to a server. */
export interface FuzzOptions {
  readonly seed: number;
  /** Requests to send; the last session may go a few over it. */
  readonly requests: number;
  /** More options of `kvs server`. */
  readonly args?: readonly string[];
  /** Time-outs are short or the server may be ending: 503 and 408 are right answers everywhere. */
  readonly loose?: boolean;
  /** Ends the server by SIGTERM while requests go on; implies `loose`. */
  readonly endsUnderFire?: boolean;
}

/** What a run saw. */
export interface FuzzReport {
  readonly requests: number;
  readonly sessions: number;
  readonly seconds: number;
  readonly resets: number;
  readonly statuses: ReadonlyMap<number, number>;
  readonly slowestCanaryMs: number;
  /** What they stand for, in order. */
  readonly descriptors: { readonly before: readonly string[]; readonly after: readonly string[] };
  /** Resident memory in bytes: after the warm-up, and at the end. */
  readonly memory: { readonly before: number; readonly after: number };
}

/** Runs one server through `requests` requests; throws at the first thing that is wrong. */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { seed, requests, args = [], endsUnderFire = false } = options;
  const loose = endsUnderFire || (options.loose ?? false);
  const dice = new Dice(seed);
  await using dir = new TempDir();
  const cwd = dir.join("cwd");
  const data = dir.join("data");
  await Deno.mkdir(cwd);
  await Deno.writeTextFile(dir.join("secret.txt"), "SECRET");
  await using server = new Running(
    [
      "server",
      "0",
      data,
      "--host",
      "127.0.0.1",
      "--allow-host",
      "x",
      "--max-value",
      "64KiB",
      ...args,
    ],
    { cwd },
  );
  const [, portText = ""] = await server.line(/listening.*address=127\.0\.0\.1:([0-9]+)/);
  const port = Number(portText);
  const calm = descriptors(server.pid).filter(isSocket).length;
  await load(port, "/save/canary/sings");

  const statuses = new Map<number, number>();
  let [done, sessions, resets, slowestCanaryMs] = [0, 0, 0, 0];
  let [stopping, ending] = [false, false];

  /** Has one worker send sessions until `total` requests were sent by all. */
  const work = async (name: string, own: Dice, keys: KnownKeys, total: number) => {
    while (done < total && !ending) {
      const aborts = own.chance(0.1);
      const pieces = plan(own, keys, aborts);
      const size = pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
      // Where time-outs are short, some clients stay away for longer than they allow.
      const way = manner(own, size, aborts, loose ? 1500 : 300);
      done += pieces.length;
      sessions++;
      try {
        const answers = await converse(port, pieces, way);
        if (answers.reset) resets++;
        if (way.end === "half") judge(pieces, answers, statuses, loose);
      } catch (error) {
        if (
          stopping && (error instanceof Deno.errors.ConnectionRefused ||
            error instanceof Deno.errors.ConnectionReset)
        ) return;
        const sent = JSON.stringify(pieces.map(({ bytes }) => bytes.slice(0, 600)), null, 1);
        const why = error instanceof Error ? error.message : String(error);
        ending = true;
        throw new Error(`Seed ${seed}, ${name}: ${why}; ${JSON.stringify(way)}; sent: ${sent}`);
      }
    }
  };

  const workers = Array.from({ length: WORKERS }, (_, index) => {
    const own = dice.fork();
    return { name: `worker ${index}`, own, keys: new KnownKeys(`w${index}-`, own.fork()) };
  });
  const all = (total: number) =>
    Promise.all(workers.map(({ name, own, keys }) => work(name, own, keys, total)));

  /** Looks at the canary over connections of its own until `work` is done. */
  const watched = async (work: Promise<unknown>) => {
    let watching = true;
    const watch = async () => {
      while (watching) {
        const start = performance.now();
        const answer = await deadline(load(port, "/load/canary"), CANARY_MS);
        if (!loose) assertEquals(answer, "sings", `Seed ${seed}: the canary`);
        slowestCanaryMs = Math.max(slowestCanaryMs, performance.now() - start);
        await delay(20);
      }
    };
    await Promise.all([work.finally(() => watching = false), watch()]);
  };

  const start = performance.now();
  if (endsUnderFire) {
    const fire = all(Infinity);
    // Told of where it is awaited, not as an error of nobody.
    fire.catch(() => {});
    await until("enough was sent", () => done >= requests || ending ? true : undefined);
    stopping = true;
    server.kill("SIGTERM");
    assertEquals(await server.exit(), 0);
    ending = true;
    await fire;
    await checkFiles(dir.path, cwd, server);
    return {
      ...{ requests: done, sessions, resets, statuses, slowestCanaryMs },
      seconds: (performance.now() - start) / 1000,
      descriptors: { before: [], after: [] },
      memory: { before: 0, after: 0 },
    };
  }
  await watched(all(Math.ceil(requests / 4)));
  const before = { descriptors: await idle(server.pid, calm), memory: resident(server.pid) };
  await watched(all(requests));
  const after = { descriptors: await idle(server.pid, calm), memory: resident(server.pid) };
  const seconds = (performance.now() - start) / 1000;

  const smuggled = await load(port, `/load/${SMUGGLED}`);
  assertEquals(smuggled, "_key_not_found_", `Seed ${seed}: a body became a request`);
  await checkFiles(dir.path, cwd, server);
  server.kill("SIGINT");
  assertEquals(await server.exit(), 0);
  await checkFiles(dir.path, cwd, server);
  assertEquals(await Deno.readTextFile(`${data}/canary`), "sings");
  for await (const { name } of Deno.readDir(data)) await checkWhole(`${data}/${name}`, name);
  return {
    ...{ requests: done, sessions, seconds, resets, statuses, slowestCanaryMs },
    descriptors: { before: before.descriptors, after: after.descriptors },
    memory: { before: before.memory, after: after.memory },
  };
}

/** Says what a run saw, in one line. */
export function summary(report: FuzzReport): string {
  const { requests, sessions, seconds, resets, statuses, slowestCanaryMs } = report;
  const counts = [...statuses].sort(([a], [b]) => a - b).map(([status, n]) => `${status}: ${n}`);
  const { descriptors, memory } = report;
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  return `${requests} requests over ${sessions} connections in ${
    seconds.toFixed(1)
  } s, ${resets} ` +
    `reset; answers: ${counts.join(", ")}; slowest canary ${slowestCanaryMs.toFixed(0)} ms; ` +
    `descriptors ${descriptors.before.length} -> ${descriptors.after.length}, memory ${
      mib(memory.before)
    } -> ` +
    `${mib(memory.after)}`;
}

/** A session: some good requests, some bad; `aborts`: none that a model would have to know about. */
function plan(dice: Dice, keys: KnownKeys, aborts: boolean): Piece[] {
  if (aborts) {
    // Only the last may be cut off: what follows a body that is cut off is taken for its rest.
    const count = dice.integer(1, 6);
    return Array.from({ length: count }, (_, at) => aborted(dice, at === count - 1));
  }
  const pieces: Piece[] = [];
  for (let count = dice.integer(1, 8); count > 0; count--) {
    const bad = dice.chance(0.35);
    const piece = bad ? badRequest(dice, "mut") : keys.next();
    pieces.push(piece);
    // What follows a refusal is never carried out, so the model must not hear of it.
    if (piece.outcome === "answer") continue;
    while (dice.chance(0.5)) {
      const next = badRequest(dice, "mut");
      // Noise may take the beginning of what follows for its own end, or be two requests: behind it
      // nobody can say which answer is to a HEAD and so has no body.
      if (next.toHead && pieces.some(({ outcome }) => outcome === "noise")) continue;
      pieces.push(next);
    }
    break;
  }
  return pieces;
}

/** A save whose value tells whether it is whole; it may be cut off anywhere. */
function aborted(dice: Dice, last: boolean): Piece {
  const size = Math.floor(dice.logarithmic(10, 60_000));
  const value = `${size}:`.padEnd(size, "v");
  const cut = !last || dice.chance(0.5) ? size : dice.integer(0, size);
  const end = cut === size ? "\r\n0\r\n\r\n" : "";
  const head = `PUT /v1/keys/whole${dice.integer(0, 30)} HTTP/1.1\r\nHost: x\r\n`;
  const bytes = dice.chance(0.5)
    ? `${head}Content-Length: ${size}\r\n\r\n${value.slice(0, cut)}`
    : `${head}Transfer-Encoding: chunked\r\n\r\n${size.toString(16)}\r\n${
      value.slice(0, cut)
    }${end}`;
  return { bytes, toHead: false, outcome: "noise" };
}

/** The body of one answer, over a connection of its own. */
async function load(port: number, path: string): Promise<string> {
  const bytes = `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
  const piece = { bytes, toHead: false, outcome: "answer" } as const;
  const { received } = await converse(port, [piece], { portion: 0, deafMs: 0, end: "half" });
  return received.slice(received.indexOf("\r\n\r\n") + 4);
}

/** What descriptors are open, once no more than `calm` of them are sockets. */
async function idle(pid: number, calm: number): Promise<string[]> {
  const links = await until("the server lets go of all connections", () => {
    const links = descriptors(pid);
    const files = new Set(links.filter((link) => link.includes("/data/")));
    // With the checkpoint, segments of the journal come and go: at rest one is ready beside the lock.
    const busy = files.size !== 2 || ![...files].some((link) => link.includes("/journal-"));
    return busy || links.filter(isSocket).length > calm ? undefined : links;
  });
  return links.map((link) => link.replace(/\[\d+\]$|\d+$/, "")).sort();
}

/** What the descriptors of a process stand for. */
function descriptors(pid: number): string[] {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].flatMap(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/${pid}/fd/${name}`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  });
}

function isSocket(link: string): boolean {
  return link.startsWith("socket:");
}

function resident(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/VmRSS:\s+([0-9]+) kB/.exec(status)?.[1]) * 1024;
}

/** Nothing but the folder may have changed, and nothing frightening been printed. */
async function checkFiles(parent: string, cwd: string, server: Running): Promise<void> {
  assertEquals([...Deno.readDirSync(parent)].map(({ name }) => name).sort(), [
    "cwd",
    "data",
    "secret.txt",
  ]);
  assertEquals([...Deno.readDirSync(cwd)], []);
  assertEquals(await Deno.readTextFile(`${parent}/secret.txt`), "SECRET");
  const odd = [...server.stdout, ...server.stderr].filter((line) =>
    !/^[0-9T:.Z-]+ (info|warn) /.test(line)
  );
  assertEquals(odd.filter((line) => !/^127\.0\.0\.1:[0-9]+$/.test(line)), []);
  assertLess(server.stderr.length, 1000);
}

/** A value of {@link aborted} that was cut off must never be stored. */
async function checkWhole(path: string, name: string): Promise<void> {
  if (!name.startsWith("whole")) return;
  const value = await Deno.readTextFile(path);
  assertEquals(value.length, parseInt(value), `${name} is half a value`);
}
