/** Moves batches of keys: load, compare, save, read back, compare. */
import { type Copy } from "../client/remote.ts";
import { RebalanceError } from "../errors.ts";
import { displayKey } from "../key.ts";
import { sameCopy, sizeOf } from "./copy.ts";
import { BY_ITSELF, type Endpoint, type Loaded, type Replacement, type Saved } from "./endpoint.ts";
import { type MovedEvent, type NewerEvent } from "./events.ts";
import { type Pace } from "./pace.ts";

/** A key on its way from its owner to its target. */
export interface Move {
  readonly key: string;
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** Whether the target may hold the value already. */
  readonly mayBeThere: boolean;
}

/**
 * What came of a move: an event if the value was saved or the target keeps its own; `there` if the target had the
 * value already; `gone` if the owner has lost it.
 */
export type Outcome = MovedEvent | NewerEvent | "there" | "gone";

/** What came of a batch. */
export interface BatchOutcome {
  /** One for each move that was done, in the order of the moves. */
  readonly outcomes: readonly Outcome[];
  /** Why the other moves were not done. */
  readonly failure: { readonly error: unknown } | undefined;
}

/** Moves keys at the pace that is allowed. Only one value that is too large for a batch is in memory at a time. */
export class Mover {
  readonly #pace: Pace;
  readonly #overwrites: boolean;
  #sparesTargets = false;
  #large: Promise<unknown> = Promise.resolve();

  /** @param overwrites Whether it replaces what targets hold even if clients go by the to-be list. */
  constructor(pace: Pace, overwrites: boolean) {
    this.#pace = pace;
    this.#overwrites = overwrites;
  }

  /** Whether it leaves what targets held before a save, because that may be newer. */
  get sparesTargets(): boolean {
    return this.#sparesTargets;
  }

  /** Says that clients go by the to-be list already. */
  spareTargets(): void {
    this.#sparesTargets = !this.#overwrites;
  }

  /** Brings keys of one server to their targets. Never rejects: what was done before a failure counts. */
  async moveMany(moves: readonly Move[]): Promise<BatchOutcome> {
    const outcomes = new Map<Move, Outcome>();
    let failure: BatchOutcome["failure"];
    try {
      const from = moves[0]?.from;
      const copies = await loadMany(from, moves.map(({ key }) => key));
      const results = await Promise.allSettled(
        [...Map.groupBy(moves, ({ to }) => to)].map(([to, group]) =>
          this.#moveTo(to, group, { copies, outcomes })
        ),
      );
      for (const result of results) {
        if (result.status === "rejected") failure ??= { error: result.reason };
      }
    } catch (error) {
      failure = { error };
    }
    const done = moves.map((move) => outcomes.get(move));
    return { outcomes: done.filter((outcome) => outcome !== undefined), failure };
  }

  /** Loads the values of `keys`, however large they are; `undefined` if the server holds none. */
  async load(
    server: Endpoint,
    keys: readonly string[],
  ): Promise<ReadonlyMap<string, Copy | undefined>> {
    const copies = new Map<string, Copy | undefined>();
    for (const [key, copy] of await loadMany(server, keys)) {
      copies.set(key, copy === BY_ITSELF ? await this.#alone(() => server.load(key)) : copy);
    }
    return copies;
  }

  /** Whether both servers hold the same value, however large it is; also if the owner holds none any more. */
  isSame({ key, from, to }: Move): Promise<boolean> {
    return this.#alone(async () => {
      const copy = await from.load(key);
      return copy === undefined || sameCopy(copy, await to.load(key));
    });
  }

  async #moveTo(
    to: Endpoint,
    moves: readonly Move[],
    { copies, outcomes }: {
      readonly copies: ReadonlyMap<string, Loaded>;
      readonly outcomes: Map<Move, Outcome>;
    },
  ): Promise<void> {
    const candidates = moves.filter((move) => move.mayBeThere).map(({ key }) => key);
    const there = await loadMany(to, candidates);
    const entries: (Replacement & { readonly move: Move })[] = [];
    const alone: Move[] = [];
    for (const move of moves) {
      const { key } = move;
      const copy = copies.get(key);
      const seen = there.get(key);
      if (copy === undefined) {
        outcomes.set(move, "gone");
      } else if (copy === BY_ITSELF || seen === BY_ITSELF) {
        alone.push(move);
      } else if (sameCopy(copy, seen)) {
        outcomes.set(move, "there");
      } else if (move.mayBeThere && this.#sparesTargets) {
        outcomes.set(move, newerEvent(move, seen));
      } else {
        // Again, because clients may have saved the value since it was checked.
        checkFits(move, copy);
        entries.push({ key, copy, seen, move });
      }
    }
    await this.#pace.take(entries.length);
    const saved = entries.length === 0 ? [] : await to.saveMany(entries);
    for (const [index, { move, copy }] of entries.entries()) {
      outcomes.set(move, await this.#outcomeOf(move, copy, saved[index]));
    }
    for (const move of alone) {
      outcomes.set(move, await this.#alone(() => this.#moveKey(move)));
    }
  }

  /** Moves one key, whatever its size. @throws {RebalanceError} If it cannot be moved. */
  async #moveKey(move: Move): Promise<Outcome> {
    const { key, from, to } = move;
    const copy = await from.load(key);
    if (copy === undefined) return "gone";
    const seen = move.mayBeThere ? await to.load(key) : undefined;
    if (sameCopy(copy, seen)) return "there";
    if (move.mayBeThere && this.#sparesTargets) return newerEvent(move, seen);
    checkFits(move, copy);
    await this.#pace.take(1);
    return await this.#outcomeOf(move, copy, await to.save({ key, copy, seen }));
  }

  /**
   * What a save came to.
   *
   * @throws {RebalanceError} If the target took the value, and holds another one that nobody else has written.
   */
  async #outcomeOf(move: Move, copy: Copy, saved: Saved | undefined): Promise<Outcome> {
    const { key, from, to } = move;
    const held = saved?.held === BY_ITSELF ? await to.load(key) : saved?.held;
    // Also after a refusal: the request may have been repeated, or another run was there first.
    if (sameCopy(copy, held)) {
      const [bytes, answer] = [sizeOf(copy), saved?.answer];
      return { kind: "moved", key, copy, bytes, from: from.name, to: to.name, answer };
    }
    // The target took the value, and somebody wrote another one before it was read back.
    const isReplaced = saved?.etag !== undefined && saved.etag !== held?.etag;
    if (saved?.isRefused !== true && !isReplaced) throw changedError(move, held);
    this.spareTargets();
    return newerEvent(move, held);
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#large.then(work);
    this.#large = result.catch(() => {});
    return result;
  }
}

async function loadMany(
  server: Endpoint | undefined,
  keys: readonly string[],
): Promise<ReadonlyMap<string, Loaded>> {
  if (server === undefined || keys.length === 0) return new Map();
  const copies = await server.loadMany(keys);
  return new Map(keys.map((key, index) => [key, copies[index]]));
}

function newerEvent({ key, from, to }: Move, held: Copy | undefined): NewerEvent {
  return { kind: "newer", key, owner: from.name, target: to.name, absent: held === undefined };
}

function changedError({ key, to }: Move, held: Copy | undefined): RebalanceError {
  const what = held === undefined ? "nothing" : `another value (${sizeOf(held)} bytes)`;
  return new RebalanceError(
    `"${displayKey(key)}" was saved on ${to.name}, but what ${to.name} then holds is ${what}`,
  );
}

/** @throws {RebalanceError} If the target cannot take the value. */
export function checkFits({ key, to }: Move, copy: Copy): void {
  const refusal = to.whyRefused(key, copy);
  if (refusal !== undefined) {
    throw new RebalanceError(`Cannot move "${displayKey(key)}" to ${to.name}: ${refusal}`);
  }
}
