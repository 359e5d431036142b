/**
 * The memory of a server for the last move of keys that it took part in: the name of the move, and the keys
 * that clients have written since it began.
 *
 * A key that is moved here has another owner by the as-is list. So a client that writes it here goes by
 * the to-be list, and its value is newer than any value that the move could bring. Nothing else tells
 * such a value from a stale copy, which the move has to replace.
 *
 * The keys are in memory only. After another start they are not known. If the move was complete by then,
 * any key counts as written. If not, no key does, since clients still go by the as-is list.
 */
import { join } from "@std/path";
import { AnotherMoveError, messageOf, PreconditionFailedError } from "../errors.ts";
import { type Log } from "../log.ts";
import { isObject, type MoveStep } from "../protocol.ts";
import {
  type Condition,
  type IncomingValue,
  type ListOptions,
  type SetResult,
  type Store,
} from "../store.ts";
import { openIfThere, readAll, replaceFile } from "../system/file_steps.ts";
import { type Files, refusedOr } from "../system/files.ts";
import { Value } from "../value.ts";

/** On-disk name in the hidden folder. */
const FILE_NAME = "move";

/** The most keys that are remembered. After more, any key counts as written; bounds memory. */
const MOST_KEYS = 100_000;

/** The most bytes of the file that are read. */
const MOST_BYTES = 4096;

/** The content of the file. */
interface Remembered {
  readonly move: string;
  readonly complete: boolean;
}

/** The last move of a server, and its store as clients and as that move see it. */
export class MoveWatch {
  /** The store for clients: the keys that they write are remembered. */
  readonly clients: Store;
  readonly #store: Store;
  readonly #folder: string;
  readonly #files: Files;
  #move: string | undefined;
  #isComplete = false;
  /** The keys that clients wrote since the move began; `undefined` if any key may have been written. */
  #written: Set<string> | undefined = new Set();
  #saving: Promise<void> = Promise.resolve();

  private constructor(store: Store, folder: string, files: Files) {
    this.#store = store;
    this.#folder = folder;
    this.#files = files;
    const note = (key: string) => this.#note(key);
    // Noted again at the end of a value that came piece by piece: a move may have begun meanwhile.
    this.clients = new HookedStore(store, { set: note, delete: note, arrived: note });
  }

  /** Reads what the hidden folder `folder` remembers. A file that is damaged counts as none. */
  static async open(store: Store, folder: string, files: Files, log: Log): Promise<MoveWatch> {
    const watch = new MoveWatch(store, folder, files);
    const file = join(folder, FILE_NAME);
    try {
      const found = await readRemembered(file, files);
      watch.#move = found?.move;
      watch.#isComplete = found?.complete ?? false;
      if (watch.#isComplete) watch.#written = undefined;
    } catch (error) {
      log("warn", "ignored the note of the last move", { file, error: messageOf(error) });
    }
    return watch;
  }

  /**
   * The store for the move of this name. A write fails with AnotherMoveError if another move has begun
   * since, and a save with PreconditionFailedError if a client may have written the key.
   */
  movers(move: string): Store {
    const checkMove = () => this.#checkMove(move);
    const checkKey = (key: string) => {
      checkMove();
      this.#checkKey(key);
    };
    return new HookedStore(this.#store, { set: checkKey, delete: checkMove });
  }

  /**
   * Takes a step of a move; durable once resolved.
   *
   * @throws {AnotherMoveError} If the move that is to be completed is not the last one.
   * @throws {StorageFullError} If the disk is full.
   */
  async take(move: string, step: MoveStep): Promise<void> {
    if (step === "complete") {
      this.#checkMove(move);
      this.#isComplete = true;
    } else if (step === "restart" || move !== this.#move) {
      this.#isComplete = false;
      this.#written = new Set();
    }
    this.#move = move;
    const saved = this.#saving.then(() => this.#save());
    this.#saving = saved.catch(() => {});
    await saved;
  }

  #note(key: string): void {
    if (this.#move === undefined || this.#written === undefined) return;
    if (this.#written.size < MOST_KEYS) this.#written.add(key);
    else this.#written = undefined;
  }

  /** A server that remembers no move, as one with an empty disk, takes what it gets. */
  #checkMove(move: string): void {
    if (this.#move === undefined || this.#move === move) return;
    throw new AnotherMoveError(`Another move has begun since: ${this.#move}, not ${move}`);
  }

  #checkKey(key: string): void {
    if (this.#written !== undefined && !this.#written.has(key)) return;
    throw new PreconditionFailedError(
      "Precondition failed: a client has written the key since the move began, or may have",
    );
  }

  async #save(): Promise<void> {
    const text = JSON.stringify({ move: this.#move, complete: this.#isComplete }) + "\n";
    try {
      const bytes = new TextEncoder().encode(text);
      await replaceFile(this.#files, { folder: this.#folder, name: FILE_NAME, bytes });
    } catch (error) {
      throw refusedOr("Cannot write the note of a move", error);
    }
  }
}

/** Called with the key of a write. */
interface WriteHooks {
  /** Before a save. */
  readonly set: (key: string) => void;
  /** Before a delete. */
  readonly delete: (key: string) => void;
  /** After the save of an {@link IncomingValue}. */
  readonly arrived?: (key: string) => void;
}

/** A store whose writes fail if a hook throws. */
class HookedStore implements Store {
  readonly #store: Store;
  readonly #hooks: WriteHooks;

  constructor(store: Store, hooks: WriteHooks) {
    this.#store = store;
    this.#hooks = hooks;
  }

  get size(): number {
    return this.#store.size;
  }

  get writes(): number {
    return this.#store.writes;
  }

  get(key: string): ReturnType<Store["get"]> {
    return this.#store.get(key);
  }

  set(key: string, value: Value | IncomingValue, condition?: Condition): Promise<SetResult> {
    try {
      this.#hooks.set(key);
    } catch (error) {
      return Promise.reject(error);
    }
    const saved = this.#store.set(key, value, condition);
    return value instanceof Value ? saved : saved.finally(() => this.#hooks.arrived?.(key));
  }

  delete(key: string, condition?: Condition): Promise<boolean> {
    try {
      this.#hooks.delete(key);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#store.delete(key, condition);
  }

  list(options?: ListOptions): string[] {
    return this.#store.list(options);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

async function readRemembered(path: string, files: Files): Promise<Remembered | undefined> {
  const file = await openIfThere(files, path);
  if (file === undefined) return undefined;
  let bytes: Uint8Array;
  try {
    bytes = await readAll(file, MOST_BYTES);
  } finally {
    file.close();
  }
  const parsed: unknown = JSON.parse(new TextDecoder().decode(bytes));
  if (isObject(parsed) && typeof parsed.move === "string" && typeof parsed.complete === "boolean") {
    return { move: parsed.move, complete: parsed.complete };
  }
  throw new SyntaxError("it is not a note of a move");
}
