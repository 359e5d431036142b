/** Random writes whose outcome is remembered, and the check of what a store must hold after them. */
import { assert, assertEquals } from "@std/assert";
import {
  PreconditionFailedError,
  StorageBusyError,
  StorageFailedError,
  WriteRefusedError,
} from "../../core/errors.ts";
import { type JournalStore } from "../../core/storage/journal_store.ts";
import { openJournalStore } from "../../core/storage/open_journal_store.ts";
import { type Condition, type Store } from "../../core/store.ts";
import { LARGE_VALUE_BYTES } from "../../core/protocol.ts";
import { Value } from "../../core/value.ts";
import { chunked, load, pattern } from "../core/storage/store_contract.ts";
import { type Random } from "../core/system/random.ts";
import { type SimulatedDisk } from "../core/system/simulated_disk.ts";

/** Where the store is on a {@link SimulatedDisk}. */
export const FOLDER = "/data";

/** What a key holds, as one string; `undefined` where it is absent. */
type Held = string | undefined;

type Outcome = "pending" | "done" | "refused" | "unknown";

interface Write {
  readonly held: Held;
  outcome: Outcome;
}

/** A store on a simulated disk, and what it said. */
export interface Opened {
  readonly store: JournalStore;
  readonly logged: string[];
  readonly fatal: StorageFailedError[];
}

/** Opens the store on `disk`. */
export async function openOn(
  disk: SimulatedDisk,
  journalBytes: number,
  reserveBytes = 0,
): Promise<Opened> {
  const logged: string[] = [];
  const fatal: StorageFailedError[] = [];
  const store = await openJournalStore(FOLDER, {
    files: disk,
    journalBytes,
    reserveBytes,
    cacheBytes: 1000,
    log: (_, message, facts) => logged.push(`${message} ${JSON.stringify(facts)}`),
    onFatal: (error) => fatal.push(error),
  });
  return { store, logged, fatal };
}

const KEYS = ["a", "b", "c/d", "100%"] as const;

/** Writes of one run by key, in the order of the calls. */
export class Workload {
  readonly #random: Random;
  readonly #writes = new Map<string, Write[]>();
  readonly #comingIn = new Set<string>();
  readonly #underWay = new Set<Promise<void>>();
  #count = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Writes `count` times, up to four at a time. Errors other than those of a disk are thrown. */
  async run(store: Store, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      if (this.#random.chance(0.4)) this.#read(store);
      this.#begin(store);
      if (this.#underWay.size >= this.#random.integer(1, 4)) await Promise.race(this.#underWay);
    }
    await Promise.all(this.#underWay);
  }

  /** Fails unless each key holds what its last acknowledged write left, or one called after it. */
  async check(store: Store, label: string): Promise<void> {
    const present: string[] = [];
    for (const [key, writes] of this.#writes) {
      const held = describe(await load(store, key));
      const allowed: Held[] = [];
      let i = writes.length - 1;
      for (; i >= 0 && writes[i]?.outcome !== "done"; i--) {
        if (writes[i]?.outcome !== "refused") allowed.push(writes[i]?.held);
      }
      allowed.push(writes[i]?.held);
      assert(
        allowed.includes(held),
        `${label}: ${key} holds ${held}, should be one of ${allowed.join(", ")}; ` +
          `written was ${writes.map(({ held, outcome }) => `${held} (${outcome})`).join(", ")}`,
      );
      if (held !== undefined) present.push(key);
      // What it holds now it has to hold from here on.
      this.#writes.set(key, [{ held, outcome: "done" }]);
    }
    assertEquals(store.list(), present.toSorted(), label);
    assertEquals(store.size, present.length, label);
  }

  /** Another one with the same writes so far, for a second check of the same. */
  copy(): Workload {
    const copy = new Workload(this.#random);
    for (const [key, writes] of this.#writes) copy.#writes.set(key, [...writes]);
    return copy;
  }

  /** How many writes had this outcome. */
  count(outcome: Outcome): number {
    return [...this.#writes.values()].flat().filter((write) => write.outcome === outcome).length;
  }

  #begin(store: Store): void {
    const key = this.#random.pick(KEYS);
    // A value that comes in piece by piece takes its turn when it is here, so what overlaps it has
    // no order that the model could know.
    if (this.#comingIn.has(key)) return;
    const value = this.#value();
    const condition = this.#condition();
    const isAlone = this.#writesOf(key).every(({ outcome }) => outcome !== "pending");
    const write: Write = { held: describe(value), outcome: "pending" };
    this.#writesOf(key).push(write);
    const comesIn = value !== undefined && value.size > LARGE_VALUE_BYTES && isAlone &&
      this.#random.chance(0.5);
    if (comesIn) this.#comingIn.add(key);
    const result = value === undefined ? store.delete(key, condition) : comesIn
      ? store.set(
        key,
        { chunks: chunked(value.bytes, 30_000), contentType: value.contentType },
        condition,
      )
      : store.set(key, value, condition);
    const settled = result.then(() => {
      write.outcome = "done";
    }, (error) => {
      const isRefused = error instanceof PreconditionFailedError ||
        error instanceof WriteRefusedError;
      if (!isRefused && !(error instanceof StorageFailedError)) throw error;
      write.outcome = isRefused ? "refused" : "unknown";
    }).finally(() => {
      this.#underWay.delete(settled);
      if (comesIn) this.#comingIn.delete(key);
    });
    this.#underWay.add(settled);
  }

  /** Reads must show a state between the last acknowledged before and the last called until then. */
  #read(store: Store): void {
    const key = this.#random.pick(KEYS);
    const writes = this.#writesOf(key);
    const from = Math.max(0, writes.findLastIndex(({ outcome }) => outcome === "done"));
    const isFirst = writes[from]?.outcome !== "done";
    const settled = load(store, key).then((found) => {
      const held = describe(found);
      const allowed = writes.slice(from).filter(({ outcome }) => outcome !== "refused");
      const isAllowed = isFirst && held === undefined ||
        allowed.some((write) => write.held === held);
      assert(isAllowed, `read ${held} of ${key}, should be one of ${JSON.stringify(allowed)}`);
    }, (error) => {
      const isKnown = error instanceof StorageFailedError || error instanceof StorageBusyError;
      if (!isKnown && !isInjected(error)) throw error;
    }).finally(() => this.#underWay.delete(settled));
    this.#underWay.add(settled);
  }

  #writesOf(key: string): Write[] {
    const writes = this.#writes.get(key) ?? [];
    this.#writes.set(key, writes);
    return writes;
  }

  #value(): Value | undefined {
    const random = this.#random;
    if (random.chance(0.2)) return undefined;
    const type = random.chance(0.3) ? random.pick(["text/plain", "image/png"]) : undefined;
    const size = random.chance(0.1) ? LARGE_VALUE_BYTES + 1 : random.pick([0, 3, 40, 200]);
    return new Value(pattern(size, ++this.#count), type);
  }

  #condition(): Condition | undefined {
    return this.#random.chance(0.15) ? this.#random.pick(["present", "absent"]) : undefined;
  }
}

function isInjected(error: unknown): boolean {
  return error instanceof Error && "code" in error;
}

function describe(value: { bytes: Uint8Array; contentType: string } | undefined): Held {
  if (value === undefined) return undefined;
  const { bytes, contentType } = value;
  let sum = 0;
  for (const byte of bytes) sum = (Math.imul(sum, 31) + byte) >>> 0;
  return `${contentType} ${bytes.length} ${sum.toString(16)}`;
}
