/**
 * kvs as a library for TypeScript programs: one store of keys and values, kept by many servers.
 *
 * ```ts
 * import { Kvs } from "@kvs/kvs";
 *
 * const store = await Kvs.open("server-{0..2}.server", { placement: "jump" });
 * await store.put("greeting", "hello");
 * const value = await store.get("greeting"); // value?.text is "hello"
 * for await (const key of store.keys({ prefix: "gr" })) console.log(key);
 * ```
 *
 * The library imports only its own files, so it needs no import map. It asks the server that owns a key.
 * A request that may succeed the next time is tried again: if there is no connection, no answer in
 * time, an answer that is cut off, or the status 429, 502, 503 or 504. A server that failed three times
 * is left alone for a growing while, and then probed by one request.
 *
 * For writes this means:
 *
 * - A put or delete without a condition is repeated, since a repetition changes nothing. A write that
 *   fails for good may have been carried out all the same. An attempt that was given up after a
 *   time-out may be carried out late. Writers that share a key should use conditions.
 * - A conditional write (`ifMatch`, `ifAbsent`) may find its condition broken by its own first attempt,
 *   whose answer was lost. An equal value proves nothing: two counters that both went from 5 to 6 are
 *   one lost count. So the write throws UnknownOutcomeError, and the caller looks.
 * - A caller can say that a value is `unique`, for example because it holds a random id. Then finding the
 *   value proves that the write was carried out.
 *
 * @module
 */
import { KvsError, PreconditionFailedError, RemoteError, UnknownOutcomeError } from "../errors.ts";
import { checkKey, displayKey } from "../key.ts";
import { type PlacementName, PLACEMENTS } from "../placement.ts";
import { DEFAULT_CONTENT_TYPE } from "../protocol.ts";
import { discoverServers } from "./discovery.ts";
import {
  type KvsOptions,
  type Owner,
  type PutContent,
  type PutOptions,
  StoredValue,
  type StreamedValue,
} from "./kvs_types.ts";
import { mergeListings } from "./merge_listings.ts";
import { type CallOptions, equalBytes, type PutResult, type Remote } from "./remote.ts";
import { parseServerList, type Scheme, type ServerAddress } from "./server_list.ts";
import { type KeyAttempt, ServerSet } from "./server_set.ts";

export { Access, type AccessOptions } from "../access.ts";
export { DiscoveryError, InvalidKeyError, UsageError } from "../errors.ts";
export { KvsError, PreconditionFailedError, RemoteError, UnknownOutcomeError };
export type { Clock } from "./clock.ts";
export * from "./kvs_types.ts";
export type { Bytes, RemoteOptions, WriteCondition } from "./remote.ts";
export type { RetryOptions } from "./retry.ts";
export type { CallOptions, PlacementName, PutResult, Scheme, ServerAddress };

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
 * The keys and values of a cluster. Nothing has to be closed, and any number of calls may be under way.
 *
 * Every method that asks a server throws RemoteError when patience is at its end. For a `status` that
 * no repetition changes it throws at once: for example 401, 413 (value too large) or 507 (disk full).
 * A value of the key `.` or `..` can have 64 KiB at most; with a larger one the status is 413.
 */
export class Kvs {
  readonly #servers: ServerSet;
  readonly #placement: PlacementName;

  /**
   * Makes a store of servers that are known; {@link Kvs.open} reads them from a list.
   *
   * @param servers In the order that placement goes by.
   */
  constructor(servers: readonly ServerAddress[], options: KvsOptions = {}) {
    const { placement = "modulo", timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    const { patienceMs = DEFAULT_PATIENCE_MS, clock, random } = options;
    this.#placement = placement;
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
   * Opens the servers of a list as `kvs --servers` takes it. Asks no server, and a name server only for
   * `srv:` items.
   *
   * @throws {UsageError} If the list is not one.
   * @throws {DiscoveryError} If a `srv:` item cannot be resolved.
   */
  static async open(list: string, options: KvsOptions = {}): Promise<Kvs> {
    const what = "the server list";
    const explicit = await discoverServers(list, what, options);
    return new Kvs(parseServerList(explicit, what, options.scheme), options);
  }

  /**
   * Asks the servers for the layout of the cluster, unless that was done before. Then {@link servers} and
   * {@link ownerOf} go by the layout. Requests do this by themselves.
   */
  async discover({ signal }: CallOptions = {}): Promise<void> {
    await this.#servers.discover(signal);
  }

  /** The servers, in the order that placement goes by; in a move also those that will hold keys. */
  get servers(): readonly ServerAddress[] {
    return this.#servers.servers;
  }

  /** How keys are placed on {@link servers}, as far as is known. */
  get placement(): PlacementName {
    return this.#servers.layout?.placement ?? this.#placement;
  }

  /** The server that `key` belongs to, whether there is such a key or not, as far as is known. Asks no server. */
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
    const found = await this.#ask(key, options, (remote, { claim }) => {
      return remote.get(key, { ...options, claim });
    });
    if (found === undefined) return undefined;
    const { bytes, contentType = DEFAULT_CONTENT_TYPE, etag = "" } = found;
    return new StoredValue(bytes, contentType, etag);
  }

  /**
   * As {@link get}, for values that do not fit into memory. A value of at most 1 MiB is here when the
   * promise resolves. A larger one comes later; if it is cut off, its stream fails, and nothing is tried
   * again.
   *
   * @throws {InvalidKeyError} If there can be no such key.
   */
  async getStream(key: string, options: CallOptions = {}): Promise<StreamedValue | undefined> {
    const found = await this.#ask(
      key,
      options,
      (remote, { claim }) => remote.getStream(key, WHOLE_BYTES, { ...options, claim }),
    );
    if (found === undefined) return undefined;
    const { body, size, contentType = DEFAULT_CONTENT_TYPE, etag = "" } = found;
    return { body, size, contentType, etag };
  }

  /**
   * Puts a value; resolves when it would survive a power cut. `created` tells what the last attempt saw.
   *
   * @throws {InvalidKeyError} If there can be no such key.
   * @throws {PreconditionFailedError} If the condition does not hold; nothing was changed.
   * @throws {UnknownOutcomeError} If the condition does not hold after an attempt without an answer.
   * @throws Whatever a stream to be put fails with.
   */
  async put(key: string, content: PutContent, options: PutOptions = {}): Promise<PutResult> {
    const { contentType = DEFAULT_CONTENT_TYPE, ifMatch, ifAbsent, unique, signal } = options;
    const whole = typeof content === "string" ? encoder.encode(content) : content;
    const repeatable = !(whole instanceof ReadableStream);
    // While keys move, a look finds the server, so that a stream is rarely refused.
    if (!repeatable && await this.#isMoving(signal)) {
      await this.#ask(key, { signal }, (remote, { claim }) => remote.head(key, { signal, claim }));
    }
    return await this.#ask(key, { signal, repeatable }, async (remote, { uncertain, claim }) => {
      const bytes = typeof whole === "function" ? await whole() : whole;
      try {
        return await remote.put(key, { bytes, contentType }, { ifMatch, ifAbsent, signal, claim });
      } catch (error) {
        if (!isPreconditionFailed(error)) throw error;
        if (uncertain && unique === true && whole instanceof Uint8Array) {
          const there = await remote.get(key, { signal, claim });
          if (there !== undefined && equalBytes(there.bytes, whole)) {
            return { created: ifAbsent === true, etag: there.etag };
          }
        }
        throw brokenCondition(key, uncertain);
      }
    });
  }

  /**
   * Deletes a key; resolves to `false` if it was absent. A key that is gone after an attempt whose answer
   * was lost counts as deleted.
   *
   * @throws {InvalidKeyError} If there can be no such key.
   * @throws {PreconditionFailedError} If the value has another ETag; nothing was changed.
   * @throws {UnknownOutcomeError} If the value has another ETag after an attempt without an answer.
   */
  async delete(
    key: string,
    { ifMatch, signal }: CallOptions & { readonly ifMatch?: string | undefined } = {},
  ): Promise<boolean> {
    return await this.#ask(key, { signal }, async (remote, { uncertain, claim }) => {
      try {
        return await remote.delete(key, { ifMatch, signal, claim }) || uncertain;
      } catch (error) {
        throw isPreconditionFailed(error) ? brokenCondition(key, uncertain) : error;
      }
    });
  }

  /**
   * The keys that start with `prefix` and come behind `after`, in the order of their UTF-8 bytes. Holds
   * one page of each server in memory. Stale copies, which earlier moves left behind on servers that do
   * not own the key, are left out. A key that is saved or deleted meanwhile may be listed or not.
   *
   * @throws {KvsError} If a server lists its keys out of order, so that they cannot be merged.
   */
  async *keys(
    { prefix = "", after, signal }: CallOptions & {
      readonly prefix?: string | undefined;
      readonly after?: string | undefined;
    } = {},
  ): AsyncGenerator<string> {
    let from = after;
    if (this.#servers.layout === undefined) {
      try {
        const listings = this.servers.map((_, index) => this.#owned(index, prefix, after, signal));
        for await (const merged of mergeListings(listings)) {
          for (const { key } of merged) {
            yield key;
            from = key;
          }
        }
        return;
      } catch (error) {
        // The cluster has got its first layout meanwhile: the rest is listed by that.
        if (!(error instanceof LayoutFound)) throw error;
      }
    }
    while (true) {
      const { keys, upto } = await this.#servers.stretch(from, prefix, signal);
      yield* keys;
      if (upto === undefined) return;
      from = upto;
    }
  }

  /** Whether keys are moving, as far as is known. */
  async #isMoving(signal: AbortSignal | undefined): Promise<boolean> {
    await this.#servers.discover(signal);
    return this.#servers.layout?.next !== undefined;
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
      const page = await this.#servers.askServer(index, async (remote) => {
        await this.#servers.requireAnswer(remote.server.name, signal);
        if (this.#servers.layout !== undefined) throw new LayoutFound();
        return await remote.page(behind, PAGE_KEYS, { prefix, signal });
      }, { signal });
      if (page.epoch !== undefined && this.#servers.layout === undefined) {
        await this.#servers.find(index, signal);
      }
      if (this.#servers.layout !== undefined) throw new LayoutFound();
      yield page.keys.filter((key) => this.#servers.ownerOf(key) === index);
      from = page.next;
    } while (from !== undefined);
  }

  async #ask<T>(
    key: string,
    options: CallOptions & { readonly repeatable?: boolean },
    send: (remote: Remote, attempt: KeyAttempt) => Promise<T>,
  ): Promise<T> {
    return await this.#servers.askKey(checkKey(key), send, options);
  }
}

/** Thrown when a listing of a cluster without a layout meets a server with one. */
class LayoutFound extends Error {}

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
