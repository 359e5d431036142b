/** Histories of one key for the check of linearizability: clients that write to it all at once. */
import { assertEquals } from "@std/assert";
import type { Dice } from "../crash/dice.ts";
import { Server } from "./program.ts";
import type { Operation, State } from "./linearizability.ts";

/** From this size on (bytes) a value takes another way to the disk; made a little larger here. */
const LARGE = 70_000;

const ABSENT = "_key_not_found_";

/** The server under test, which may be killed and come back. */
export class Target implements AsyncDisposable {
  readonly #client = Deno.createHttpClient({ poolMaxIdlePerHost: 256 });
  #life: Life;
  #requests = 0;
  #killAt = Infinity;
  #kill = Promise.withResolvers<void>();

  private constructor(server: Server) {
    this.#life = new Life(server);
  }

  static async start(dir: string): Promise<Target> {
    return new Target(await Server.start(dir));
  }

  /** Kills the server with the request that comes after so many, and starts it again. */
  async restartAfter(requests: number): Promise<void> {
    this.#kill = Promise.withResolvers();
    this.#killAt = this.#requests + requests;
    await this.#kill.promise;
    const life = this.#life;
    life.killed = true;
    life.server.kill("SIGKILL");
    await life.server.exit();
    life.dead.resolve(performance.now());
    this.#life = new Life(await Server.start(life.server.dir));
    life.replaced.resolve();
  }

  /** Sends a request. Where no answer comes because of a kill, its end is when the server was dead. */
  async ask(path: string, init: RequestInit): Promise<Asked> {
    if (++this.#requests === this.#killAt) this.#kill.resolve();
    while (this.#life.killed) await this.#life.replaced.promise;
    const life = this.#life;
    const call = performance.now();
    try {
      const url = `http://${life.server.address}${path}`;
      const response = await fetch(url, { ...init, client: this.#client });
      const body = await response.text();
      const etag = response.headers.get("etag") ?? undefined;
      return { call, end: performance.now(), answer: { status: response.status, etag, body } };
    } catch (error) {
      if (!life.killed) throw error;
      return { call, end: await life.dead.promise, answer: undefined };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#life.server[Symbol.asyncDispose]();
    this.#client.close();
  }
}

/** One server from its start to its kill. */
class Life {
  readonly server: Server;
  killed = false;
  readonly dead = Promise.withResolvers<number>();
  readonly replaced = Promise.withResolvers<void>();

  constructor(server: Server) {
    this.server = server;
  }
}

interface Asked {
  readonly call: number;
  readonly end: number;
  readonly answer:
    | { readonly status: number; readonly etag: string | undefined; readonly body: string }
    | undefined;
}

/** A value that a client has seen: what a condition of its next write can name. */
interface Known {
  readonly value: string;
  readonly etag: string;
}

/** One key, the clients that work on it, and what they saw. */
export class History {
  readonly key: string;
  readonly operations: Operation[] = [];
  readonly #target: Target;
  readonly #path: string;
  /** Whole bodies and ETags, by the name of the value, with which its body begins. */
  readonly #bodies = new Map<string, string>();
  readonly #etags = new Map<string, string>();

  constructor(target: Target, key: string) {
    this.#target = target;
    this.key = key;
    this.#path = `/v1/keys/${key}`;
  }

  /** Lets so many clients do so many operations each, all clients at once. */
  async record(clients: number, operations: number, random: Dice): Promise<void> {
    await Promise.all(Array.from({ length: clients }, async (_, client) => {
      const choices = random.fork();
      let known: Known | undefined;
      for (let number = 0; number < operations; number++) {
        const value = await this.#operate(`${client}.${number}`, known, choices);
        known = this.#known(value) ?? known;
      }
    }));
  }

  /** Does one operation; `name` is of a new value. Returns the value that the key has, if told. */
  async #operate(name: string, known: Known | undefined, random: Dice): Promise<State> {
    const dice = random.next();
    if (dice < 0.1) return await this.#get(this.#path, undefined);
    if (dice < 0.2) return await this.#get(`/load/${this.key}`, undefined);
    if (dice < 0.25) return await this.#get(this.#path, known);
    if (dice < 0.35) return await this.#delete(undefined);
    // A condition on what was seen long ago would never hold.
    const latest = dice < 0.6 && random.chance(0.8)
      ? this.#known(await this.#get(this.#path, undefined))
      : known;
    if (dice < 0.45) return await this.#delete(latest);

    const isLarge = dice < 0.9 && random.chance(0.1);
    const body = `${name};${"x".repeat(isLarge ? LARGE : random.integer(0, 200))}`;
    this.#bodies.set(name, body);
    if (dice < 0.6 && latest !== undefined) {
      return await this.#put(name, body, { "if-match": latest.etag }, latest);
    }
    if (dice < 0.75) {
      return await this.#put(name, body, { "if-none-match": "*" }, { value: undefined });
    }
    if (dice < 0.9) return await this.#put(name, body, {}, undefined);
    return await this.#save(name, body);
  }

  #known(value: State): Known | undefined {
    const etag = value && this.#etags.get(value);
    return value === undefined || etag === undefined ? undefined : { value, etag };
  }

  /** Loads; with `known` only if it has another value by now. */
  async #get(path: string, known: Known | undefined): Promise<State> {
    const headers: HeadersInit = known === undefined ? {} : { "if-none-match": known.etag };
    const { call, end, answer } = await this.#target.ask(path, { headers });
    // A load without an answer says nothing.
    if (answer === undefined) return undefined;
    const { status, etag, body } = answer;
    let value: State;
    if (status === 304) {
      value = known?.value;
    } else if (status === 200 && body !== ABSENT) {
      value = body.slice(0, body.indexOf(";"));
      assertEquals(body, this.#bodies.get(value), "The value is none that was saved");
    } else if (status === 200 ? etag !== undefined : status !== 404) {
      throw new Error(`GET ${path} answered ${status} ${body}`);
    }
    this.#learn(value, etag);
    this.operations.push({ call, end, kind: "get", outcome: { value } });
    return value;
  }

  async #save(value: string, body: string): Promise<State> {
    const path = `/save/${this.key}/${encodeURIComponent(body)}`;
    const { call, end, answer } = await this.#target.ask(path, {});
    if (answer !== undefined) assertEquals([answer.status, answer.body], [200, body]);
    const outcome = answer && "saved";
    this.operations.push({ call, end, kind: "put", value, outcome });
    return outcome && value;
  }

  async #put(
    value: string,
    body: string,
    headers: HeadersInit,
    when: { readonly value: State } | undefined,
  ): Promise<State> {
    const { call, end, answer } = await this.#target.ask(this.#path, {
      method: "PUT",
      headers,
      body,
    });
    const outcome = answer && outcomeOf("PUT", PUT_OUTCOMES, answer.status);
    this.operations.push({ call, end, kind: "put", value, when, outcome });
    if (outcome === undefined || outcome === "failed") return undefined;
    this.#learn(value, answer?.etag);
    return value;
  }

  async #delete(known: Known | undefined): Promise<State> {
    const headers: HeadersInit = known === undefined ? {} : { "if-match": known.etag };
    const { call, end, answer } = await this.#target.ask(this.#path, { method: "DELETE", headers });
    const outcome = answer && outcomeOf("DELETE", DELETE_OUTCOMES, answer.status);
    this.operations.push({ call, end, kind: "delete", when: known, outcome });
    return undefined;
  }

  /** An ETag belongs to one value, and a value has one ETag. */
  #learn(value: State, etag: string | undefined): void {
    if (value === undefined || etag === undefined) return;
    assertEquals(etag, this.#etags.get(value) ?? etag, `The ETag of ${value} has changed`);
    this.#etags.set(value, etag);
  }
}

const PUT_OUTCOMES = new Map(
  [[201, "created"], [204, "replaced"], [412, "failed"]] as const,
);

const DELETE_OUTCOMES = new Map(
  [[204, "deleted"], [404, "absent"], [412, "failed"]] as const,
);

function outcomeOf<T>(method: string, outcomes: ReadonlyMap<number, T>, status: number): T {
  const outcome = outcomes.get(status);
  if (outcome === undefined) throw new Error(`${method} answered ${status}`);
  return outcome;
}
