/** A server of ours as rebalance speaks to it: over the native routes, many keys a request. */
import { RebalanceError } from "./errors.ts";
import { checkKey } from "./key.ts";
import { Bulk, type Facts } from "./rebalance_bulk.ts";
import {
  type Endpoint,
  type Entry,
  type Loaded,
  type Saved,
  type ServerStats,
} from "./rebalance_endpoint.ts";
import { type Patience } from "./rebalance_pace.ts";
import { type Listing } from "./rebalance_streams.ts";
import { type Copy, type Remote } from "./remote.ts";

/** Keys in one page of a listing. */
const PAGE_KEYS = 1000;

/** A server that speaks the native routes, which take any key and any value. */
export class NativeEndpoint implements Endpoint {
  readonly native = true;
  readonly #remote: Remote;
  readonly #bulk: Bulk;
  readonly #patience: Patience;
  #writes: number | undefined = 0;

  constructor(remote: Remote, patience: Patience) {
    this.#remote = remote;
    this.#bulk = new Bulk(remote);
    this.#patience = patience;
  }

  get name(): string {
    return this.#remote.server.name;
  }

  get ownWrites(): number | undefined {
    return this.#writes;
  }

  async *keys(): AsyncGenerator<readonly string[]> {
    let after: string | undefined;
    do {
      const from = after;
      const page = await this.#patience.run(() => this.#remote.page(from, PAGE_KEYS));
      if (page === undefined || (page.next !== undefined && page.keys.length === 0)) {
        throw new RebalanceError(`${this.name} answered with a listing that is none`);
      }
      yield page.keys;
      after = page.next;
    } while (after !== undefined);
  }

  sortedKeys(): Listing {
    return this.keys();
  }

  load(key: string): Promise<Copy | undefined> {
    return this.#patience.run(() => this.#remote.get(key));
  }

  refusal(key: string, _copy: Copy): string | undefined {
    return keyRefusal(key);
  }

  async save(key: string, copy: Copy): Promise<undefined> {
    await this.#write(1, () => this.#remote.put(key, copy));
  }

  loadMany(keys: readonly string[]): Promise<readonly Loaded[]> {
    return this.#patience.run(() => this.#bulk.get(keys));
  }

  async saveMany(entries: readonly Entry[]): Promise<readonly Saved[]> {
    const copies = await this.#write(entries.length, () => this.#bulk.putAndGet(entries));
    return copies.map((held) => ({ held, answer: undefined }));
  }

  factsMany(keys: readonly string[]): Promise<readonly (Facts | undefined)[]> {
    return this.#patience.run(() => this.#bulk.head(keys));
  }

  async deleteMany(entries: readonly Entry[]): Promise<readonly boolean[]> {
    this.#writes = undefined;
    const tagged = entries.map(({ key, copy }) => ({ key, etag: copy.etag ?? "*" }));
    return await this.#patience.run(() => this.#bulk.delete(tagged));
  }

  async stats(): Promise<ServerStats | undefined> {
    return toStats(await this.#patience.run(() => this.#remote.stats()));
  }

  async #write<T>(count: number, work: () => Promise<T>): Promise<T> {
    // What was repeated, or failed, the server may have counted or not.
    const unsure = () => this.#writes = undefined;
    const before = this.#writes;
    try {
      const result = await this.#patience.run(work, unsure);
      if (this.#writes !== undefined) this.#writes += count;
      return result;
    } catch (error) {
      if (before !== undefined) unsure();
      throw error;
    }
  }
}

function toStats(json: object | undefined): ServerStats | undefined {
  if (json === undefined) return undefined;
  const number = (name: string): number | undefined => {
    const field: unknown = Reflect.get(json, name);
    return typeof field === "number" ? field : undefined;
  };
  const text = (name: string): string | undefined => {
    const field: unknown = Reflect.get(json, name);
    return typeof field === "string" ? field : undefined;
  };
  const freeBytes = number("freeBytes");
  const blockBytes = number("blockBytes");
  if (freeBytes === undefined || blockBytes === undefined) return undefined;
  return {
    start: text("start"),
    writes: number("writes"),
    freeBytes,
    usedBytes: number("usedBytes"),
    freeFiles: number("freeFiles"),
    blockBytes,
    fileSystem: text("fileSystem"),
    journalBytes: number("journalBytes"),
  };
}

function keyRefusal(key: string): string | undefined {
  try {
    checkKey(key);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
