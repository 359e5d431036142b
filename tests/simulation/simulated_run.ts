/** One run: two servers become three and two again under clients, in an order that a seed decides. */
import { type Clock } from "../../core/client/clock.ts";
import { Kvs } from "../../core/client/kvs.ts";
import { KvsError, PreconditionFailedError } from "../../core/errors.ts";
import { verdictOf } from "../../core/layout/ownership.ts";
import { scale } from "../../core/scale/scale.ts";
import { format, isLinearizable, type Operation } from "../e2e/linearizability.ts";
import { Scheduler, withVirtualTime } from "./scheduler.ts";
import { SimulatedNetwork } from "./simulated_network.ts";
import { SimulatedServer, type Wrap } from "./simulated_server.ts";

const NAMES = ["s0", "s1", "s2"];
const KEYS = ["a", "b", "c", "d", "e", "h"];
/** Keys that are never deleted: each listing has them. */
const LASTING = ["b", "d"];
const CLIENTS = 3;
const OPERATIONS = 16;
const LISTINGS = 30;

/** The steps in which things go wrong, and the steps after which nothing should be left to do. */
const FAULTY_STEPS = 700;
const MOST_STEPS = 20_000;

/** Turns of the event loop in which nothing happens, after which nothing is under way. */
const MOST_IDLE = 50;

/** A fault to plant. */
export interface Planted {
  readonly wrap?: Wrap;
  /** Changes the `fetch` of clients and mover. */
  readonly fetch?: (real: typeof fetch) => typeof fetch;
  /** Called when a server has crashed. */
  readonly crashed?: (server: SimulatedServer) => void;
}

/** What a run found wrong; `undefined` if nothing. */
export async function failureOf(seed: number, planted: Planted = {}): Promise<string | undefined> {
  const run = new SimulatedRun(seed, planted);
  await withVirtualTime(run.scheduler, (rest) => run.complete(rest));
  return run.failure === undefined
    ? undefined
    : `seed ${seed}: ${run.failure}\n${run.scheduler.trace.join("\n")}`;
}

class SimulatedRun {
  readonly scheduler: Scheduler;
  failure: string | undefined;
  readonly #servers: ReadonlyMap<string, SimulatedServer>;
  readonly #network: SimulatedNetwork;
  readonly #histories = new Map<string, Operation[]>(KEYS.map((key) => [key, []]));
  readonly #planted: Planted;
  #running = 0;
  #values = 0;
  /** The number of the newest mover. */
  #mover = 0;
  #endMover = () => {};
  readonly #dead = new Set<number>();

  constructor(seed: number, planted: Planted) {
    this.#planted = planted;
    this.scheduler = new Scheduler(seed);
    this.#servers = new Map(NAMES.map((name) => {
      return [name, new SimulatedServer(name, this.scheduler, planted.wrap)];
    }));
    this.#network = new SimulatedNetwork(this.scheduler, this.#servers);
  }

  async complete(rest: () => Promise<void>): Promise<void> {
    const { scheduler } = this;
    const { random } = scheduler;
    for (const server of this.#servers.values()) void server.boot();
    this.#begin("boot", async () => {
      while ([...this.#servers.values()].some(({ isUp }) => !isUp)) await scheduler.pause("boot");
      await this.#fill();
      this.#begin("mover", () => this.#move());
      // In some runs the clients are there before the first layout.
      const isEarly = random.chance(0.2);
      while (!isEarly && !this.#isMoving) await scheduler.sleep(50);
      for (let client = 0; client < CLIENTS; client++) {
        this.#begin(`client ${client}`, () => this.#work(`c${client}`));
      }
      this.#begin("lister", () => this.#list());
    });
    let faulty = FAULTY_STEPS;
    let idle = 0;
    for (let steps = 0; this.#running > 0 && this.failure === undefined; steps++) {
      await rest();
      if (this.#mover > 0) {
        faulty--;
        if (faulty > 0 && random.chance(0.01)) this.#crash();
        if (faulty > 0 && random.chance(0.005)) this.#nextMover();
      }
      this.#network.isFaulty = this.#mover > 0 && faulty > 0;
      scheduler.haste = this.#network.isFaulty ? 0.03 : 0;
      idle = scheduler.step() ? 0 : idle + 1;
      if (idle > MOST_IDLE || steps > MOST_STEPS) this.#fail("it does not come to an end");
      this.#checkOwners();
    }
    if (this.failure !== undefined) return;
    for (const [key, history] of this.#histories) {
      if (!isLinearizable(history)) this.#fail(`${key} is not linearizable\n${format(history)}`);
    }
    for (const { fatal } of this.#servers.values()) {
      if (fatal.length > 0) this.#fail(`fatal: ${fatal[0]?.message}`);
    }
  }

  #fail(what: string): void {
    this.failure ??= what;
  }

  #begin(what: string, work: () => Promise<void>): void {
    this.#running++;
    work().catch((error) => this.#fail(`${what}: ${error.stack}`)).finally(() => this.#running--);
  }

  #crash(): void {
    const up = [...this.#servers.values()].filter(({ isUp }) => isUp);
    const server = up[this.scheduler.random.integer(0, up.length - 1)];
    if (server === undefined) return;
    this.scheduler.trace.push(`${server.name} crashes`);
    server.crash();
    this.#planted.crashed?.(server);
    this.scheduler.add(`${server.name} starts`, () => void server.boot());
  }

  #fetchOf(sender: string, isAlive?: () => boolean): typeof fetch {
    const real = this.#network.fetchOf(sender, isAlive);
    return this.#planted.fetch?.(real) ?? real;
  }

  #kvs(name: string, patienceMs: number): Kvs {
    const { scheduler } = this;
    const clock: Clock = scheduler;
    return new Kvs(NAMES.slice(0, 2).map(addressOf), {
      ...{ clock, patienceMs, fetch: this.#fetchOf(name), random: () => scheduler.random.next() },
    });
  }

  async #fill(): Promise<void> {
    const kvs = this.#kvs("filler", 60_000);
    for (const key of LASTING) await this.#put(kvs, key);
  }

  async #work(name: string): Promise<void> {
    const { random } = this.scheduler;
    // One attempt: a write that is sent again may come twice, which the library says.
    const kvs = this.#kvs(name, 0);
    for (let done = 0; done < OPERATIONS; done++) {
      const key = KEYS[random.integer(0, KEYS.length - 1)] ?? "a";
      if (random.chance(0.4)) await this.#get(kvs, key);
      else if (random.chance(0.25) && !LASTING.includes(key)) await this.#delete(kvs, key);
      else await this.#put(kvs, key);
      await this.scheduler.pause(`${name} goes on`);
    }
  }

  async #put(kvs: Kvs, key: string): Promise<void> {
    const value = `v${++this.#values}`;
    const call = this.scheduler.now();
    try {
      const { created } = await kvs.put(key, value);
      const outcome = created ? "created" : "replaced";
      this.#note(key, { kind: "put", value, outcome, call, end: this.scheduler.now() });
    } catch (error) {
      if (!(error instanceof KvsError)) throw error;
      this.#note(key, { kind: "put", value, call, end: Infinity });
    }
  }

  async #delete(kvs: Kvs, key: string): Promise<void> {
    const call = this.scheduler.now();
    try {
      const outcome = await kvs.delete(key) ? "deleted" : "absent";
      this.#note(key, { kind: "delete", outcome, call, end: this.scheduler.now() });
    } catch (error) {
      if (!(error instanceof KvsError) || error instanceof PreconditionFailedError) throw error;
      this.#note(key, { kind: "delete", call, end: Infinity });
    }
  }

  async #get(kvs: Kvs, key: string): Promise<void> {
    const call = this.scheduler.now();
    try {
      const value = (await kvs.get(key))?.text;
      this.#note(key, { kind: "get", outcome: { value }, call, end: this.scheduler.now() });
    } catch (error) {
      if (!(error instanceof KvsError)) throw error;
    }
  }

  #note(key: string, operation: Operation): void {
    this.scheduler.trace.push(`  ${key}: ${format([operation])}`);
    this.#histories.get(key)?.push(operation);
  }

  async #list(): Promise<void> {
    const kvs = this.#kvs("lister", 60_000);
    for (let done = 0; done < LISTINGS && this.#running > 1; done++) {
      try {
        const keys = await Array.fromAsync(kvs.keys());
        const missing = LASTING.filter((key) => !keys.includes(key));
        if (missing.length > 0) this.#fail(`keys() without ${missing.join()}`);
      } catch (error) {
        if (!(error instanceof KvsError)) throw error;
      }
      await this.scheduler.pause("lister goes on");
    }
  }

  /** Moves to three servers and back; a mover that is killed is followed by another one. */
  async #move(): Promise<void> {
    for (const count of [3, 2]) {
      while (!await this.#scaleTo(count));
    }
  }

  async #scaleTo(count: number): Promise<boolean> {
    const mine = ++this.#mover;
    const next = Promise.withResolvers<boolean>();
    this.#endMover = () => next.resolve(false);
    const isAlive = () => !this.#dead.has(mine);
    return await Promise.race([next.promise, this.#scaleOnce(count, isAlive)]);
  }

  /** Has another mover come; the one before is dead, or does not know of it. */
  #nextMover(): void {
    if (this.scheduler.random.chance(0.5)) this.#dead.add(this.#mover);
    this.#endMover();
  }

  get #isMoving(): boolean {
    return [...this.#servers.values()].some(({ membership }) => membership?.isMoving === true);
  }

  async #scaleOnce(count: number, isAlive: () => boolean): Promise<boolean> {
    try {
      const { otherGoal } = await scale({
        servers: NAMES.slice(0, 2).map(addressOf),
        addressOf,
        goal: NAMES.slice(0, count).map(addressOf),
        placement: "modulo",
        toPlacement: undefined,
        dryRun: false,
        acceptLoss: undefined,
        replace: undefined,
        keysPerSecond: this.scheduler.random.pick([4, 8, undefined]),
        timeoutMs: 10_000,
        patienceMs: 60_000,
        signal: new AbortController().signal,
        onWait: () => {},
        onEvent: () => {},
        fetch: this.#fetchOf(`mover ${this.#mover}`, isAlive),
      });
      return !otherGoal;
    } catch (error) {
      if (!(error instanceof KvsError)) throw error;
      this.scheduler.trace.push(`mover: ${error.message}`);
      await this.scheduler.sleep(100);
      return false;
    }
  }

  /** Never do two servers answer for a key at one moment. */
  #checkOwners(): void {
    for (const key of KEYS) {
      const owners = [...this.#servers.values()].filter(({ membership }) => {
        return membership?.place !== undefined &&
          ["serve", "wait"].includes(verdictOf(membership, key, true, undefined));
      });
      if (owners.length > 1) this.#fail(`${key} has owners ${owners.map(({ name }) => name)}`);
    }
  }
}

function addressOf(name: string) {
  return { name, origin: `http://${name}` };
}
