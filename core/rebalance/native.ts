/** A server of ours as rebalance speaks to it: over the native routes, many keys a request. */
import { RemoteError } from "../errors.ts";
import { checkKey } from "../key.ts";
import { BatchRequests, type CopyFacts } from "./batch_requests.ts";
import {
  type Endpoint,
  type KeyedCopy,
  type Loaded,
  type Replacement,
  type Saved,
  type ServerStats,
} from "./endpoint.ts";
import { type Patience } from "./pace.ts";
import { type Listing } from "../client/merge_listings.ts";
import { type Copy, type Remote } from "../client/remote.ts";

/** Keys in one page of a listing. */
const PAGE_KEYS = 1000;

/** A server that speaks the native routes, which take any key and any value. */
export class NativeEndpoint implements Endpoint {
  readonly native = true;
  readonly #remote: Remote;
  readonly #bulk: BatchRequests;
  readonly #patience: Patience;
  #writes: number | undefined = 0;
  /** The move that its writes are part of; `undefined` before it begins, and where none is known of. */
  #move: string | undefined;

  constructor(remote: Remote, patience: Patience) {
    this.#remote = remote;
    this.#bulk = new BatchRequests(remote);
    this.#patience = patience;
  }

  get name(): string {
    return this.#remote.server.name;
  }

  get ownWrites(): number | undefined {
    return this.#writes;
  }

  get knowsMoves(): boolean {
    return this.#move !== undefined;
  }

  async *keys(): AsyncGenerator<readonly string[]> {
    let after: string | undefined;
    do {
      const from = after;
      const page = await this.#patience.run(() => this.#remote.page(from, PAGE_KEYS));
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

  whyRefused(key: string, _copy: Copy): string | undefined {
    return keyRefusal(key);
  }

  async beginMove(move: string, anew: boolean): Promise<void> {
    const isKnown = await this.#patience.run(() => {
      return this.#remote.tellMove(move, anew ? "restart" : "begin");
    });
    this.#move = isKnown ? move : undefined;
  }

  async completeMove(): Promise<void> {
    const move = this.#move;
    if (move !== undefined) {
      await this.#patience.run(() => this.#remote.tellMove(move, "complete"));
    }
  }

  async save({ key, copy, seen }: Replacement): Promise<Saved> {
    const move = this.#move;
    const condition = seen === undefined ? { ifAbsent: true } : { ifMatch: seen.etag ?? "*" };
    const isSaved = await this.#write(async () => {
      try {
        await this.#remote.put(key, copy, { move, ...condition });
        return true;
      } catch (error) {
        if (error instanceof RemoteError && error.status === 412) return false;
        throw error;
      }
    }, Number);
    return { isRefused: !isSaved, held: await this.load(key), answer: undefined };
  }

  loadMany(keys: readonly string[]): Promise<readonly Loaded[]> {
    return this.#patience.run(() => this.#bulk.get(keys));
  }

  async saveMany(entries: readonly Replacement[]): Promise<readonly Saved[]> {
    const puts = entries.map(({ key, copy, seen }) => {
      return { key, copy, seen: seen && (seen.etag ?? "*") };
    });
    const results = await this.#write(
      () => this.#bulk.putAndGet(puts, this.#move),
      (saved) => saved.filter(({ isRefused }) => !isRefused).length,
    );
    return results.map((result) => ({ ...result, answer: undefined }));
  }

  factsMany(keys: readonly string[]): Promise<readonly (CopyFacts | undefined)[]> {
    return this.#patience.run(() => this.#bulk.head(keys));
  }

  async deleteMany(entries: readonly KeyedCopy[]): Promise<readonly boolean[]> {
    this.#writes = undefined;
    const tagged = entries.map(({ key, copy }) => ({ key, etag: copy.etag ?? "*" }));
    return await this.#patience.run(() => this.#bulk.delete(tagged, this.#move));
  }

  async stats(): Promise<ServerStats | undefined> {
    return toStats(await this.#patience.run(() => this.#remote.stats()));
  }

  async #write<T>(work: () => Promise<T>, countOf: (result: T) => number): Promise<T> {
    // What was repeated, or failed, the server may have counted or not.
    const unsure = () => this.#writes = undefined;
    const before = this.#writes;
    try {
      const result = await this.#patience.run(work, unsure);
      if (this.#writes !== undefined) this.#writes += countOf(result);
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
