/**
 * The note of the last run of `kvs rebalance` that a server took part in. A later run reads it, so that it neither
 * does a complete move again nor begins another move on top of one that was cut off. The server refuses the writes of
 * a run that slept while another run began.
 */
import { join } from "@std/path";
import { AnotherMoveError, messageOf } from "../errors.ts";
import { type Log } from "../log.ts";
import { isObject, type MoveNote, type MoveRun, type MoveStep } from "../protocol.ts";
import { openIfThere, readAll, replaceFile } from "../system/file_steps.ts";
import { type Files, refusedOr } from "../system/files.ts";

/** On-disk name in the hidden folder. */
const FILE_NAME = "move";

/** The most bytes of the file that are read. */
const MOST_BYTES = 4096;

/** Stands for a note that is damaged. Any run differs from it, and it stops the next one. */
const UNKNOWN: MoveNote = { name: "unknown", run: "unknown", complete: false };

/** The last move of a server. */
export class LastMove {
  readonly #folder: string;
  readonly #files: Files;
  #note: MoveNote | undefined;
  #saving: Promise<void> = Promise.resolve();

  private constructor(folder: string, files: Files) {
    this.#folder = folder;
    this.#files = files;
  }

  /** Reads the note in the hidden folder `folder`. A damaged one is logged, and counts as an unknown move. */
  static async open(folder: string, files: Files, log: Log): Promise<LastMove> {
    const last = new LastMove(folder, files);
    const file = join(folder, FILE_NAME);
    try {
      last.#note = await readNote(file, files);
    } catch (error) {
      log("warn", "the note of the last move is damaged", { file, error: messageOf(error) });
      last.#note = UNKNOWN;
    }
    return last;
  }

  /** The last run; `undefined` if there was none. */
  get note(): MoveNote | undefined {
    return this.#note;
  }

  /** Makes sure that no other run has begun. @throws {AnotherMoveError} If one has. */
  checkRun(run: string): void {
    // A server without a note, as one with an empty disk, takes what it gets.
    if (this.#note === undefined || this.#note.run === run) return;
    throw new AnotherMoveError(
      `Another run of kvs rebalance has begun here since: ${this.#note.name}`,
    );
  }

  /**
   * Takes a step of a run; durable once resolved.
   *
   * @throws {AnotherMoveError} If another run has begun since the run that is to be completed.
   * @throws {StorageFullError} If the disk is full.
   */
  async take({ name, run }: MoveRun, step: MoveStep): Promise<void> {
    const complete = step === "complete";
    if (complete) this.checkRun(run);
    this.#note = { name, run, complete };
    const saved = this.#saving.then(() => this.#save());
    this.#saving = saved.catch(() => {});
    await saved;
  }

  async #save(): Promise<void> {
    const { name: move, run, complete } = this.#note ?? UNKNOWN;
    const bytes = new TextEncoder().encode(JSON.stringify({ move, run, complete }) + "\n");
    try {
      await replaceFile(this.#files, { folder: this.#folder, name: FILE_NAME, bytes });
    } catch (error) {
      throw refusedOr("Cannot write the note of a move", error);
    }
  }
}

async function readNote(path: string, files: Files): Promise<MoveNote | undefined> {
  const file = await openIfThere(files, path);
  if (file === undefined) return undefined;
  let bytes: Uint8Array;
  try {
    bytes = await readAll(file, MOST_BYTES);
  } finally {
    file.close();
  }
  const parsed: unknown = JSON.parse(new TextDecoder().decode(bytes));
  if (isObject(parsed)) {
    const { move: name, run, complete } = parsed;
    if (typeof name === "string" && typeof run === "string" && typeof complete === "boolean") {
      return { name, run, complete };
    }
  }
  throw new SyntaxError("it is not a note of a move");
}
