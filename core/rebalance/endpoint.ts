/** A server as rebalance needs it: listing, loading, saving and deleting, over what it speaks. */
import { BatchCopy, type BY_ITSELF, type CopyFacts } from "./batch_requests.ts";
import { type PatienceOptions } from "./pace.ts";
import { type Listing } from "../client/merge_listings.ts";
import { type Copy, equalBytes, type RemoteOptions } from "../client/remote.ts";

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
  whyRefused(key: string, copy: Copy): string | undefined;
  /**
   * Says that the move of this name begins, or with `anew` that it may replace what clients wrote since:
   * from then on writes are those of this move. Nothing happens where the server knows of no moves.
   */
  beginMove(move: string, anew: boolean): Promise<void>;
  /** Whether it refuses writes of the move to what clients wrote since that began. */
  readonly knowsMoves: boolean;
  /** Says that the move is complete: clients go by the list as it will be from now on. */
  completeMove(): Promise<void>;
  /** Saves one value, and reads it back. */
  save(entry: Replacement): Promise<Saved>;
  /** The copies of `keys`, in their order; BY_ITSELF where `load` has to be used. */
  loadMany(keys: readonly string[]): Promise<readonly Loaded[]>;
  /** Saves all, and reads them back when they are durable. */
  saveMany(entries: readonly Replacement[]): Promise<readonly Saved[]>;
  /** What tells whether the values of `keys` changed; as little of them as the server can. */
  factsMany(keys: readonly string[]): Promise<readonly (CopyFacts | undefined)[]>;
  /** Deletes copies that still are what they were; `false` for one that is another, or gone. */
  deleteMany(entries: readonly KeyedCopy[]): Promise<readonly boolean[]>;
  /** What it tells of itself; `undefined` if it tells nothing. */
  stats(): Promise<ServerStats | undefined>;
  /** How many writes of this run it has carried out; `undefined` if that is not certain. */
  readonly ownWrites: number | undefined;
}

/** What comes of a key that was asked for among others. */
export type Loaded = Copy | typeof BY_ITSELF | undefined;

/** A key and the value it is to have. */
export interface KeyedCopy {
  readonly key: string;
  readonly copy: Copy;
}

/** A value that is to be saved, if the server still holds what was seen there. */
export interface Replacement extends KeyedCopy {
  /** What was seen there; `undefined` if it held nothing. */
  readonly seen: Copy | undefined;
}

/** What a save came to. */
export interface Saved {
  /** Whether the server holds something else than what was seen, or a client has written the key. */
  readonly isRefused: boolean;
  /** What was read back. */
  readonly held: Loaded;
  /** What the server said, where it has words. */
  readonly answer: string | undefined;
}

/** What a server tells of itself: which start of it this is, its writes since, and its disk. */
export interface ServerStats {
  readonly start: string | undefined;
  readonly writes: number | undefined;
  readonly freeBytes: number;
  readonly usedBytes: number | undefined;
  readonly freeFiles: number | undefined;
  readonly blockBytes: number;
  /** Servers that tell the same share what is free; `undefined` where it does not tell. */
  readonly fileSystem?: string | undefined;
  /** What its journal takes at most besides the files. */
  readonly journalBytes?: number | undefined;
}

/** How servers are spoken to. */
export interface EndpointOptions extends RemoteOptions, PatienceOptions {}

/** Whether two copies are the same value, as far as the servers' routes tell. */
export function sameCopy(a: Copy, b: Copy | undefined): boolean {
  if (b === undefined) return false;
  const sameBytes = a instanceof BatchCopy && b instanceof BatchCopy
    ? a.hasBytesOf(b)
    : equalBytes(a.bytes, b.bytes);
  return sameBytes &&
    (a.contentType === undefined || b.contentType === undefined ||
      a.contentType === b.contentType);
}
