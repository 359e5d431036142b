/** Servers that clients go on using while they are scaled: writers that count, and a reader. */
import { delay } from "@std/async/delay";
import { Kvs, type KvsOptions } from "../../core/client/kvs.ts";
import {
  KvsError,
  PreconditionFailedError,
  RemoteError,
  UnknownOutcomeError,
} from "../../core/errors.ts";
import { type Finished, kvs, Running, Server, TempDir } from "./program.ts";

/** Servers on folders and ports that they keep. */
export class ScaleCluster implements AsyncDisposable {
  readonly dir = new TempDir();
  readonly servers: Server[] = [];

  /** Starts `count` servers. */
  static async start(count: number): Promise<ScaleCluster> {
    const cluster = new ScaleCluster();
    for (let index = 0; index < count; index++) await cluster.add();
    return cluster;
  }

  /** Starts one more server. */
  async add(): Promise<void> {
    this.servers.push(await Server.start(this.dir.join(`server-${this.servers.length}`)));
  }

  at(index: number): Server {
    const server = this.servers[index];
    if (server === undefined) throw new RangeError(`No server ${index}`);
    return server;
  }

  /** The first `count` servers as a list. */
  list(count: number): string {
    return this.servers.slice(0, count).map(({ address }) => address).join(",");
  }

  /** Ends a server as a crash does, and starts it again on its folder and port. */
  async crash(index: number): Promise<void> {
    const server = this.at(index);
    server.kill("SIGKILL");
    await server.exit();
    this.servers[index] = await Server.start(server.dir, [], server.port);
  }

  /** Ends a server, and starts it again on an empty folder. */
  async loseDisk(index: number): Promise<void> {
    const server = this.at(index);
    server.kill("SIGKILL");
    await server.exit();
    await Deno.remove(server.dir, { recursive: true });
    this.servers[index] = await Server.start(server.dir, [], server.port);
  }

  /** Runs `kvs scale` to the first `count` servers; the layout is asked of the first one. */
  async scale(count: number, ...args: string[]): Promise<Finished> {
    return await kvs(["scale", this.list(count), "--servers", this.list(1), ...args]);
  }

  /** As {@link scale}, as a process. */
  start(count: number, ...args: string[]): Running {
    return new Running(["scale", this.list(count), "--servers", this.list(1), ...args]);
  }

  /** Makes the layout of the first `count` servers. */
  async found(count: number, ...args: string[]): Promise<Finished> {
    const list = this.list(count);
    return await kvs(["scale", list, "--servers", list, ...args]);
  }

  /** A client of the first `count` servers. */
  async client(count = 1, options: KvsOptions = {}): Promise<Kvs> {
    return await Kvs.open(this.list(count), { patienceMs: 60_000, ...options });
  }

  /** How many keys each server holds, by what it says itself. */
  async keysOf(): Promise<number[]> {
    return await Promise.all(this.servers.map(async (server) => {
      const { body } = await server.ask("/v1/stats");
      const { keys } = JSON.parse(body);
      return typeof keys === "number" ? keys : NaN;
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.servers) await server[Symbol.asyncDispose]();
    await this.dir[Symbol.asyncDispose]();
  }
}

/** Clients that count up keys by conditional writes, and one that reads keys that are always there. */
export class Load {
  /** What went wrong, a line each. */
  readonly faults: string[] = [];
  /** Increments that were acknowledged, by key. */
  readonly #counts = new Map<string, number>();
  /** Increments whose outcome nobody knows, by key: each may have been carried out. */
  readonly #unknown = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #work: Promise<void>[] = [];
  reads = 0;

  /** Begins: each of `writers` counts keys of its own. */
  static async begin(
    cluster: ScaleCluster,
    { writers, keys, fixed }: {
      readonly writers: number;
      /** Number of counters of each writer. */
      readonly keys: number;
      /** Keys that are there all the time. */
      readonly fixed: readonly string[];
    },
  ): Promise<Load> {
    const load = new Load();
    for (let writer = 0; writer < writers; writer++) {
      const own = Array.from({ length: keys }, (_, index) => `counter-${writer}-${index}`);
      load.#work.push(load.#count(await cluster.client(), own));
    }
    load.#work.push(load.#read(await cluster.client(), fixed));
    return load;
  }

  /** Number of increments that were acknowledged. */
  get increments(): number {
    return this.#counts.values().reduce((sum, count) => sum + count, 0);
  }

  /** Ends all clients, and compares the counters with what was acknowledged. */
  async end(store: Kvs): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#work);
    for (const [key, count] of this.#counts) {
      const text = (await store.get(key))?.text;
      const most = count + (this.#unknown.get(key) ?? 0);
      const found = Number(text);
      if (!(found >= count && found <= most)) {
        this.faults.push(`${key} is ${text}; ${count} to ${most} increments were made`);
      }
    }
  }

  async #count(store: Kvs, keys: readonly string[]): Promise<void> {
    await this.#repeat(async (round) => {
      const key = keys[round % keys.length] ?? "";
      const found = await store.get(key);
      const done = this.#counts.get(key) ?? 0;
      if (found === undefined && done > 0) this.faults.push(`${key} is gone after ${done}`);
      const next = String(Number(found?.text ?? "0") + 1);
      try {
        const condition = found === undefined ? { ifAbsent: true } : { ifMatch: found.etag };
        await store.put(key, next, condition);
        this.#counts.set(key, done + 1);
      } catch (error) {
        const isUnknown = error instanceof UnknownOutcomeError ||
          (error instanceof RemoteError && error.status === undefined);
        if (isUnknown) this.#unknown.set(key, (this.#unknown.get(key) ?? 0) + 1);
        else if (error instanceof PreconditionFailedError) {
          // Only this writer counts this key. An outcome that was unknown may show late.
          if (!this.#unknown.has(key)) this.faults.push(`${key} was changed by somebody else`);
        } else throw error;
      }
    });
  }

  async #read(store: Kvs, keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return;
    await this.#repeat(async (round) => {
      const key = keys[(round * 7919) % keys.length] ?? "";
      const found = await store.get(key);
      if (found?.text !== valueOf(key)) this.faults.push(`${key} reads ${found?.text}`);
      this.reads++;
    });
  }

  async #repeat(work: (round: number) => Promise<void>): Promise<void> {
    for (let round = 0; !this.#stop.signal.aborted; round++) {
      try {
        await work(round);
      } catch (error) {
        if (!(error instanceof KvsError)) throw error;
        this.faults.push(error.message);
        await delay(100);
      }
    }
  }
}

/** The value of a key that is there all the time. */
export function valueOf(key: string): string {
  return `value of ${key}`;
}

/** Puts `count` keys, and returns them. */
export async function fill(store: Kvs, count: number): Promise<string[]> {
  const keys = Array.from({ length: count }, (_, index) => `key-${index}`);
  const workers = Array.from({ length: 32 }, async (_, worker) => {
    for (let at = worker; at < count; at += 32) await store.put(`key-${at}`, valueOf(`key-${at}`));
  });
  await Promise.all(workers);
  return keys;
}
