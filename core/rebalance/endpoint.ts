/** A server as rebalance needs it, whichever routes it speaks. */
import { type Listing } from "../client/merge_listings.ts";
import { type Copy, type RemoteOptions } from "../client/remote.ts";
import { type MoveNote, type MoveRun } from "../protocol.ts";
import { type CopyFacts } from "./copy.ts";
import { type PatienceOptions } from "./patience.ts";

/** A server that keys are moved from or to. Its methods throw a RemoteError if the server fails. */
export interface Endpoint {
  /** As the user wrote it. */
  readonly name: string;
  /**
   * Whether it speaks the native routes. If not, it speaks only the three book routes: a value is UTF-8 that
   * fits into a URL, there are no content types, and nothing can be deleted.
   */
  readonly native: boolean;
  /** All its keys, in pages, in its own order. */
  keys(): Listing;
  /** All its keys, in pages, in the order of `compareKeys`. */
  sortedKeys(): Listing;
  /** The copy of `key`, or `undefined` if the server holds none. */
  load(key: string): Promise<Copy | undefined>;
  /** The copies of `keys`, in the order of `keys`. */
  loadMany(keys: readonly string[]): Promise<readonly Loaded[]>;
  /** What tells whether the values of `keys` changed, with as few of their bytes as the server can. */
  factsMany(keys: readonly string[]): Promise<readonly (CopyFacts | undefined)[]>;
  /** Why the server cannot take `copy` under `key`, as the end of a sentence; `undefined` if it can. */
  whyRefused(key: string, copy: Copy): string | undefined;
  /**
   * Begins a run: later writes to this endpoint are part of it, and the server refuses those of earlier runs. Does
   * nothing if the server knows no moves.
   */
  beginMove(move: MoveRun): Promise<void>;
  /** Goes on as part of a run that the server knows. */
  rejoinMove(move: MoveRun): void;
  /** Says that the move is complete: from now on clients may go by the list as it will be. */
  completeMove(): Promise<void>;
  /** Saves one value and reads it back. */
  save(entry: Replacement): Promise<Saved>;
  /** Saves all values and reads them back when they are durable. */
  saveMany(entries: readonly Replacement[]): Promise<readonly Saved[]>;
  /** Deletes the copies that have not changed; `false` for a copy that is another one, or gone. */
  deleteMany(entries: readonly KeyedCopy[]): Promise<readonly boolean[]>;
  /** What the server tells of itself; `undefined` if it tells nothing. */
  stats(): Promise<ServerStats | undefined>;
  /** How many writes of this run the server has carried out; `undefined` if that is not certain. */
  readonly ownWrites: number | undefined;
}

/** Stands for a value that is too large for a batch: {@link Endpoint.load} loads it by itself. */
export const BY_ITSELF: unique symbol = Symbol("by itself");

/** What a server holds of a key that was asked for among others. */
export type Loaded = Copy | typeof BY_ITSELF | undefined;

/** A key and a copy of its value. */
export interface KeyedCopy {
  readonly key: string;
  readonly copy: Copy;
}

/** A value that is to be saved if the server still holds `seen`. */
export interface Replacement extends KeyedCopy {
  /** `undefined` if the server held nothing. */
  readonly seen: Copy | undefined;
}

/** What a save came to. */
export interface Saved {
  /** Whether the server held something else than `seen`. */
  readonly isRefused: boolean;
  /** What the server named the value that it took, if it did. */
  readonly etag: string | undefined;
  /** What was read back. */
  readonly held: Loaded;
  /** The answer of a book server, which has words. */
  readonly answer: string | undefined;
}

/** What a server tells of itself: its start, its writes since then, and its disk. */
export interface ServerStats {
  /** Which start of the server this is. */
  readonly start: string | undefined;
  readonly writes: number | undefined;
  /** The last run that it took part in; `undefined` if there was none, or it knows no moves. */
  readonly move?: MoveNote | undefined;
  readonly freeBytes: number;
  readonly usedBytes: number | undefined;
  readonly freeFiles: number | undefined;
  readonly blockBytes: number;
  /** Servers that tell the same share what is free; `undefined` if it is not told. */
  readonly fileSystem?: string | undefined;
  /** What its journal takes at most besides the files (bytes). */
  readonly journalBytes?: number | undefined;
}

/** How servers are asked. */
export interface EndpointOptions extends RemoteOptions, PatienceOptions {}
