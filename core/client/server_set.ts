/**
 * The servers of a cluster as their clients see them: which one owns a key, and how it is asked. The layer under the
 * library (kvs.ts) and, without repetitions, under the probe. It follows the layout of the cluster, if there is one.
 */
import { KvsError, RemoteError } from "../errors.ts";
import { isMoving, type Layout, membersOf } from "../layout/layout.ts";
import { type Placement } from "../placement.ts";
import { Breaker } from "./breaker.ts";
import { type Clock, orAborted, SYSTEM_CLOCK } from "./clock.ts";
import { Follower } from "./follower.ts";
import { type LayoutTold, MisdirectedError } from "./layout_told.ts";
import { type KeyPage, Remote, type RemoteOptions } from "./remote.ts";
import { type AskOptions, type Attempt, isPassing, retry, type RetryOptions } from "./retry.ts";
import { parseServerList, type Scheme, type ServerAddress } from "./server_list.ts";
import { joinPages, type Stretch } from "./stretch.ts";

/** What {@link ServerSet} works with. */
export interface ServerSetOptions extends RemoteOptions {
  readonly servers: readonly ServerAddress[];
  /** Places keys while the cluster has no layout. */
  readonly placement: Placement;
  /** Without it each request is sent once, and no server is ever left alone. */
  readonly retry?: RetryOptions;
}

/** What an attempt to ask for a key knows. */
export interface KeyAttempt extends Attempt {
  /** The layout by which the server is asked: the text of the header; `undefined` without a layout. */
  readonly claim: string | undefined;
}

/** How often a request may meet a server that goes by another layout. */
const MOST_ROUNDS = 20;

/** How long to wait for a server with a newer layout, while others have answered or failed (milliseconds). */
const DISCOVERY_MS = 500;

/** The first wait after a round that taught nothing; each further one is longer by as much (milliseconds). */
const ROUND_MS = 10;

/** Keys in one page of a stretch. */
const PAGE_KEYS = 1000;

/** A server that is asked. */
interface Asked {
  readonly remote: Remote;
  readonly breaker: Breaker;
}

/** Why each server did not tell whether it has a layout. */
type Failures = ReadonlyMap<string, RemoteError>;

/** The servers of a cluster. */
export class ServerSet {
  readonly #options: ServerSetOptions;
  readonly #follower = new Follower();
  readonly #asked = new Map<string, Asked>();
  readonly #scheme: Scheme;
  readonly #clock: Clock;
  /** The question for the layout; what it resolves to is set if no server answered. */
  #discovery: Promise<Failures | undefined> | undefined;
  /** The servers of the layout, and the layout. */
  #known: { readonly layout: Layout; readonly servers: readonly ServerAddress[] } | undefined;

  constructor(options: ServerSetOptions) {
    this.#options = options;
    this.#scheme = options.servers[0]?.origin.startsWith("https:") === true ? "https" : "http";
    this.#clock = options.retry?.clock ?? SYSTEM_CLOCK;
  }

  /** The layout of the cluster; `undefined` if no server has told one so far. */
  get layout(): Layout | undefined {
    return this.#follower.layout;
  }

  /** The servers: those of the layout, in a move also those to come, or those of the list that was given. */
  get servers(): readonly ServerAddress[] {
    const { layout } = this.#follower;
    if (layout === undefined) return this.#options.servers;
    if (this.#known?.layout !== layout) {
      const servers = membersOf(layout).map((name) => this.#addressOf(name));
      this.#known = { layout, servers };
    }
    return this.#known.servers;
  }

  /** The index in {@link servers} of the server that owns `key`, as far as is known. */
  ownerOf(key: string): number {
    const { layout } = this.#follower;
    if (layout === undefined) {
      return this.#options.placement(key, this.#options.servers.length);
    }
    const { server } = this.#follower.route(layout, key, undefined);
    return membersOf(layout).indexOf(server);
  }

  /**
   * Asks the servers of the list for the layout, once. Waits for the first server that tells one; if a server has
   * answered without a layout, for the others no longer than half a second.
   */
  async discover(signal?: AbortSignal): Promise<void> {
    await this.#discover(signal);
  }

  /**
   * As {@link discover}, for a request to a server of the list. While no server answers, nobody knows whether the
   * cluster has a layout. Then no request may be sent by the list: a server with a new disk would take it.
   *
   * @throws {RemoteError} The failure of the server of this name, if none has answered.
   */
  async requireAnswer(name: string, signal: AbortSignal | undefined): Promise<void> {
    if (this.#follower.layout !== undefined) return;
    const failure = (await this.#discover(signal))?.get(name);
    if (failure !== undefined) throw new NotSentError(failure);
  }

  async #discover(signal: AbortSignal | undefined): Promise<Failures | undefined> {
    this.#discovery ??= this.#ask();
    return await orAborted(this.#discovery, signal);
  }

  /**
   * Sends a request for `key` to the server that answers for it, as often as {@link retry} does, and follows the
   * layout: a server that answers 421 tells where to ask.
   *
   * @throws {RemoteError} The last failure.
   * @throws {KvsError} If servers and client do not come to the same layout.
   * @throws The reason of the signal; whatever else `send` throws.
   */
  async askKey<T>(
    key: string,
    send: (remote: Remote, attempt: KeyAttempt) => Promise<T>,
    options: AskOptions = {},
  ): Promise<T> {
    let uncertain = false;
    let movedEpoch: number | undefined;
    for (let round = 1;; round++) {
      const { layout } = this.#follower;
      const route = layout && this.#follower.route(layout, key, movedEpoch);
      const name = route?.server ?? this.#listed(key);
      try {
        return await this.#try(name, async (remote, attempt) => {
          uncertain ||= attempt.uncertain;
          await this.requireAnswer(name, options.signal);
          if (this.#follower.layout !== layout) throw new Rerouted();
          return await send(remote, { uncertain, claim: route?.claim });
        }, options);
      } catch (error) {
        if (error instanceof Rerouted) continue;
        if (!(error instanceof MisdirectedError)) throw error;
        if (round >= MOST_ROUNDS) throw this.#lost(error, layout);
        const before = this.#follower.layout;
        const learned = await this.#learn(name, error.told, options.signal);
        // After what was learned, the caller's next stream finds its server.
        if (options.repeatable === false) throw notRepeatable(error);
        const isSource = route !== undefined && !route.moved;
        if (learned === "same" && isSource) movedEpoch = layout?.epoch;
        else if (learned !== "older" && this.#follower.layout === before) {
          await this.#clock.sleep(ROUND_MS * round, options.signal);
        }
      }
    }
  }

  /**
   * Sends a request to the server of this index in the list that was given, as often as {@link retry} does.
   *
   * @throws {RemoteError} The last failure.
   * @throws The reason of the signal; whatever else `send` throws.
   */
  async askServer<T>(
    index: number,
    send: (remote: Remote, attempt: Attempt) => Promise<T>,
    options: AskOptions = {},
  ): Promise<T> {
    const server = this.#options.servers[index];
    if (server === undefined) throw new RangeError("Placement outside of the server list");
    return await this.#try(server.name, send, options);
  }

  /**
   * Asks the server of this index in the list that was given for the layout, as often as {@link retry} does.
   *
   * @throws {RemoteError} The last failure.
   */
  async find(index: number, signal: AbortSignal | undefined): Promise<void> {
    const told = await this.askServer(index, (remote) => remote.layout({ signal }), { signal });
    const name = this.#options.servers[index]?.name;
    if (name !== undefined && told !== undefined) this.#follower.learn(name, told);
  }

  /**
   * The next keys of the cluster behind `after`, by its layout. While keys move, sources are asked first.
   *
   * @throws {RemoteError} If a server fails.
   * @throws {KvsError} If servers and client do not come to the same layout.
   */
  async stretch(
    after: string | undefined,
    prefix: string,
    signal: AbortSignal | undefined,
  ): Promise<Stretch> {
    for (let round = 1;; round++) {
      const { layout } = this.#follower;
      if (layout === undefined) throw new TypeError("There is no layout to list by");
      const stretch = await this.#stretchOf(layout, after, prefix, signal);
      if (stretch !== undefined) return stretch;
      if (round === MOST_ROUNDS) throw this.#lost(undefined, layout);
      if (this.#follower.layout === layout) await this.#clock.sleep(ROUND_MS * round, signal);
    }
  }

  /** A stretch, if all servers answer by `layout`. */
  async #stretchOf(
    layout: Layout,
    after: string | undefined,
    prefix: string,
    signal: AbortSignal | undefined,
  ): Promise<Stretch | undefined> {
    const pages = async (names: readonly string[]) => {
      const asked = names.map((name) => this.#page(layout, name, { after, prefix, signal }));
      const told = await Promise.all(asked);
      const pages = new Map<string, KeyPage>();
      for (const [index, page] of told.entries()) {
        if (page !== undefined) pages.set(names[index] ?? "", page);
      }
      return pages.size === names.length ? pages : undefined;
    };
    const sources = await pages(layout.servers.filter((name) => !layout.lost?.includes(name)));
    const targets = await pages(isMoving(layout) ? layout.next : []);
    return sources && targets && joinPages(layout, sources, targets);
  }

  /** A page of a server, if the server has `layout`; else what the server told of another one is taken in. */
  async #page(
    layout: Layout,
    name: string,
    { after, prefix, signal }: {
      readonly after: string | undefined;
      readonly prefix: string;
      readonly signal: AbortSignal | undefined;
    },
  ): Promise<KeyPage | undefined> {
    const claim = this.#follower.claim(layout);
    try {
      const page = await this.#try(
        name,
        async (remote) => {
          if (this.#follower.layout !== layout) throw new Rerouted();
          return await remote.page(after, PAGE_KEYS, { prefix, signal, claim });
        },
        { signal },
      );
      if (page.epoch === layout.epoch && this.#follower.layout === layout) {
        this.#follower.learn(name, { layout, mark: page.mark });
        return page;
      }
      await this.#learn(name, undefined, signal);
    } catch (error) {
      if (error instanceof Rerouted) return undefined;
      if (!(error instanceof MisdirectedError)) throw error;
      await this.#learn(name, error.told, signal);
    }
    return undefined;
  }

  /** Asks a server as often as {@link retry} does; if it fails, asks the others for a newer layout. */
  async #try<T>(
    name: string,
    send: (remote: Remote, attempt: Attempt) => Promise<T>,
    options: AskOptions,
  ): Promise<T> {
    const { remote, breaker } = this.#askedOf(name);
    const { layout } = this.#follower;
    const followed = async (attempt: Attempt) => {
      try {
        return await send(remote, attempt);
      } catch (error) {
        const isAway = error instanceof RemoteError &&
          (error.status === undefined || error.status === 503);
        // The server may have left the cluster for good.
        if (layout !== undefined && isAway) {
          await this.#refresh(name, options.signal);
        }
        throw error;
      }
    };
    if (this.#options.retry === undefined) return await followed({ uncertain: false });
    return await retry(followed, { ...this.#options.retry, ...options, breaker });
  }

  /** Takes in what a server told; asks it if it told nothing. Gives it the layout if it has an older one. */
  async #learn(
    name: string,
    told: LayoutTold | undefined,
    signal: AbortSignal | undefined,
  ): Promise<"newer" | "older" | "same" | "none"> {
    const { remote } = this.#askedOf(name);
    const here = told ?? await remote.layout({ signal }).catch(() => undefined);
    const learned = here === undefined ? "none" : this.#follower.learn(name, here);
    const { layout } = this.#follower;
    if (learned === "none") await this.#refresh(name, signal);
    if (learned === "older" && layout !== undefined) {
      // A server that does not take it says so at the next request.
      await remote.putLayout(layout, name, { signal }).catch(() => {});
    }
    return learned;
  }

  /** Asks all servers but one for a newer layout; those that do not answer soon are passed over. */
  async #refresh(but: string, signal: AbortSignal | undefined): Promise<void> {
    const names = this.servers.map(({ name }) => name).filter((name) => name !== but);
    const { layout } = this.#follower;
    const newer = Promise.withResolvers<void>();
    const all = Promise.all(names.map(async (name) => {
      const told = await this.#askedOf(name).remote.layout({ signal }).catch(() => undefined);
      if (told !== undefined) this.#follower.learn(name, told);
      if (this.#follower.layout !== layout) newer.resolve();
    }));
    const ended = new AbortController();
    const late = this.#clock.sleep(DISCOVERY_MS, ended.signal).catch(() => {});
    await Promise.race([all, newer.promise, late]);
    ended.abort();
  }

  async #ask(): Promise<Failures | undefined> {
    const found = Promise.withResolvers<void>();
    const ended = new AbortController();
    const failures = new Map<string, RemoteError>();
    let answers = 0;
    let waited = this.#options.servers.length;
    const all = Promise.all(this.#options.servers.map(async ({ name }) => {
      const { remote } = this.#askedOf(name);
      let told: LayoutTold | undefined;
      try {
        told = await remote.layout();
      } catch (error) {
        if (!(error instanceof RemoteError)) throw error;
        // Any answer is one without a layout, but not that of a server that is starting or busy.
        if (error.status === undefined || isPassing(error)) {
          failures.set(name, error);
          return;
        }
      } finally {
        waited--;
      }
      answers++;
      if (told?.layout !== undefined) {
        this.#follower.learn(name, told);
        found.resolve();
      } else if (waited > 0) {
        void this.#clock.sleep(DISCOVERY_MS, ended.signal).then(found.resolve, found.resolve);
      }
    }));
    await Promise.race([all, found.promise]);
    ended.abort();
    if (answers > 0) return undefined;
    // Nobody answered: the next request asks again.
    this.#discovery = undefined;
    return failures;
  }

  #listed(key: string): string {
    const { servers, placement } = this.#options;
    const server = servers[placement(key, servers.length)];
    if (server === undefined) throw new RangeError("Placement outside of the server list");
    return server.name;
  }

  #askedOf(name: string): Asked {
    let asked = this.#asked.get(name);
    if (asked === undefined) {
      const remote = new Remote(this.#addressOf(name), this.#options);
      asked = { remote, breaker: new Breaker(this.#clock) };
      this.#asked.set(name, asked);
    }
    return asked;
  }

  #addressOf(name: string): ServerAddress {
    const listed = this.#options.servers.find((server) => server.name === name);
    if (listed !== undefined) return listed;
    const [server] = parseServerList(name, "the layout", this.#scheme);
    if (server === undefined) throw new RangeError("A layout names no server");
    return server;
  }

  #lost(error: MisdirectedError | undefined, layout: Layout | undefined): KvsError {
    const theirs = error?.told?.layout?.epoch ?? "none";
    return new KvsError(
      `No agreement on the layout after ${MOST_ROUNDS} rounds: this client has epoch ${
        layout?.epoch ?? "none"
      }, ${error?.server ?? "a server"} has ${theirs}`,
    );
  }
}

/** Thrown when no server told whether there is a layout, so that the request itself was not sent. */
class NotSentError extends RemoteError {
  constructor({ server, status, message, cause, retryAfterMs }: RemoteError) {
    super(server, status, message, { cause, retryAfterMs });
  }

  override get neverSent(): boolean {
    return true;
  }
}

/** Thrown when the layout has changed before an attempt: the key may have another server. */
class Rerouted extends Error {}

function notRepeatable({ server }: MisdirectedError): RemoteError {
  return new RemoteError(
    server,
    421,
    `${server} answered 421: the key is moving, and a stream cannot be sent twice: put it again`,
  );
}
