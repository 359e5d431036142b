/**
 * kvs as a library: a store of keys and values that is many servers, for any TypeScript program.
 *
 * ```ts
 * import { Kvs } from "./core/kvs.ts";
 *
 * const store = await Kvs.open("server-{0..2}.server", { placement: "jump" });
 * await store.put("greeting", "hello");
 * const value = await store.get("greeting"); // value?.text is "hello"
 * for await (const key of store.keys({ prefix: "gr" })) console.log(key);
 * ```
 *
 * It imports nothing but its own files, so it needs no import map. It finds the server of each key,
 * and tries again what may succeed the next time: a server that cannot be connected to, does not
 * answer in time, cuts its answer off, or says 503, as all of them do while a StatefulSet restarts.
 * After three failures a server is left alone for a growing while, then probed by one request.
 *
 * What trying again means for writes:
 *
 * - A put or delete without condition does the same however often it is carried out, so it is simply
 *   repeated. One that fails for good may have been carried out all the same; so may, late, an attempt
 *   that was given up after a time-out. Writers that share a key should use conditions.
 * - A conditional write (`ifMatch`, `ifAbsent`) that is repeated after its answer was lost may find the
 *   condition broken by its own first attempt. An equal value proves nothing: two counters that both
 *   went from 5 to 6 are one lost count. So that is an UnknownOutcomeError, and the caller looks;
 *   unless the caller says that the value is `unique`, for example because it holds a random id: then
 *   finding it is the proof that the write was carried out.
 *
 * @module
 */
import { KvsError, PreconditionFailedError, RemoteError, UnknownOutcomeError } from "../errors.ts";
import { discoverServers } from "./discovery.ts";
import { checkKey, displayKey } from "../key.ts";
import {
  type KvsOptions,
  type Owner,
  type PutContent,
  type PutOptions,
  StoredValue,
  type StreamedValue,
} from "./kvs_types.ts";
import { type PlacementName, PLACEMENTS } from "../placement.ts";
import { mergeListings } from "./merge_listings.ts";
import { type CallOptions, equalBytes, type PutResult, type Remote } from "./remote.ts";
import { parseServerList, type Scheme, type ServerAddress } from "./server_list.ts";
import { ServerSet } from "./server_set.ts";
import { DEFAULT_CONTENT_TYPE } from "../protocol.ts";

export { Access } from "../access.ts";
export { DiscoveryError, InvalidKeyError, UsageError } from "../errors.ts";
export { KvsError, PreconditionFailedError, RemoteError, UnknownOutcomeError };
export * from "./kvs_types.ts";
export type { PlacementName, PutResult, Scheme, ServerAddress };

/** How long a server may be silent within a request, by default (ms). */
export const DEFAULT_TIMEOUT_MS = 5000;

/** For how long a request is tried again, by default (ms): longer than a Pod takes to restart. */
export const DEFAULT_PATIENCE_MS = 15_000;

/** The largest value (bytes) of which {@link Kvs.getStream} has all before it begins. */
const WHOLE_BYTES = 1024 ** 2;

/** Keys in one page of a listing. */
const PAGE_KEYS = 1000;

const encoder = new TextEncoder();

/**
 * The keys and values of a cluster. Nothing has to be closed; any number of calls may be under way.
 *
 * Every method that asks a server throws RemoteError when patience is at its end, or at once for a
 * status that no repetition changes (its `status`: 401, 413 value too large, 507 disk full, ...).
 */
export class Kvs {
  readonly #servers: ServerSet;

  /** @param servers In the order that placement goes by. */
  constructor(servers: readonly ServerAddress[], options: KvsOptions = {}) {
    const { placement = "modulo", timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    const { patienceMs = DEFAULT_PATIENCE_MS, clock, random } = options;
    this.#servers = new ServerSet({
      ...options,
      servers,
      placement: PLACEMENTS[placement],
      timeoutMs,
      retry: {
        patienceMs,
        ...(clock === undefined ? {} : { clock }),
        ...(random === undefined ? {} : { random }),
      },
    });
  }

  /**
   * Opens the servers of a list as `kvs --servers` takes it; asks only a name server, if that.
   *
   * @throws {UsageError} If the list is not one.
   * @throws {DiscoveryError} If a `srv:` item cannot be resolved.
   */
  static async open(list: string, options: KvsOptions = {}): Promise<Kvs> {
    const what = "the server list";
    const explicit = await discoverServers(list, what, options);
    return new Kvs(parseServerList(explicit, what, options.scheme), options);
  }

  /** The servers, in the order that placement goes by. */
  get servers(): readonly ServerAddress[] {
    return this.#servers.servers;
  }

  /** Which server `key` belongs to, whether it is there or not. Asks nobody. */
  ownerOf(key: string): Owner {
    const index = this.#servers.ownerOf(key);
    const server = this.servers[index];
    if (server === undefined) throw new RangeError("Placement outside of the server list");
    return { server, index };
  }

  /**
   * Gets a value, or resolves to `undefined` if the key is absent.
   *
   * @throws {InvalidKeyError} If there can be no such key.
   */
  async get(key: string, options: CallOptions = {}): Promise<StoredValue | undefined> {
    const found = await this.#ask(key, options, (remote) => remote.get(key, options));
    if (found === undefined) return undefined;
    const { bytes, contentType = DEFAULT_CONTENT_TYPE, etag = "" } = found;
    return new StoredValue(bytes, contentType, etag);
  }

  /**
   * As {@link get}, for values that do not fit into memory: resolves as soon as a large value begins.
   * Up to 1 MiB the value is here by then; a larger one that is cut off is an error of its stream,
   * and not tried again.
   */
  async getStream(key: string, options: CallOptions = {}): Promise<StreamedValue | undefined> {
    const found = await this.#ask(
      key,
      options,
      (remote) => remote.getStream(key, WHOLE_BYTES, options),
    );
    if (found === undefined) return undefined;
    const { body, size, contentType = DEFAULT_CONTENT_TYPE, etag = "" } = found;
    return { body, size, contentType, etag };
  }

  /**
   * Puts a value; resolves once it would survive a power cut. `created` is what the last attempt saw.
   *
   * @throws {InvalidKeyError} If there can be no such key.
   * @throws {PreconditionFailedError} If the condition does not hold; nothing was changed.
   * @throws {UnknownOutcomeError} If the condition does not hold after an attempt without an answer.
   */
  async put(key: string, content: PutContent, options: PutOptions = {}): Promise<PutResult> {
    const { contentType = DEFAULT_CONTENT_TYPE, ifMatch, ifAbsent, unique, signal } = options;
    const whole = typeof content === "string" ? encoder.encode(content) : content;
    const repeatable = !(whole instanceof ReadableStream);
    return await this.#ask(key, { signal, repeatable }, async (remote, uncertain) => {
      const bytes = typeof whole === "function" ? await whole() : whole;
      try {
        return await remote.put(key, { bytes, contentType }, { ifMatch, ifAbsent, signal });
      } catch (error) {
        if (!isPreconditionFailed(error)) throw error;
        if (uncertain && unique === true && whole instanceof Uint8Array) {
          const there = await remote.get(key, { signal });
          if (there !== undefined && equalBytes(there.bytes, whole)) {
            return { created: ifAbsent === true, etag: there.etag };
          }
        }
        throw brokenCondition(key, uncertain);
      }
    });
  }

  /**
   * Deletes a key; resolves to `false` if it was absent, to `true` also if it is gone after an attempt
   * whose answer was lost.
   *
   * @throws {InvalidKeyError} If there can be no such key.
   * @throws {PreconditionFailedError} If the value has another ETag; nothing was changed.
   * @throws {UnknownOutcomeError} If it has after an attempt without an answer.
   */
  async delete(
    key: string,
    { ifMatch, signal }: CallOptions & { readonly ifMatch?: string | undefined } = {},
  ): Promise<boolean> {
    return await this.#ask(key, { signal }, async (remote, uncertain) => {
      try {
        return await remote.delete(key, { ifMatch, signal }) || uncertain;
      } catch (error) {
        throw isPreconditionFailed(error) ? brokenCondition(key, uncertain) : error;
      }
    });
  }

  /**
   * All keys that start with `prefix`, those behind `after`, in the order of their UTF-8 bytes. Holds
   * one page of each server in memory. Copies on servers that do not own the key are left out: they
   * are what earlier moves left behind. A key saved or deleted meanwhile may or may not be there.
   *
   * @throws {KvsError} If a server lists its keys out of order, so that they cannot be merged.
   */
  async *keys(
    { prefix = "", after, signal }: CallOptions & {
      readonly prefix?: string | undefined;
      readonly after?: string | undefined;
    } = {},
  ): AsyncGenerator<string> {
    const listings = this.servers.map((_, index) => this.#owned(index, prefix, after, signal));
    for await (const merged of mergeListings(listings)) for (const { key } of merged) yield key;
  }

  /** The keys that a server holds and owns, in pages. */
  async *#owned(
    index: number,
    prefix: string,
    after: string | undefined,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<readonly string[]> {
    let from = after;
    do {
      const behind = from;
      const page = await this.#servers.ask(
        index,
        (remote) => remote.page(behind, PAGE_KEYS, { prefix, signal }),
        { signal },
      );
      yield page.keys.filter((key) => this.#servers.ownerOf(key) === index);
      from = page.next;
    } while (from !== undefined);
  }

  async #ask<T>(
    key: string,
    options: CallOptions & { readonly repeatable?: boolean },
    send: (remote: Remote, uncertain: boolean) => Promise<T>,
  ): Promise<T> {
    const index = this.#servers.ownerOf(checkKey(key));
    return await this.#servers.ask(
      index,
      (remote, { uncertain }) => send(remote, uncertain),
      options,
    );
  }
}

function isPreconditionFailed(error: unknown): boolean {
  return error instanceof RemoteError && error.status === 412;
}

function brokenCondition(key: string, uncertain: boolean): KvsError {
  return uncertain
    ? new UnknownOutcomeError(
      `Unknown outcome: the write of ${
        displayKey(key)
      } got no answer, and the condition does not hold any more`,
    )
    : new PreconditionFailedError(
      `Condition does not hold: ${displayKey(key)} is not as it was expected`,
    );
}
