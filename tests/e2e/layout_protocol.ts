/** Real servers that play the protocol of layouts, asked by a program of its own. */
import { assertEquals } from "@std/assert";
import { Server, TempDir } from "./program.ts";
import {
  type Handover,
  headerOf,
  type KeyLine,
  type LayoutDocument,
  type Limits,
  pathOf,
  rangeOf,
  Reply,
  sourceOf,
  type State,
  takeBody,
  type TakeHead,
  targetOf,
} from "./layout_words.ts";

/** What goes with a request. */
export interface Ask {
  readonly headers?: Record<string, string>;
  readonly body?: BodyInit;
  readonly signal?: AbortSignal;
}

/** A server under its name in the layouts: it keeps folder and name when it is killed and started again. */
export class Shard implements AsyncDisposable {
  #server: Server | undefined;
  #store = "";

  private constructor(
    readonly name: string,
    readonly dir: string,
    readonly args: readonly string[],
  ) {}

  static async start(name: string, dir: string, args: readonly string[] = []): Promise<Shard> {
    const shard = new Shard(name, dir, args);
    await shard.restart();
    try {
      shard.#store = (await shard.state()).store;
    } catch (error) {
      await shard.kill();
      throw error;
    }
    return shard;
  }

  /** The id of its folder. */
  get store(): string {
    return this.#store;
  }

  /** Ends it by SIGKILL. */
  async kill(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
  }

  /** Starts it on its folder; one that runs is killed first. */
  async restart(args: readonly string[] = this.args): Promise<void> {
    await this.kill();
    this.#server = await Server.start(this.dir, args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  /** Sends a request to a path as it stands. @throws {TypeError} If it cannot be reached. */
  async ask(method: string, path: string, { headers, body, signal }: Ask = {}): Promise<Reply> {
    if (this.#server === undefined) throw new TypeError(`${this.name} does not run`);
    const init: RequestInit = { method, headers: headers ?? {} };
    if (body !== undefined) init.body = body;
    if (signal !== undefined) init.signal = signal;
    const response = await fetch(`http://${this.#server.address}${path}`, init);
    return new Reply(response.status, response.headers, await response.bytes());
  }

  /** Asks for a key by `Kvs-Layout: layout`; none is sent if `layout` is undefined. */
  async key(method: string, key: string, layout?: string, ask: Ask = {}): Promise<Reply> {
    const headers = { ...ask.headers, ...(layout === undefined ? {} : { "kvs-layout": layout }) };
    return await this.ask(method, pathOf(key), { ...ask, headers });
  }

  async state(): Promise<State> {
    const reply = await this.ask("GET", "/v1/layout");
    assertEquals(reply.status, 200, reply.text);
    return reply.json();
  }

  /** Gives it a layout; `more` goes into the body, over what belongs there. */
  async give(layout: LayoutDocument, more: Record<string, unknown> = {}): Promise<Reply> {
    const body = JSON.stringify({ layout, self: this.name, store: this.#store, ...more });
    return await this.ask("PUT", "/v1/layout", { body });
  }

  /** The same, and it has to take it. */
  async take(layout: LayoutDocument, more: Record<string, unknown> = {}): Promise<void> {
    const reply = await this.give(layout, more);
    assertEquals(reply.status, 204, `${this.name} refused: ${reply.text}`);
  }

  async handover({ cluster, epoch }: LayoutDocument, limits: Limits = {}): Promise<Reply> {
    const body = { cluster, epoch, keys: 1_000, bytes: 1_048_576, leaseMs: 60_000, ...limits };
    return await this.ask("POST", "/v1/handover", { body: JSON.stringify(body) });
  }

  async done({ cluster, epoch }: LayoutDocument, fence: number): Promise<Reply> {
    const body = JSON.stringify({ cluster, epoch, fence });
    return await this.ask("POST", "/v1/handover/done", { body });
  }

  /** One operation a line; resolves to one result a line. */
  async batch(operations: readonly unknown[], layout?: string): Promise<Reply> {
    const body = operations.map((operation) => JSON.stringify(operation) + "\n").join("");
    const headers: Record<string, string> = layout === undefined ? {} : { "kvs-layout": layout };
    return await this.ask("POST", "/v1/batch", { body, headers });
  }
}

/** Servers under the names server-0, server-1, … with empty folders, without a layout. */
export class Shards implements AsyncDisposable {
  readonly cluster = crypto.randomUUID();
  readonly all: Shard[] = [];
  readonly #folder = new TempDir();

  static async start(count: number, args: readonly string[] = []): Promise<Shards> {
    const shards = new Shards();
    try {
      for (let index = 0; index < count; index++) {
        const name = `server-${index}.server`;
        shards.all.push(await Shard.start(name, shards.#folder.join(name), args));
      }
      return shards;
    } catch (error) {
      await shards[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.all.map((shard) => shard.kill()));
    await this.#folder[Symbol.asyncDispose]();
  }

  get(index: number): Shard {
    const shard = this.all[index];
    if (shard === undefined) throw new Error(`There is no server ${index}`);
    return shard;
  }

  named(name: string): Shard {
    const shard = this.all.find((each) => each.name === name);
    if (shard === undefined) throw new Error(`There is no server ${name}`);
    return shard;
  }

  /** The layout of the first `count` servers. */
  steady(epoch: number, count: number): LayoutDocument {
    const servers = this.all.slice(0, count);
    return {
      cluster: this.cluster,
      epoch,
      since: epoch,
      placement: "modulo",
      servers: servers.map(({ name }) => name),
      stores: Object.fromEntries(servers.map(({ name, store }) => [name, store])),
    };
  }

  /** The layout of a move from the first `from` servers to the first `to`. */
  moving(epoch: number, from: number, to: number): LayoutDocument {
    return {
      ...this.steady(epoch, Math.max(from, to)),
      servers: this.all.slice(0, from).map(({ name }) => name),
      next: this.all.slice(0, to).map(({ name }) => name),
      nextPlacement: "modulo",
      lost: [],
    };
  }

  /** Gives a layout to the first `count` servers in their order, the anchor first. */
  async give(layout: LayoutDocument, count: number): Promise<void> {
    for (const shard of this.all.slice(0, count)) await shard.take(layout);
  }

  /** Begins a move from two servers to three, with keys at their owners. */
  async begin(
    values: Iterable<[key: string, value: BodyInit, type?: string]>,
  ): Promise<LayoutDocument> {
    const steady = this.steady(1, 2);
    await this.give(steady, 2);
    for (const [key, body, type] of values) {
      const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
      const owner = this.named(sourceOf(steady, key));
      const reply = await owner.key("PUT", key, undefined, { body, headers });
      assertEquals(reply.status, 201, reply.text);
    }
    const layout = this.moving(2, 2, 3);
    await this.give(layout, 3);
    return layout;
  }

  /** Hands the next range of `source` over, with all that belongs to it; undefined at its end. */
  async carry(
    layout: LayoutDocument,
    source: Shard,
    limits: Limits = {},
  ): Promise<Handover | undefined> {
    const range = rangeOf(await source.handover(layout, limits));
    if (range === undefined) return undefined;
    for (const name of layout.next ?? []) {
      if (name === source.name) continue;
      const reply = await this.sendRange(layout, source, range, name);
      assertEquals(reply.status, 204, `take of ${name}: ${reply.text}`);
    }
    const done = await source.done(layout, range.fence);
    assertEquals(done.status, 204, `done: ${done.text}`);
    return range;
  }

  /** Sends one target of a range what it has to hold of it; resolves to the answer that is not a success, if one is. */
  async sendRange(
    layout: LayoutDocument,
    source: Shard,
    range: Handover,
    target: string,
    attempt = 1,
  ): Promise<Reply> {
    const keys = range.lines.filter(({ key }) => targetOf(layout, key) === target);
    const large = keys.find(({ size }) => size !== undefined);
    let head: TakeHead = { source: source.name, attempt };
    let content: readonly KeyLine[] | Uint8Array<ArrayBuffer> = keys;
    if (large !== undefined) {
      const got = await source.key("GET", large.key, headerOf(layout), {
        headers: { "kvs-fence": String(range.fence) },
      });
      if (got.status !== 200) return got;
      const { key, type } = large;
      head = { ...head, large: { key, type, size: got.bytes.length } };
      content = got.bytes;
    }
    const body = takeBody(layout, range, head, content);
    return await this.named(target).ask("POST", "/v1/handover/take", { body });
  }
}
