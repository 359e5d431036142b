/** Moving keys: load, compare, save, read back, compare. */
import { RebalanceError } from "../errors.ts";
import { displayKey } from "../key.ts";
import { BatchCopy, BY_ITSELF } from "./batch_requests.ts";
import { type Endpoint, type Loaded, type Replacement, sameCopy, type Saved } from "./endpoint.ts";
import { type MovedEvent, type NewerEvent } from "./events.ts";
import { type Pace } from "./pace.ts";
import { type Copy } from "../client/remote.ts";

/** A key of an as-is server on its way to its target. */
export interface Move {
  readonly key: string;
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** Whether the target may hold the value already. */
  readonly mayBeThere: boolean;
}

/**
 * What came of a move: an event if it was made, or if its target keeps what it has; or its value is there
 * already, or was deleted.
 */
export type Outcome = MovedEvent | NewerEvent | "there" | "gone";

/** What came of a batch: of as many moves as were done, in order. */
export interface BatchOutcome {
  readonly outcomes: readonly Outcome[];
  /** Why the others were not done. */
  readonly failure: { readonly error: unknown } | undefined;
}

/**
 * Moves keys, at the pace that is allowed: what is there already costs no time of it. Values that are
 * too large for a batch go one at a time, which bounds memory.
 */
export class Mover {
  readonly #pace: Pace;
  #large: Promise<unknown> = Promise.resolve();

  constructor(pace: Pace) {
    this.#pace = pace;
  }

  /**
   * Brings keys of one server to their targets. Never rejects: what was done before a failure counts.
   */
  async moveMany(moves: readonly Move[]): Promise<BatchOutcome> {
    const outcomes = new Map<Move, Outcome>();
    let failure: BatchOutcome["failure"];
    try {
      const copies = await loadSources(moves);
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

  /** Loads one value; at most one at a time is under way. */
  loadAlone(endpoint: Endpoint, key: string): Promise<Copy | undefined> {
    return this.#alone(() => endpoint.load(key));
  }

  /** Whether both servers hold the same value, however large it is. */
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
    const there = await loadAll(to, candidates);
    const entries: (Replacement & { readonly move: Move })[] = [];
    const alone: Move[] = [];
    for (const move of moves) {
      const { key } = move;
      const copy = copies.get(key);
      const held = there.get(key);
      if (copy === undefined) {
        outcomes.set(move, "gone");
      } else if (copy === BY_ITSELF || held === BY_ITSELF) {
        alone.push(move);
      } else if (sameCopy(copy, held)) {
        outcomes.set(move, "there");
      } else {
        // Clients may have saved it since it was checked.
        checkFits(move, copy);
        entries.push({ key, copy, seen: held, move });
      }
    }
    await this.#pace.take(entries.length);
    const saved = entries.length === 0 ? [] : await to.saveMany(entries);
    for (const [index, { move, copy }] of entries.entries()) {
      outcomes.set(move, await outcomeOf(move, copy, saved[index]));
    }
    for (const move of alone) {
      outcomes.set(move, await this.#alone(() => this.#moveKey(move)));
    }
  }

  /** Moves one key, whatever its size. @throws {RebalanceError} If it cannot be. */
  async #moveKey(move: Move): Promise<Outcome> {
    const { key, from, to } = move;
    const copy = await from.load(key);
    if (copy === undefined) return "gone";
    const seen = move.mayBeThere ? await to.load(key) : undefined;
    if (sameCopy(copy, seen)) return "there";
    checkFits(move, copy);
    await this.#pace.take(1);
    return await outcomeOf(move, copy, await to.save({ key, copy, seen }));
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#large.then(work);
    this.#large = result.catch(() => {});
    return result;
  }
}

async function loadSources(moves: readonly Move[]): Promise<ReadonlyMap<string, Loaded>> {
  const from = moves[0]?.from;
  return from === undefined ? new Map() : await loadAll(from, moves.map(({ key }) => key));
}

async function loadAll(
  endpoint: Endpoint,
  keys: readonly string[],
): Promise<ReadonlyMap<string, Loaded>> {
  if (keys.length === 0) return new Map();
  const copies = await endpoint.loadMany(keys);
  return new Map(keys.map((key, index) => [key, copies[index]]));
}

/**
 * What a save came to. Where its target took the value and holds another one, it is saved once more: that
 * is refused if a client was there in between.
 *
 * @throws {RebalanceError} If the target took the value, and holds another one for no such reason.
 */
async function outcomeOf(
  move: Move,
  copy: Copy,
  saved: Saved | undefined,
  isLast = !move.to.knowsMoves,
): Promise<Outcome> {
  const { key, from, to } = move;
  const held = saved?.held;
  // Also where it was refused: the request may have been repeated, or another run was there first.
  if (held !== BY_ITSELF && sameCopy(copy, held)) return movedEvent(move, copy, saved?.answer);
  if (saved?.isRefused === true) return { kind: "newer", key, owner: from.name, target: to.name };
  if (isLast) throw changedError(move, held);
  const seen = held === BY_ITSELF ? await to.load(key) : held;
  return await outcomeOf(move, copy, await to.save({ key, copy, seen }), true);
}

function movedEvent({ key, from, to }: Move, copy: Copy, answer: string | undefined): MovedEvent {
  const bytes = sizeOf(copy);
  return { kind: "moved", key, copy, bytes, from: from.name, to: to.name, answer };
}

const encoder = new TextEncoder();
const scratch = new Uint8Array(64 * 1024);

/** Bytes of a value, without making them where it is text. */
export function sizeOf(copy: Copy): number {
  if (!(copy instanceof BatchCopy) || copy.isBase64) return copy.bytes.length;
  const { read, written } = encoder.encodeInto(copy.text, scratch);
  return read === copy.text.length ? written : copy.bytes.length;
}

function changedError({ key, to }: Move, held: Loaded): RebalanceError {
  const what = held === undefined
    ? "nothing"
    : held === BY_ITSELF
    ? "another value"
    : `another value (${sizeOf(held)} bytes)`;
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
