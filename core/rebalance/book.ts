/** A server that speaks only the three book routes, as one of another make does: a request for each key. */
import { isDotSegment } from "../client/dot_keys.ts";
import { type Copy, equalBytes, type Remote } from "../client/remote.ts";
import { bytesToSegment, compareKeys, toSegment } from "../key.ts";
import { DEFAULT_CONTENT_TYPE, KEY_NOT_FOUND, TEXT_TYPE } from "../protocol.ts";
import { Value } from "../value.ts";
import { type CopyFacts } from "./copy.ts";
import { type Endpoint, type Loaded, type Replacement, type Saved } from "./endpoint.ts";
import { type Patience } from "./patience.ts";

/** The longest path that is sent (bytes): servers of other makes commonly take 64 KiB. */
const MAX_BOOK_PATH = 60 * 1024;

/** A server of another make, or one of ours that is spoken to as if it were. */
export class BookEndpoint implements Endpoint {
  readonly native = false;
  readonly ownWrites = undefined;
  readonly #remote: Remote;
  readonly #patience: Patience;

  constructor(remote: Remote, patience: Patience) {
    this.#remote = remote;
    this.#patience = patience;
  }

  get name(): string {
    return this.#remote.server.name;
  }

  async *keys(): AsyncGenerator<readonly string[]> {
    yield await this.#allKeys();
  }

  async *sortedKeys(): AsyncGenerator<readonly string[]> {
    yield [...new Set(await this.#allKeys())].sort(compareKeys);
  }

  async load(key: string): Promise<Copy | undefined> {
    const bytes = await this.#patience.run(() => this.#remote.load(key));
    return bytes === undefined ? undefined : { bytes, contentType: undefined, etag: undefined };
  }

  whyRefused(key: string, copy: Copy): string | undefined {
    return whyNoBookValue(key, copy);
  }

  beginMove(): Promise<void> {
    return Promise.resolve();
  }

  rejoinMove(): void {}

  completeMove(): Promise<void> {
    return Promise.resolve();
  }

  async save({ key, copy }: Replacement): Promise<Saved> {
    const answer = await this.#patience.run(() => this.#remote.save(key, copy.bytes));
    return { isRefused: false, etag: undefined, answer, held: await this.load(key) };
  }

  loadMany(keys: readonly string[]): Promise<readonly Loaded[]> {
    return Promise.all(keys.map((key) => this.load(key)));
  }

  saveMany(entries: readonly Replacement[]): Promise<readonly Saved[]> {
    return Promise.all(entries.map((entry) => this.save(entry)));
  }

  async factsMany(keys: readonly string[]): Promise<readonly (CopyFacts | undefined)[]> {
    const copies = await Promise.all(keys.map((key) => this.load(key)));
    return copies.map((copy) =>
      copy && {
        etag: new Value(copy.bytes).etag,
        size: copy.bytes.length,
        contentType: DEFAULT_CONTENT_TYPE,
      }
    );
  }

  deleteMany(): Promise<readonly boolean[]> {
    throw new TypeError(`${this.name} cannot delete`);
  }

  stats(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  #allKeys(): Promise<string[]> {
    return this.#patience.run(() => this.#remote.allKeys());
  }
}

const encoder = new TextEncoder();
const utf8 = new TextDecoder("utf-8", { fatal: true });
const SENTINEL = encoder.encode(KEY_NOT_FOUND);

/** Why the book routes cannot carry a value, as the end of a sentence. */
function whyNoBookValue(key: string, { bytes, contentType }: Copy): string | undefined {
  const only = "it speaks only the book routes, and the value";
  if (isDotSegment(key)) return "it speaks only the book routes, whose paths cannot hold the key";
  if (
    contentType !== undefined && contentType !== DEFAULT_CONTENT_TYPE && contentType !== TEXT_TYPE
  ) {
    return `${only} would lose its content type ${contentType}`;
  }
  if (equalBytes(bytes, SENTINEL)) return `${only} is the text for "no such key"`;
  try {
    if (isDotSegment(utf8.decode(bytes))) return `${only} is one that no path can hold`;
  } catch {
    return `${only} is not UTF-8 text`;
  }
  const length = "/save//".length + toSegment(key).length + bytesToSegment(bytes).length;
  return length <= MAX_BOOK_PATH
    ? undefined
    : `${only} makes a path of ${length} bytes, over ${MAX_BOOK_PATH}`;
}
