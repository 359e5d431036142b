/** Servers in memory for tests of rebalance, and a cluster of them whose process can be killed. */
import { compareKeys } from "../../../core/key.ts";
import { type PlacementName, PLACEMENTS } from "../../../core/placement.ts";
import { rebalance } from "../../../core/rebalance/rebalance.ts";
import { type CopyFacts } from "../../../core/rebalance/copy.ts";
import {
  type Endpoint,
  type KeyedCopy,
  type Replacement,
  type Saved,
  type ServerStats,
} from "../../../core/rebalance/endpoint.ts";
import { type RebalanceEvent, type Summary } from "../../../core/rebalance/events.ts";
import { type Copy } from "../../../core/client/remote.ts";
import { RemoteError } from "../../../core/errors.ts";
import { type MoveNote, type MoveRun } from "../../../core/protocol.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One-letter keys, which modulo spreads evenly. */
export const LETTERS = [..."abcdefghijklmnopqrstuvwxyz"];

/** What a request throws once the process that sends it is "dead". No error that core knows. */
export class Killed extends Error {}

/** Counts requests; when the count is used up, that request and all later ones fail. */
export class Fuse {
  readonly #applied: boolean;
  #left: number;

  /** @param applied Whether the server still carries out the request that burns the fuse. */
  constructor(requests: number, applied: boolean) {
    this.#left = requests;
    this.#applied = applied;
  }

  async burn<T>(request: () => T): Promise<T> {
    await Promise.resolve();
    if (this.#left-- > 0) return request();
    if (this.#left === -1 && this.#applied) request();
    throw new Killed();
  }
}

const ENDLESS = new Fuse(Infinity, false);

/** What kind of server a {@link MemoryEndpoint} is. */
export interface EndpointOptions {
  readonly native?: boolean;
  /** Changes what is stored, as a broken server would. */
  readonly corrupt?: (word: string) => string;
  /** The server that this one is another name of. */
  readonly twin?: MemoryEndpoint;
  /** Whether it tells nothing of itself. */
  readonly silent?: boolean;
}

async function inTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}

/** A server in memory. */
export class MemoryEndpoint implements Endpoint {
  readonly name: string;
  readonly native: boolean;
  readonly values = new Map<string, string>();
  fuse = ENDLESS;
  saves = 0;
  /** What it tells of its disk. */
  room: ServerStats | undefined;
  /** Which start of it this is. */
  start = 1;
  /** How often clients wrote; `undefined` where it does not count. */
  clientWrites: number | undefined;
  /** The note of the last run. */
  note: MoveNote | undefined;
  /** The run that its writes are part of. */
  #run: string | undefined;
  /** The server that this one is another name of. */
  twin: MemoryEndpoint | undefined;
  readonly #corrupt: (word: string) => string;
  readonly #silent: boolean;

  constructor(name: string, options: EndpointOptions = {}) {
    this.name = name;
    this.native = options.native ?? true;
    this.#corrupt = options.corrupt ?? ((word) => word);
    this.#silent = options.silent ?? false;
    this.twin = options.twin;
  }

  get ownWrites(): number | undefined {
    return this.clientWrites === undefined ? undefined : this.saves;
  }

  /** Starts anew on an empty disk, so quickly that no request fails. */
  loseDisk(): void {
    this.values.clear();
    this.note = undefined;
    this.start++;
    // It counts from its start.
    this.clientWrites = -this.saves;
  }

  get #map(): Map<string, string> {
    return this.twin?.values ?? this.values;
  }

  async *keys(): AsyncGenerator<readonly string[]> {
    // Small pages, so that there are several.
    const keys = [...this.#map.keys()].sort(compareKeys);
    for (let at = 0; at === 0 || at < keys.length; at += 3) {
      yield await this.fuse.burn(() => keys.slice(at, at + 3));
    }
  }

  sortedKeys(): AsyncIterable<readonly string[]> {
    return this.keys();
  }

  load(key: string): Promise<Copy | undefined> {
    return this.fuse.burn(() => {
      const value = this.#map.get(key);
      return value === undefined ? undefined : copyOf(value);
    });
  }

  whyRefused(): string | undefined {
    return undefined;
  }

  beginMove({ name, run }: MoveRun): Promise<void> {
    return this.fuse.burn(() => {
      this.#run = run;
      this.note = { name, run, complete: false };
    });
  }

  rejoinMove({ run }: MoveRun): void {
    this.#run = run;
  }

  completeMove(): Promise<void> {
    return this.fuse.burn(() => {
      if (this.note !== undefined) this.note = { ...this.note, complete: true };
    });
  }

  /** As a server of ours refuses the writes of an earlier run. */
  #checkRun(): void {
    if (this.note === undefined || this.note.run === this.#run) return;
    throw new RemoteError(this.name, 409, "Another run has begun");
  }

  async save({ key, copy, seen }: Replacement): Promise<Saved> {
    const word = this.#corrupt(decoder.decode(copy.bytes));
    const isRefused = await this.fuse.burn(() => {
      this.#checkRun();
      const held = this.#map.get(key);
      if ((held === undefined ? undefined : copyOf(held).etag) !== seen?.etag) return true;
      this.saves++;
      this.#map.set(key, word);
      return false;
    });
    const taken = isRefused ? {} : { etag: copyOf(word).etag, answer: word };
    return { isRefused, etag: undefined, answer: undefined, ...taken, held: await this.load(key) };
  }

  #delete(key: string, copy: Copy): Promise<boolean> {
    return this.fuse.burn(() => {
      this.#checkRun();
      return copyOf(this.#map.get(key) ?? "").etag === copy.etag && this.#map.delete(key);
    });
  }

  // A batch is carried out key by key, so that it can be cut off within.

  loadMany(keys: readonly string[]): Promise<(Copy | undefined)[]> {
    return inTurn(keys, (key) => this.load(key));
  }

  saveMany(entries: readonly Replacement[]): Promise<Saved[]> {
    return inTurn(entries, (entry) => this.save(entry));
  }

  factsMany(keys: readonly string[]): Promise<(CopyFacts | undefined)[]> {
    return inTurn(keys, async (key) => factsOf(await this.load(key)));
  }

  deleteMany(entries: readonly KeyedCopy[]): Promise<boolean[]> {
    return inTurn(entries, ({ key, copy }) => this.#delete(key, copy));
  }

  async stats(): Promise<ServerStats | undefined> {
    if (this.#silent) return undefined;
    const { name, start, note: move } = this.twin ?? this;
    const writes = this.clientWrites === undefined ? undefined : this.clientWrites + this.saves;
    const told = { ...PLENTY, ...this.room, start: `${name}, start ${start}`, writes, move };
    return await Promise.resolve(told);
  }
}

const PLENTY = { freeBytes: 1e12, usedBytes: 0, freeFiles: undefined, blockBytes: 1 };

function factsOf(copy: Copy | undefined): CopyFacts | undefined {
  if (copy === undefined) return undefined;
  return { etag: copy.etag ?? "", size: copy.bytes.length, contentType: "" };
}

function copyOf(word: string): Copy {
  return { bytes: encoder.encode(word), contentType: undefined, etag: `"${word}"` };
}

/** How {@link Cluster.rebalance} runs. */
export interface RunOptions {
  readonly prune?: boolean;
  readonly dryRun?: boolean;
  readonly details?: boolean;
  readonly force?: boolean;
  readonly overwrite?: boolean;
  readonly keysPerSecond?: number;
  readonly batchKeys?: number;
  readonly signal?: AbortSignal;
  readonly fuse?: Fuse;
  readonly onEvent?: (event: RebalanceEvent) => void;
}

/** Servers in memory, the list in use, and clients that write through it. */
export class Cluster {
  readonly servers: readonly MemoryEndpoint[];
  readonly placement: PlacementName;
  /** The servers in use, by index. */
  list: readonly number[];

  constructor(
    servers: readonly MemoryEndpoint[],
    list: readonly number[],
    placement: PlacementName = "modulo",
  ) {
    this.servers = servers;
    this.list = list;
    this.placement = placement;
  }

  /** The server that clients ask for `key`. */
  ownerOf(key: string): MemoryEndpoint {
    const position = PLACEMENTS[this.placement](key, this.list.length);
    const server = this.servers[this.list[position] ?? -1];
    if (server === undefined) throw new RangeError(key);
    return server;
  }

  write(key: string, value: string): void {
    const owner = this.ownerOf(key);
    owner.values.set(key, value);
    if (owner.clientWrites !== undefined) owner.clientWrites++;
  }

  delete(key: string): void {
    const owner = this.ownerOf(key);
    owner.values.delete(key);
    if (owner.clientWrites !== undefined) owner.clientWrites++;
  }

  /** What clients can read. */
  view(): Map<string, string> {
    const view = new Map<string, string>();
    for (const server of this.servers) {
      for (const [key, value] of server.values) {
        if (this.ownerOf(key) === server) view.set(key, value);
      }
    }
    return view;
  }

  /** Everything on all servers. */
  snapshot(): unknown {
    return this.servers.map((server) => new Map(server.values));
  }

  /** Runs a rebalance from the list in use to `toBe`; the list in use stays. */
  async rebalance(toBe: readonly number[], options: RunOptions = {}): Promise<Summary> {
    for (const server of this.servers) server.fuse = options.fuse ?? ENDLESS;
    // As in the command, servers of neither list take no part.
    const used = [...new Set([...this.list, ...toBe])];
    const { signal = new AbortController().signal, onEvent = () => {} } = options;
    try {
      return await rebalance({
        endpoints: this.servers.filter((_, index) => used.includes(index)),
        layout: {
          asIs: this.list.map((index) => used.toSorted((a, b) => a - b).indexOf(index)),
          toBe: toBe.map((index) => used.toSorted((a, b) => a - b).indexOf(index)),
          placement: PLACEMENTS[this.placement],
        },
        prune: options.prune ?? false,
        dryRun: options.dryRun ?? false,
        details: options.details ?? false,
        force: options.force ?? true,
        overwrite: options.overwrite ?? false,
        concurrency: 4,
        ...(options.batchKeys === undefined ? {} : { batchKeys: options.batchKeys }),
        ...(options.keysPerSecond === undefined ? {} : { keysPerSecond: options.keysPerSecond }),
        signal,
        onEvent,
      });
    } finally {
      for (const server of this.servers) server.fuse = ENDLESS;
    }
  }
}

/** Servers without keys. */
export function servers(count: number): MemoryEndpoint[] {
  return Array.from({ length: count }, (_, index) => new MemoryEndpoint(`server-${index}`));
}
