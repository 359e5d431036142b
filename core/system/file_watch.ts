/**
 * Small files (tokens, certificates) that are read again when they change. A timer asks for their state: a watch of the
 * system does not see how Kubernetes changes a Secret, by a symbolic link two folders up.
 */
import { messageOf } from "../errors.ts";
import { type Log } from "../log.ts";

/** The user of the files. */
export interface FileUser {
  /** What the files hold, for the log: a noun in the plural. */
  readonly what: string;
  /** Takes the texts of the files. If it throws, the texts that it took before go on to count. */
  readonly use: (texts: readonly string[]) => void;
  readonly log: Log;
}

/** Time between two looks at the files (milliseconds). */
const INTERVAL_MS = 1000;

/** A watch on files that belong together. */
export class FileWatch {
  readonly #paths: readonly string[];
  readonly #user: FileUser;
  readonly #timer: ReturnType<typeof setInterval>;
  /** The state of the files when they were read last, and at the last look. */
  #taken: string;
  #seen: string;
  #looking = false;

  private constructor(paths: readonly string[], user: FileUser, state: string) {
    this.#paths = paths;
    this.#user = user;
    this.#taken = this.#seen = state;
    this.#timer = setInterval(() => this.#look(), INTERVAL_MS);
  }

  /** Reads the files for the first time. @throws Whatever reading them or `use` throws. */
  static async open(paths: readonly string[], user: FileUser): Promise<FileWatch> {
    // Before reading: the first look sees a change that happens meanwhile.
    const state = await stateOf(paths);
    user.use(await readTexts(paths));
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
    // The same state twice: somebody who replaces one file after the other has finished.
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
      use(await readTexts(this.#paths));
      log("info", `${what} changed: the new ones count`, { file });
    } catch (error) {
      log("error", `${what} changed, but the old ones go on to count`, {
        file,
        error: messageOf(error),
      });
    }
  }
}

function readTexts(paths: readonly string[]): Promise<string[]> {
  return Promise.all(paths.map((path) => Deno.readTextFile(path)));
}

/** The state of the files, which changes with their content. Never rejects. */
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
