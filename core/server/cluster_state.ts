/**
 * What a server keeps of its place in the cluster, in one small file of the hidden folder: the id of its store, its
 * layout, its mark, and the takes of the move. All of it changes in one durable write.
 */
import { join } from "@std/path";
import { messageOf, StartError } from "../errors.ts";
import { isUuid, type Layout, type Mark, NO_MARK, parseLayout } from "../layout/layout.ts";
import { type Log } from "../log.ts";
import { isObject } from "../protocol.ts";
import { openIfThere, readAll, replaceFile } from "../system/file_steps.ts";
import { failedError, type Files, refusedOr } from "../system/files.ts";

/** On-disk names in the hidden folder. */
const STATE_FILE = "cluster";
const FORMAT_FILE = "format";

/** The format of a folder with a layout. A binary that knows no layouts would serve keys that are not its own. */
const FORMAT = 2;

const WHAT = "Cannot write the layout";

/** The most bytes of a file that are read. */
const MOST_BYTES = 64 * 1024 * 1024;

/** The newest take of a source in the move that is under way. */
export interface Take {
  readonly fence: number;
  readonly attempt: number;
  /** The last key of its range; `null`: the range has no end. */
  readonly upto: string | null;
}

/** What is kept. */
export interface ClusterState {
  /** The id of the store: a UUID made with the folder. */
  readonly store: string;
  /** The name of the server in layouts; `undefined` until it is told. */
  readonly self: string | undefined;
  readonly layout: Layout | undefined;
  readonly mark: Mark;
  /** The number of the newest fence. Numbers only grow. */
  readonly fence: number;
  /** The newest take of each source in this move. */
  readonly takes: Readonly<Record<string, Take>>;
  /** Whether the cluster has gone on without this server, so that it serves nothing. */
  readonly stopped: boolean;
  /** Whether all keys are being deleted, since the server is to begin anew. */
  readonly emptying: boolean;
}

/** The state file of a folder. */
export class ClusterStateFile {
  readonly #folder: string;
  readonly #files: Files;
  #state: ClusterState;
  #chain: Promise<unknown> = Promise.resolve();

  private constructor(folder: string, files: Files, state: ClusterState) {
    this.#folder = folder;
    this.#files = files;
    this.#state = state;
  }

  /**
   * Reads the state in the hidden folder `folder`; in a new folder it makes the id of the store.
   *
   * @throws {StartError} If the file is damaged, or another version of kvs wrote the folder.
   */
  static async open(folder: string, files: Files, log: Log): Promise<ClusterStateFile> {
    const format = await readText(files, join(folder, FORMAT_FILE));
    if (format !== undefined && format.trim() !== String(FORMAT)) {
      throw new StartError(
        `Cannot use ${folder}: its format is ${
          format.trim().slice(0, 20)
        }, and this kvs knows ${FORMAT} ` +
          "at most: start the version that wrote it",
      );
    }
    const path = join(folder, STATE_FILE);
    const text = await readText(files, path);
    if (text !== undefined) return new ClusterStateFile(folder, files, parseState(text, path));
    const state = new ClusterStateFile(folder, files, {
      store: crypto.randomUUID(),
      self: undefined,
      layout: undefined,
      mark: NO_MARK,
      fence: 0,
      takes: {},
      stopped: false,
      emptying: false,
    });
    await state.#write(state.#state).catch((error) => {
      // For example on a full disk. No layout names the store yet, so the next start may make another id.
      log("warn", "cannot write the id of the store", { file: path, error: messageOf(error) });
    });
    return state;
  }

  get state(): ClusterState {
    return this.#state;
  }

  /**
   * Changes the state; durable once resolved. Changes happen one after the other.
   *
   * @param next Gets the state and returns the new one, or the same if nothing is to change. If it throws, nothing
   * changes.
   * @param changed Called with the new state in the same step in which it takes effect.
   * @throws {WriteRefusedError} If the disk is full or busy: nothing changed.
   * @throws {StorageFailedError} If it is not known what the file holds.
   * @throws Whatever `next` throws.
   */
  async change(
    next: (state: ClusterState) => ClusterState | Promise<ClusterState>,
    changed: (state: ClusterState) => void = () => {},
  ): Promise<void> {
    const change = this.#chain.then(async () => {
      const state = await next(this.#state);
      if (state !== this.#state) await this.#save(state);
      this.#state = state;
      changed(state);
    });
    this.#chain = change.catch(() => {});
    await change;
  }

  async #save(state: ClusterState): Promise<void> {
    try {
      if (this.#state.layout === undefined && state.layout !== undefined) {
        await this.#replace(FORMAT_FILE, `${FORMAT}\n`);
      }
      await this.#write(state);
    } catch (error) {
      const written = textOf(state);
      const text = await readText(this.#files, join(this.#folder, STATE_FILE)).catch(() => written);
      const isWritten = text === written;
      // A name that was not flushed may be there after a power cut, or not.
      throw isWritten ? failedError(WHAT, error) : refusedOr(WHAT, error);
    }
  }

  #write(state: ClusterState): Promise<void> {
    return this.#replace(STATE_FILE, textOf(state));
  }

  #replace(name: string, text: string): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    return replaceFile(this.#files, { folder: this.#folder, name, bytes });
  }
}

function textOf(state: ClusterState): string {
  return JSON.stringify(state) + "\n";
}

async function readText(files: Files, path: string): Promise<string | undefined> {
  const file = await openIfThere(files, path);
  if (file === undefined) return undefined;
  try {
    return new TextDecoder().decode(await readAll(file, MOST_BYTES));
  } finally {
    file.close();
  }
}

/** @throws {StartError} If the text is none. */
function parseState(text: string, path: string): ClusterState {
  try {
    const json: unknown = JSON.parse(text);
    if (!isObject(json)) throw new SyntaxError("it is no object");
    const { store, self, layout, mark, fence, takes, stopped, emptying } = json;
    if (
      !isUuid(store) || !(self === undefined || typeof self === "string") || !isMark(mark) ||
      typeof fence !== "number" || !isTakes(takes) || typeof stopped !== "boolean" ||
      typeof emptying !== "boolean"
    ) throw new SyntaxError("a field is missing or wrong");
    return {
      store,
      self,
      layout: layout === undefined ? undefined : parseLayout(layout),
      mark: { key: mark.key, end: mark.end },
      fence,
      takes,
      stopped,
      emptying,
    };
  } catch (error) {
    throw new StartError(
      `Cannot use ${path}: ${
        messageOf(error)
      }. Without it the server does not know which keys are its own: ` +
        "restore it from a backup of this folder",
    );
  }
}

function isMark(value: unknown): value is Mark {
  return isObject(value) && typeof value.end === "boolean" &&
    (value.key === undefined || typeof value.key === "string");
}

function isTakes(value: unknown): value is Record<string, Take> {
  return isObject(value) &&
    Object.values(value).every((take) =>
      isObject(take) && typeof take.fence === "number" && typeof take.attempt === "number" &&
      (take.upto === null || typeof take.upto === "string")
    );
}
