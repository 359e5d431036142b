/**
 * The crash suite: writers save, overwrite and delete; the server is killed in the midst of it and
 * started again on the same folder; what it then holds is compared with what it had acknowledged.
 *
 * SIGKILL leaves what was written to files in the page cache, so this finds what was acknowledged
 * before it was written, written in the wrong order, torn, or replayed wrongly. What a missing flush
 * would lose in a power cut it cannot find; the tests with files that fail do that.
 */
import { Buffer } from "node:buffer";
import { delay } from "@std/async/delay";
import { walk } from "@std/fs/walk";
import { join, relative } from "@std/path";
import { Running, Server, until } from "../e2e/program.ts";
import { KeyModel, type Loaded, Violation } from "./model.ts";
import { Dice } from "./dice.ts";
import { bytesOf, describe, identify, MAX_SIZE, type Version, WHOLE_LINE } from "./values.ts";

/** What a run is made of. */
export interface CrashOptions {
  /** Repeats the choices of a run (not its timing). */
  readonly seed: number;
  /** How many times the server is killed while writers are at work. */
  readonly kills: number;
  /** An empty folder. */
  readonly dir: string;
  /** Options of `kvs server`. */
  readonly args: readonly string[];
  /** How servers end; at random of {@link WAYS}. */
  readonly ways?: readonly Way[];
  /** Called after each end; what the suite itself is tested with. */
  readonly tamper?: (keys: readonly KeyModel[]) => Promise<void>;
}

/** What a run counted. */
export interface CrashCounts {
  kills: number;
  killsInStart: number;
  killsInStop: number;
  stops: number;
  operations: number;
  acknowledged: number;
  inFlight: number;
  inFlightApplied: number;
  /** Uploads of which the client sent a part and hung up: none may take effect. */
  abandoned: number;
  loads: number;
  files: number;
  /** The most bytes in the hidden folder after a stop that was not a kill. */
  hiddenBytes: number;
}

const WRITERS = 16;

/** How long writers are let alone before a kill (milliseconds), spread logarithmically. */
const LIFE_MS = [0.3, 600] as const;

/** Acknowledgements before a kill that comes with the last of them, spread logarithmically. */
const LIFE_ACKS = [1, 400] as const;

/** SIGKILL this long after SIGTERM at most (milliseconds). */
const STOP_MS = 40;

const LOADS_AT_ONCE = 8;

/** What a server that was stopped may leave besides the keys; far under what leftovers add up to. */
const HIDDEN_BOUND = 32 * 1024 * 1024;

/** How a server ends: killed at some time or with some acknowledgement, stopped, killed in a stop. */
export type Way = "time" | "acks" | "stop" | "killed stop";

export const WAYS: readonly Way[] = [
  ...Array.from({ length: 4 }, (): Way => "time"),
  ...Array.from({ length: 4 }, (): Way => "acks"),
  "stop",
  "killed stop",
];

/** The exit code of a process that SIGKILL ended. */
const KILLED = 137;

/** Keys of a writer, with the file names that section 2.3 of the specification gives them. */
function keysOf(writer: number): KeyModel[] {
  const w = `w${String(writer).padStart(2, "0")}`;
  return [
    new KeyModel(`${w}`, `${w}`, false),
    new KeyModel(`${w}/sub,100%`, `${w}%2Fsub,100%25`, false),
    new KeyModel(`.${w}`, `%2E${w}`, false),
    new KeyModel(`${w} ü 😀`, `${w} ü 😀`, false),
    new KeyModel(`${w}-short`, `${w}-short`, true),
    new KeyModel(`${w}\n`, `${w}%0A`, true),
  ];
}

/** Runs the suite on a folder. @throws {Violation} If the server broke a promise. */
export async function crash(options: CrashOptions): Promise<CrashCounts> {
  const run = new CrashRun(options);
  await run.play();
  return run.counts;
}

class CrashRun {
  readonly counts: CrashCounts = {
    kills: 0,
    killsInStart: 0,
    killsInStop: 0,
    stops: 0,
    operations: 0,
    acknowledged: 0,
    inFlight: 0,
    inFlightApplied: 0,
    abandoned: 0,
    loads: 0,
    files: 0,
    hiddenBytes: 0,
  };
  readonly #options: CrashOptions;
  readonly #random: Dice;
  readonly #writers = Array.from({ length: WRITERS }, (_, writer) => keysOf(writer));
  readonly #keys = this.#writers.flat();
  #life = 0;
  /** What is being done, for who reads of a failure. */
  #stage = "";
  #server: Running | undefined;
  #startMs = 50;

  constructor(options: CrashOptions) {
    this.#options = options;
    this.#random = new Dice(options.seed);
  }

  async play(): Promise<void> {
    try {
      while (this.counts.kills < this.#options.kills) await this.#live();
      // Once more for the last kill.
      await using life = await this.#start();
      await this.#verify(life);
    } catch (error) {
      const { seed, args } = this.#options;
      const log = this.#server?.stderr.slice(-20).map((line) => `\n  ${line}`).join("");
      throw new Error(
        `KVS_TEST_SEED=${seed}, life ${this.#life} after ${this.counts.kills} kills ` +
          `(${this.#stage}), kvs server ${args.join(" ")}: the last server printed:${log}`,
        { cause: error },
      );
    }
  }

  /** Start, verify, write, end: once. */
  async #live(): Promise<void> {
    this.#life++;
    const random = this.#random.fork();
    if (random.chance(0.25)) await this.#killInStart(random);
    {
      await using life = await this.#start();
      // Writers that come at once meet the server while it is still at what the last one left.
      const verifies = this.#options.tamper !== undefined || random.chance(0.75);
      if (verifies) await this.#verify(life);
      await this.#writeUntilTheEnd(life, random);
    }
    await this.#options.tamper?.(this.#keys);
  }

  async #start(): Promise<Life> {
    this.#stage = "start";
    const before = performance.now();
    const life = new Life(await Server.start(this.#options.dir, this.#options.args));
    this.#server = life.server;
    await until("the server is ready", async () => {
      const response = await life.fetch("/readyz");
      await response.body?.cancel();
      return response.status === 200 ? true : undefined;
    });
    this.#startMs = performance.now() - before;
    return life;
  }

  /** Kills one to three servers while they start. */
  async #killInStart(random: Dice): Promise<void> {
    const { dir, args } = this.#options;
    for (let left = random.integer(1, 3); left > 0; left--) {
      await using server = new Running(["server", "0", dir, "--host", "127.0.0.1", ...args]);
      this.#server = server;
      await delay(random.next() * this.#startMs * (random.chance(0.5) ? 1 : 3));
      server.kill("SIGKILL");
      const code = await server.exit();
      if (code !== KILLED) {
        throw new Violation("wrong", `A start ended with exit code ${code}`);
      }
      this.counts.killsInStart++;
    }
  }

  async #writeUntilTheEnd(life: Life, random: Dice): Promise<void> {
    const way = random.of(this.#options.ways ?? WAYS);
    this.#stage = `writers at work until ${way}`;
    const acks = way === "acks" ? random.logarithmic(...LIFE_ACKS) : Infinity;
    const lifeMs = way === "acks" ? LIFE_MS[1] : random.logarithmic(...LIFE_MS);
    life.work = [
      ...this.#writers.map((keys) => this.#write(life, keys, acks, random.fork())),
      ...(random.chance(0.6) ? [this.#watchFiles(life, random.fork())] : []),
    ];
    // A writer that finds a fault ends the wait at once.
    await Promise.race([life.over(lifeMs), Promise.all(life.work)]);
    life.ending = true;
    if (way === "stop" || way === "killed stop") life.server.kill("SIGTERM");
    if (way === "killed stop") await delay(random.next() * STOP_MS);
    if (way !== "stop") killIfAlive(life.server);
    const code = await life.server.exit();
    await Promise.all(life.work);

    if (code === KILLED) this.counts.kills++;
    else if (code === 0) this.counts.stops++;
    else throw new Violation("wrong", `The server ended with exit code ${code}`);
    if (way === "killed stop" && code === KILLED) this.counts.killsInStop++;
    await this.#checkFiles(code === 0);
  }

  /** One writer: one operation after the other on keys of its own, until the server is gone. */
  async #write(
    life: Life,
    keys: readonly KeyModel[],
    acks: number,
    random: Dice,
  ): Promise<void> {
    while (!life.ending) {
      const key = random.of(keys);
      this.counts.operations++;
      if (!await this.#operate(life, key, random)) continue;
      this.counts.acknowledged++;
      if (++life.acknowledged >= acks && !life.ending) {
        life.ending = true;
        life.server.kill("SIGKILL");
        life.end();
      }
    }
  }

  /** One operation; returns whether it was acknowledged. @throws {Violation} If the answer is wrong. */
  async #operate(life: Life, model: KeyModel, random: Dice): Promise<boolean> {
    // What is not known has to be known before the next write.
    if (model.pending !== undefined || random.chance(0.1)) {
      const loaded = await life.attempt(() => life.load(model.key));
      if (loaded === "unknown") return false;
      await this.#settle(life, model, loaded);
      return true;
    }

    if (random.chance(0.03)) {
      await life.attempt(() => life.abandonUpload(model.key, random));
      this.counts.abandoned++;
      return false;
    }

    const { path, init, to, status, body } = randomWrite(model, random);
    model.pending = { to };
    const answer = await life.attempt(() => life.ask(path, init));
    if (answer === "unknown") {
      this.counts.inFlight++;
      return false;
    }
    if (answer.status === 503 && life.ending) {
      model.refuse();
      return false;
    }
    const isRight = answer.status === status &&
      (body === undefined || answer.body === undefined || answer.body === body) &&
      (init.method !== "PUT" || answer.etag !== undefined);
    if (!isRight) {
      const headers = JSON.stringify([...new Headers(init.headers)]);
      throw new Violation(
        "wrong",
        `${init.method ?? "GET"} ${path} ${headers} on ${describe(model.current)}: expected was ` +
          `${status}, answered was ${answer.status} with ETag ${answer.etag}: ${answer.body}`,
      );
    }
    model.acknowledge(answer.etag);
    return true;
  }

  /** Takes what a load brought. A fault that a second load does not have is no loss, but a race. */
  async #settle(life: Life, model: KeyModel, loaded: Loaded | undefined): Promise<void> {
    this.counts.loads++;
    try {
      if (model.settle(loaded)) this.counts.inFlightApplied++;
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      const again = await life.attempt(() => life.load(model.key));
      const seen = again === "unknown" ? "no answer" : again && identify(model.key, again.bytes);
      const text = typeof seen === "string" ? seen : describe(seen);
      throw new Violation(error.fault, `${error.message}; loaded once more it was ${text}`);
    }
  }

  /** Somebody who copies the plain files of a running server: each is whole. */
  async #watchFiles(life: Life, random: Dice): Promise<void> {
    while (!life.ending) {
      const key = random.of(this.#keys);
      // What was saved before the read and what is saved during it are both issued when it ends.
      key.checkFile(await readIfThere(join(this.#options.dir, key.fileName)), false);
      this.counts.files++;
    }
  }

  /** Every key, the listings, and the plain files, after a start. */
  async #verify(life: Life): Promise<void> {
    this.#stage = "verification after a start";
    const queue = this.#keys.values();
    await Promise.all(Array.from({ length: LOADS_AT_ONCE }, async () => {
      for (const key of queue) {
        await this.#settle(life, key, await life.load(key.key));
        const { current } = key;
        if (current !== undefined && current.form !== "text") continue;
        const { body } = await life.ask(`/load/${encodeURIComponent(key.key)}`);
        const word = current === undefined
          ? "_key_not_found_"
          : new TextDecoder().decode(bytesOf(key.key, current));
        if (body !== word) throw new Violation("wrong", `/load/${key.key} answered ${body}`);
      }
    }));

    const keys = this.#keys.filter((key) => key.current !== undefined).map((key) => key.key)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const expected = keys.map(encodeURIComponent).join();
    const all = await life.ask("/allKeys");
    if (all.body !== expected) {
      throw new Violation("wrong", `/allKeys is ${all.body}, loads say ${expected}`);
    }
    const page = await life.ask("/v1/keys?limit=10000");
    if (page.body?.trimEnd() !== JSON.stringify({ keys, next: null })) {
      throw new Violation("wrong", `/v1/keys is ${page.body}, loads say ${JSON.stringify(keys)}`);
    }
  }

  /** The plain files while no server runs; `exact` after a stop in which all had to be written. */
  async #checkFiles(exact: boolean): Promise<void> {
    this.#stage = "plain files after an end";
    const { dir } = this.#options;
    const names = new Set(this.#keys.map((key) => key.fileName));
    for await (const { name } of Deno.readDir(dir)) {
      if (name.startsWith(".") || names.has(name)) continue;
      throw new Violation("wrong", `${JSON.stringify(name)} in the data directory is no key`);
    }
    for (const key of this.#keys) {
      key.checkFile(await readIfThere(join(dir, key.fileName)), exact);
      this.counts.files++;
    }
    if (!exact) return;
    const bytes = await hiddenBytes(dir);
    this.counts.hiddenBytes = Math.max(this.counts.hiddenBytes, bytes);
    if (bytes > HIDDEN_BOUND) throw new Violation("wrong", `${bytes} bytes of leftovers`);
  }
}

const CONTENT_TYPES = [
  null,
  null,
  "application/octet-stream",
  "text/plain; charset=utf-8",
  "image/png",
];

/** A write, what it leads to, and the answer that it must have. */
interface Write {
  readonly path: string;
  readonly init: RequestInit;
  readonly to: Version | undefined;
  readonly status: number;
  readonly body?: string;
}

function randomWrite(model: KeyModel, random: Dice): Write {
  const { key, current, etag } = model;
  const existed = current !== undefined;
  const segment = encodeURIComponent(key);
  const path = `/v1/keys/${segment}`;
  const dice = random.next();
  if (dice < 0.22) {
    const headers: HeadersInit = existed && etag !== undefined && random.chance(0.3)
      ? { "if-match": etag }
      : {};
    const init = { method: "DELETE", headers };
    return { path, init, to: undefined, status: existed ? 204 : 404 };
  }
  if (dice < 0.33) {
    const to = model.issue(random.integer(WHOLE_LINE, 1500), "text", undefined);
    const word = new TextDecoder().decode(bytesOf(key, to));
    const save = `/save/${segment}/${encodeURIComponent(word)}`;
    return { path: save, init: {}, to, status: 200, body: word };
  }
  const contentType = random.of(CONTENT_TYPES) ?? undefined;
  const to = model.issue(randomSize(model, random), "bytes", contentType);
  const headers = new Headers(contentType === undefined ? {} : { "content-type": contentType });
  if (random.chance(0.2)) {
    if (!existed) headers.set("if-none-match", "*");
    else if (etag !== undefined) headers.set("if-match", etag);
  }
  const bytes = bytesOf(key, to);
  // As a stream it comes in chunks, without Content-Length.
  const body = random.chance(0.1) ? inPieces(bytes, random) : bytes;
  const init = { method: "PUT", headers, body };
  return { path, init, to, status: existed ? 204 : 201 };
}

/** Mostly small, some around the border of large values (64 KiB), some of 1 MiB. */
function randomSize(key: KeyModel, random: Dice): number {
  const dice = random.next();
  if (key.mayBeShort && dice < 0.3) return dice < 0.15 ? 0 : random.integer(1, WHOLE_LINE - 1);
  if (dice < 0.75) return Math.round(random.logarithmic(WHOLE_LINE, 16 * 1024));
  if (dice < 0.8) return random.integer(65_535, 65_537);
  if (dice < 0.94) return random.integer(60 * 1024, 70 * 1024);
  return dice < 0.97 ? MAX_SIZE : random.integer(70 * 1024, MAX_SIZE);
}

function inPieces(bytes: Uint8Array<ArrayBuffer>, random: Dice): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      const end = at + random.integer(1, 40_000);
      if (at < bytes.length) controller.enqueue(bytes.subarray(at, end));
      if (end >= bytes.length) controller.close();
      at = end;
    },
  });
}

/** What the server answered to a write. */
interface Answer {
  readonly status: number;
  readonly etag: string | undefined;
  /** `undefined` where the end of the server cut it off. */
  readonly body: string | undefined;
}

/** One server from its start to its end, and a client with connections of its own. */
class Life implements AsyncDisposable {
  readonly server: Server;
  /** Whether it was told to end; from now on a request may fail. */
  ending = false;
  acknowledged = 0;
  /** What uses the server; over soon after the server is. */
  work: readonly Promise<void>[] = [];
  readonly #client = Deno.createHttpClient({ poolMaxIdlePerHost: 2 * WRITERS });
  readonly #end = Promise.withResolvers<void>();

  constructor(server: Server) {
    this.server = server;
  }

  /** Resolves after `ms`, or when `end` is called. */
  async over(ms: number): Promise<void> {
    const timer = setTimeout(this.#end.resolve, ms);
    await this.#end.promise;
    clearTimeout(timer);
  }

  end(): void {
    this.#end.resolve();
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://${this.server.address}${path}`, { ...init, client: this.#client });
  }

  /** A request whose answer is status and ETag: that its body is cut off does not unsay them. */
  async ask(path: string, init: RequestInit = {}): Promise<Answer> {
    const response = await this.fetch(path, init);
    const etag = response.headers.get("etag") ?? undefined;
    const body = await response.text().catch((error) => {
      if (!this.ending) throw error;
      return undefined;
    });
    return { status: response.status, etag, body };
  }

  /** Loads a key by its v1 route. */
  async load(key: string): Promise<Loaded | undefined> {
    const response = await this.fetch(`/v1/keys/${encodeURIComponent(key)}`);
    if (response.status === 200) {
      return {
        bytes: await response.bytes(),
        contentType: response.headers.get("content-type") ?? undefined,
        etag: response.headers.get("etag") ?? undefined,
      };
    }
    const body = await response.text();
    if (response.status === 404) return undefined;
    if (response.status === 503 && this.ending) throw new ShuttingDown();
    throw new Violation("wrong", `A load of ${key} answered ${response.status} ${body}`);
  }

  /** Begins to upload a value, with its length or in chunks, and hangs up before its end. */
  async abandonUpload(key: string, random: Dice): Promise<void> {
    const bytes = Math.round(random.logarithmic(1, 200_000));
    const missing = Math.round(random.logarithmic(1, 200_000));
    const size = bytes + missing;
    const framing = random.chance(0.5)
      ? `Content-Length: ${size}\r\n\r\n`
      : `Transfer-Encoding: chunked\r\n\r\n${size.toString(16)}\r\n`;
    const head = `PUT /v1/keys/${
      encodeURIComponent(key)
    } HTTP/1.1\r\nHost: localhost\r\n${framing}`;
    const request = Buffer.concat([Buffer.from(head), Buffer.alloc(bytes, "abandoned ")]);
    using connection = await Deno.connect({ hostname: "127.0.0.1", port: this.server.port });
    for (let at = 0; at < request.length;) at += await connection.write(request.subarray(at));
    // A server that has read all this may still be about to find that it was not all.
    if (random.chance(0.5)) await connection.closeWrite();
  }

  /** Runs a request that may fail as soon as the server is to end, but not before. */
  async attempt<T>(request: () => Promise<T>): Promise<T | "unknown"> {
    try {
      return await request();
    } catch (error) {
      if (error instanceof Violation || !this.ending) throw error;
      return "unknown";
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.ending = true;
    this.end();
    await this.server[Symbol.asyncDispose]();
    await Promise.allSettled(this.work);
    this.#client.close();
  }
}

/** A load that a server which is to end has refused. */
class ShuttingDown extends Error {}

function killIfAlive(server: Running): void {
  try {
    server.kill("SIGKILL");
  } catch (error) {
    // It has ended in this very moment, and nobody has been told yet.
    if (!(error instanceof TypeError)) throw error;
  }
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Without what is kept for deletes on purpose. */
async function hiddenBytes(dir: string): Promise<number> {
  let bytes = 0;
  for await (const entry of walk(dir, { includeDirs: false })) {
    const path = relative(dir, entry.path);
    if (path.startsWith(".") && path !== join(".kvs", "reserve")) {
      bytes += (await Deno.stat(entry.path)).size;
    }
  }
  return bytes;
}
