/** A server as rebalance needs it: listing, loading, saving and deleting, over what it speaks. */
import { KvsError, RebalanceError, RemoteError } from "./errors.ts";
import { checkKey, compareKeys, toSegment } from "./key.ts";
import { KEY_NOT_FOUND, TEXT_TYPE } from "./protocol.ts";
import { type Listing } from "./rebalance_streams.ts";
import { type Copy, equalBytes, Remote, type RemoteOptions } from "./remote.ts";
import { type ServerAddress } from "./server_list.ts";
import { DEFAULT_CONTENT_TYPE } from "./store.ts";

/** A server that keys are moved from or to. Methods throw RemoteError when it fails. */
export interface Endpoint {
  /** As the user wrote it. */
  readonly name: string;
  /**
   * Whether it speaks the native routes. If not, it knows the three book routes only: values are
   * UTF-8 that fits into a URL, there is no content type, and nothing can be deleted.
   */
  readonly native: boolean;
  /** All its keys, in pages, in its own order. */
  keys(): Listing;
  /** All its keys, in pages, in the order of `compareKeys`. */
  sortedKeys(): Listing;
  /** The copy of `key`, or `undefined` if it holds none. */
  load(key: string): Promise<Copy | undefined>;
  /** Why it cannot take `copy` under `key`, as the end of a sentence; `undefined` if it can. */
  refusal(key: string, copy: Copy): string | undefined;
  /** Saves, replacing what was there; resolves to its answer where that has words. */
  save(key: string, copy: Copy): Promise<string | undefined>;
  /** Deletes the copy if it still is `copy`; `false` if it is another by now, or gone. */
  delete(key: string, copy: Copy): Promise<boolean>;
}

/** Keys in one page of a listing. */
const PAGE_KEYS = 1000;

/** The longest path that is sent to a server of another make, in bytes; most take 64 KiB at most. */
const MAX_BOOK_PATH = 60 * 1024;

/**
 * Finds out what each server speaks. All of them are asked at once; changes nothing.
 *
 * @throws {RebalanceError} If a server cannot be reached or is shutting down: the first one in the list.
 */
export async function openEndpoints(
  servers: readonly ServerAddress[],
  options: RemoteOptions,
): Promise<readonly Endpoint[]> {
  const opened = await Promise.allSettled(
    servers.map((server) => openEndpoint(new Remote(server, options))),
  );
  return opened.map((result) => {
    if (result.status === "fulfilled") return result.value;
    const cause: unknown = result.reason;
    if (!(cause instanceof KvsError)) throw cause;
    throw new RebalanceError(`${cause.message}; nothing was changed`, { cause });
  });
}

async function openEndpoint(remote: Remote): Promise<Endpoint> {
  // Twice, since one connection that was cut must not cost every value its content type.
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      if (await remote.page(undefined, 1) !== undefined) return new NativeEndpoint(remote);
      break;
    } catch (error) {
      // Whatever else a server makes of a route that it does not know, the book routes decide.
      if (!(error instanceof RemoteError) || error.timedOut) throw error;
    }
  }
  await remote.allKeys();
  return new BookEndpoint(remote);
}

/** A server that speaks the native routes, which take any key and any value. */
class NativeEndpoint implements Endpoint {
  readonly native = true;
  readonly #remote: Remote;

  constructor(remote: Remote) {
    this.#remote = remote;
  }

  get name(): string {
    return this.#remote.server.name;
  }

  async *keys(): AsyncGenerator<readonly string[]> {
    let after: string | undefined;
    do {
      const page = await this.#remote.page(after, PAGE_KEYS);
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
    return this.#remote.get(key);
  }

  refusal(key: string, _copy: Copy): string | undefined {
    return keyRefusal(key);
  }

  async save(key: string, copy: Copy): Promise<undefined> {
    await this.#remote.put(key, copy);
  }

  async delete(key: string, copy: Copy): Promise<boolean> {
    try {
      return await this.#remote.delete(key, copy.etag);
    } catch (error) {
      if (error instanceof RemoteError && error.status === 412) return false;
      throw error;
    }
  }
}

/** A server that speaks the book routes only. */
class BookEndpoint implements Endpoint {
  readonly native = false;
  readonly #remote: Remote;

  constructor(remote: Remote) {
    this.#remote = remote;
  }

  get name(): string {
    return this.#remote.server.name;
  }

  async *keys(): AsyncGenerator<readonly string[]> {
    yield await this.#remote.allKeys();
  }

  async *sortedKeys(): AsyncGenerator<readonly string[]> {
    yield [...new Set(await this.#remote.allKeys())].sort(compareKeys);
  }

  async load(key: string): Promise<Copy | undefined> {
    const bytes = await this.#remote.load(key);
    return bytes === undefined ? undefined : { bytes, contentType: undefined, etag: undefined };
  }

  refusal(key: string, { bytes, contentType }: Copy): string | undefined {
    return bookRefusal(key, bytes, contentType);
  }

  save(key: string, copy: Copy): Promise<string> {
    return this.#remote.save(key, copy.bytes);
  }

  delete(key: string): Promise<boolean> {
    throw new TypeError(`${this.name} cannot delete: ${key}`);
  }
}

/** Whether two copies are the same value, as far as the servers' routes tell. */
export function sameCopy(a: Copy, b: Copy | undefined): boolean {
  return b !== undefined && equalBytes(a.bytes, b.bytes) &&
    (a.contentType === undefined || b.contentType === undefined ||
      a.contentType === b.contentType);
}

const encoder = new TextEncoder();
const utf8 = new TextDecoder("utf-8", { fatal: true });
const SENTINEL = encoder.encode(KEY_NOT_FOUND);

function keyRefusal(key: string): string | undefined {
  try {
    checkKey(key);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Why the book routes cannot carry a value, as the end of a sentence. */
function bookRefusal(
  key: string,
  bytes: Uint8Array,
  contentType: string | undefined,
): string | undefined {
  const only = "it speaks only the book routes, and the value";
  if (
    contentType !== undefined && contentType !== DEFAULT_CONTENT_TYPE && contentType !== TEXT_TYPE
  ) {
    return `${only} would lose its content type ${contentType}`;
  }
  if (equalBytes(bytes, SENTINEL)) return `${only} is the text for "no such key"`;
  try {
    utf8.decode(bytes);
  } catch {
    return `${only} is not UTF-8 text`;
  }
  // A byte takes up to three in a path; where all of them fit nothing needs to be counted.
  if (toSegment(key).length + 3 * bytes.length + 7 <= MAX_BOOK_PATH) return undefined;
  let length = toSegment(key).length + 7;
  for (const byte of bytes) length += UNRESERVED.has(byte) ? 1 : 3;
  return length <= MAX_BOOK_PATH
    ? undefined
    : `${only} makes a path of ${length} bytes, over ${MAX_BOOK_PATH}`;
}

const UNRESERVED = new Set(
  encoder.encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"),
);
