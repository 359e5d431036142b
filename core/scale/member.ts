/** A server as the mover sees it: the routes of layouts and of handing over, asked with patience. */
import { type Listing } from "../client/merge_listings.ts";
import { type Bytes, Remote, type RemoteAnswer } from "../client/remote.ts";
import { type ServerAddress } from "../client/server_list.ts";
import { Transport } from "../client/transport.ts";
import { RemoteError } from "../errors.ts";
import { type Layout } from "../layout/layout.ts";
import { FENCE_HEADER, V1_DONE, V1_HANDOVER, V1_KEYS, V1_LAYOUT, V1_TAKE } from "../protocol.ts";
import { toSegment } from "../key.ts";
import { type CopyFacts } from "../rebalance/copy.ts";
import { type EndpointOptions, type ServerStats } from "../rebalance/endpoint.ts";
import { NativeEndpoint } from "../rebalance/native.ts";
import { Patience } from "../rebalance/patience.ts";
import { parseRange, parseRefusal, parseSeen, type Refused, type Seen } from "./answers.ts";
import { type LargeValue, type Range } from "./range.ts";

export type { Refused, Seen };

/** What `POST /v1/handover` takes. */
export interface HandoverRequest {
  readonly cluster: string;
  readonly epoch: number;
  /** The most keys and bytes of the range. */
  readonly keys: number;
  readonly bytes: number;
  readonly leaseMs: number;
}

/** What `POST /v1/handover/take` takes. */
export interface TakeRequest {
  /** All of the first line but the attempt. */
  readonly head: Readonly<Record<string, unknown>>;
  /** The lines of the keys, each with a line feed. */
  readonly lines: string;
  /** The large value, if it is one that this target gets. */
  readonly large: (LargeValue & { readonly open: () => Promise<LargeBody> }) | undefined;
  /** The number of the next attempt; each one that is sent needs a higher one. */
  readonly nextAttempt: () => number;
}

/** The bytes of a large value on their way; `undefined` if the fence that they are read under has ended. */
export type LargeBody = ReadableStream<Bytes> | undefined;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A server of a layout, or one that is to be. Its methods throw RemoteError if the server fails for too long. */
export class Member {
  readonly name: string;
  readonly #transport: Transport;
  readonly #patience: Patience;
  readonly #endpoint: NativeEndpoint;
  #seen: Seen | undefined;

  constructor(server: ServerAddress, options: EndpointOptions) {
    this.name = server.name;
    this.#transport = new Transport(server, options);
    this.#patience = new Patience(options);
    this.#endpoint = new NativeEndpoint(new Remote(server, options), this.#patience);
  }

  /** What the last look found. */
  get seen(): Seen {
    if (this.#seen === undefined) throw new TypeError(`${this.name} was not looked at`);
    return this.#seen;
  }

  /** Asks for the layout and what goes with it. The first time nothing is tried again. */
  async look(): Promise<Seen> {
    const ask = async () => {
      const seen = parseSeen(await this.#transport.bytes(V1_LAYOUT));
      return seen ?? this.#fail("no layout");
    };
    this.#seen = await (this.#seen === undefined ? ask() : this.#patience.run(ask));
    return this.#seen;
  }

  /** Gives a layout; resolves to `undefined` if the server has it now. */
  async putLayout(layout: Layout, replace: boolean): Promise<Refused | undefined> {
    const body = {
      layout,
      self: this.name,
      store: this.seen.store,
      ...(replace ? { replace } : {}),
    };
    return await this.#patience.run(() => this.#tell("PUT", V1_LAYOUT, JSON.stringify(body)));
  }

  /** Fences the next range and gets it. */
  async handover(request: HandoverRequest): Promise<Range | Refused | "end"> {
    const body = encoder.encode(JSON.stringify(request));
    return await this.#patience.run(async () => {
      const answer = await this.#transport.answer(V1_HANDOVER, { method: "POST", body });
      if (answer.status === 409) return parseRefusal(answer.bytes);
      if (answer.status !== 200) throw this.#transport.failure(answer);
      return parseRange(decoder.decode(answer.bytes)) ?? this.#fail("no range");
    });
  }

  /** Has the server take a range; resolves to `undefined` if it has. */
  async take({ head, lines, large, nextAttempt }: TakeRequest): Promise<Refused | undefined> {
    return await this.#patience.run(async () => {
      const line = { ...head, attempt: nextAttempt() };
      if (large === undefined) {
        return await this.#tell("POST", V1_TAKE, `${JSON.stringify(line)}\n${lines}`);
      }
      const { key, type, size, open } = large;
      const bytes = await open();
      if (bytes === undefined) return { reason: "old", detail: "", layout: undefined };
      const first = encoder.encode(`${JSON.stringify({ ...line, large: { key, type, size } })}\n`);
      return await this.#tell("POST", V1_TAKE, ReadableStream.from(joined(first, bytes)));
    });
  }

  /** Says that all targets have taken the range of a fence; resolves to `undefined` if it is handed over now. */
  async done(request: {
    readonly cluster: string;
    readonly epoch: number;
    readonly fence: number;
  }): Promise<Refused | undefined> {
    return await this.#patience.run(() => this.#tell("POST", V1_DONE, JSON.stringify(request)));
  }

  /** Opens a large value of a fenced range. */
  async largeValue(key: string, fence: number): Promise<LargeBody> {
    const path = `${V1_KEYS}/${toSegment(key)}`;
    const headers = { [FENCE_HEADER]: String(fence) };
    const answer = await this.#transport.answer(path, { headers, wholeBytes: 0 });
    if (answer.status === 409) return undefined;
    if (answer.status !== 200) throw this.#transport.failure(answer);
    return answer.stream ?? new Blob([answer.bytes]).stream();
  }

  /** All keys that the server lists, in pages, in order. */
  keys(): Listing {
    return this.#endpoint.keys();
  }

  /** The sizes of the values of `keys`. */
  factsMany(keys: readonly string[]): Promise<readonly (CopyFacts | undefined)[]> {
    return this.#endpoint.factsMany(keys);
  }

  /** What the server tells of its disk. */
  stats(): Promise<ServerStats | undefined> {
    return this.#endpoint.stats();
  }

  async #tell(
    method: "PUT" | "POST",
    path: string,
    body: string | ReadableStream<Bytes>,
  ): Promise<Refused | undefined> {
    const bytes = typeof body === "string" ? encoder.encode(body) : body;
    const answer: RemoteAnswer = await this.#transport.answer(path, { method, body: bytes });
    if (answer.status === 204) return undefined;
    if (answer.status === 409) return parseRefusal(answer.bytes);
    throw this.#transport.failure(answer);
  }

  #fail(what: string): never {
    throw new RemoteError(this.name, 200, `${this.name} answered with ${what}`);
  }
}

async function* joined(
  first: Bytes,
  rest: ReadableStream<Bytes>,
): AsyncGenerator<Bytes> {
  yield first;
  yield* rest;
}
