/**
 * Small files (tokens, certificates) that are read again when they change. They are looked at once a
 * second rather than watched: a Secret of Kubernetes changes by a symbolic link that is swapped two
 * folders up, which no watch on the file sees.
 */
import { messageOf } from "../errors.ts";
import { type Log } from "../log.ts";

/** What becomes of the files. */
export interface FileUser {
  /** What is in them, for the log. */
  readonly what: string;
  /** Takes their texts. Where it throws, what it took before goes on to count. */
  readonly use: (texts: readonly string[]) => void;
  readonly log: Log;
}

/** How often the files are looked at (milliseconds). */
const INTERVAL_MS = 1000;

/** A watch on files that belong together. */
export class FileWatch {
  readonly #paths: readonly string[];
  readonly #user: FileUser;
  readonly #timer: ReturnType<typeof setInterval>;
  /** The state of the files that was taken last, and the one that was seen last. */
  #taken: string;
  #seen: string;
  #looking = false;

  private constructor(paths: readonly string[], user: FileUser, state: string) {
    this.#paths = paths;
    this.#user = user;
    this.#taken = this.#seen = state;
    this.#timer = setInterval(() => this.#look(), INTERVAL_MS);
  }

  /** Reads the files for the first time. Throws what reading and `use` throw. */
  static async open(paths: readonly string[], user: FileUser): Promise<FileWatch> {
    // Before reading: what changes meanwhile is seen at the first look.
    const state = await stateOf(paths);
    user.use(await readAll(paths));
    return new FileWatch(paths, user, state);
  }

  /** Ends the watch. */
  close(): void {
    clearInterval(this.#timer);
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const state = await stateOf(this.#paths);
    // Twice the same: somebody who replaces one file after the other is done.
    const settled = state === this.#seen;
    this.#seen = state;
    if (settled && state !== this.#taken) {
      this.#taken = state;
      await this.#take();
    }
    this.#looking = false;
  }

  async #take(): Promise<void> {
    const { what, use, log } = this.#user;
    const file = this.#paths.join(", ");
    try {
      use(await readAll(this.#paths));
      log("info", `${what} changed: the new ones count`, { file });
    } catch (error) {
      log("error", `${what} changed, but the old ones go on to count`, {
        file,
        error: messageOf(error),
      });
    }
  }
}

function readAll(paths: readonly string[]): Promise<string[]> {
  return Promise.all(paths.map((path) => Deno.readTextFile(path)));
}

/** What tells one content from another without reading it. Never rejects. */
async function stateOf(paths: readonly string[]): Promise<string> {
  const states = paths.map(async (path) => {
    try {
      const { dev, ino, size, mtime, ctime } = await Deno.stat(path);
      return [dev, ino, size, mtime?.getTime(), ctime?.getTime()].join(":");
    } catch (error) {
      return messageOf(error);
    }
  });
  return (await Promise.all(states)).join(" ");
}
