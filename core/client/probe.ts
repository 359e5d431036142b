/**
 * The probe of `kvs client`: each letter of the alphabet is a key, and its value has to be the letter
 * itself. Each letter is loaded from its owner over the book routes.
 */
import { delay } from "@std/async/delay";
import { OPEN_ACCESS } from "../access.ts";
import { RemoteError } from "../errors.ts";
import { type Placement } from "../placement.ts";
import { equalBytes, type RemoteOptions } from "./remote.ts";
import { type ServerAddress } from "./server_list.ts";
import { ServerSet } from "./server_set.ts";

/** The keys that are probed, in the order of a row. */
export const LETTERS: readonly string[] = [..."abcdefghijklmnopqrstuvwxyz"];

/** One round of probes. */
export interface Row {
  /** When the round began. */
  readonly time: Date;
  /**
   * One status a letter: `h` hit, `w` written just now, `m` missing, `x` another value, `.` not
   * reached, `0` to `9` the first digit of the HTTP status.
   */
  readonly statuses: string;
  /** The number of `h` in `statuses`. */
  readonly hits: number;
}

/** How the alphabet is probed; `timeoutMs` is how long one request may take. */
export interface ProbeOptions extends Omit<RemoteOptions, "client"> {
  readonly servers: readonly ServerAddress[];
  readonly placement: Placement;
  /** Whether a missing letter stays missing. */
  readonly readonly: boolean;
}

/**
 * Time between the probes of a round on the same server (milliseconds). A burst overflows a small accept
 * queue, such as that of Python's http.server. The kernel then tries the connection again only after a
 * second, and the server would look dead.
 */
const STAGGER_MS = 2;

const encoder = new TextEncoder();

/** Probes the alphabet, round by round. */
export class Prober {
  readonly #options: ProbeOptions;
  readonly #servers: ServerSet;
  readonly #client: Deno.HttpClient;

  constructor(options: ProbeOptions) {
    this.#options = options;
    // No connection is kept, so that each round looks the servers up and connects to them anew.
    this.#client = (options.access ?? OPEN_ACCESS).createClient({ poolMaxIdlePerHost: 0 });
    // Without repetitions, since a row shows failures.
    this.#servers = new ServerSet({ ...options, client: this.#client });
  }

  /** Asks for the layout of the cluster, unless that was done. Never throws. */
  async discover(): Promise<void> {
    await this.#servers.discover();
  }

  /** The servers, as far as is known those of the layout. */
  get servers(): readonly ServerAddress[] {
    return this.#servers.servers;
  }

  /** The index of the server that owns `letter`. */
  ownerOf(letter: string): number {
    return this.#servers.ownerOf(letter);
  }

  /** Probes all letters at the same time, so that a dead server costs one timeout. Never throws. */
  async round(): Promise<Row> {
    const time = new Date();
    const started = this.#servers.servers.map(() => 0);
    const probes = LETTERS.map((letter) => {
      const owner = this.ownerOf(letter);
      const before = started[owner] ?? 0;
      started[owner] = before + 1;
      return this.#probe(letter, before * STAGGER_MS);
    });
    const statuses = (await Promise.all(probes)).join("");
    return { time, statuses, hits: statuses.replaceAll(/[^h]/g, "").length };
  }

  /** Closes the connections. */
  close(): void {
    this.#client.close();
  }

  /** Ends a request that takes too long even if the server is never silent: its row waits for it. */
  #limit(): { readonly signal: AbortSignal } {
    return { signal: AbortSignal.timeout(this.#options.timeoutMs) };
  }

  async #probe(letter: string, delayMs: number): Promise<string> {
    if (delayMs > 0) await delay(delayMs);
    const word = encoder.encode(letter);
    try {
      const found = await this.#servers.askKey(letter, (remote, { claim }) => {
        return remote.load(letter, { ...this.#limit(), claim });
      });
      if (found !== undefined) return equalBytes(found, word) ? "h" : "x";
      if (this.#options.readonly) return "m";
      await this.#servers.askKey(letter, (remote, { claim }) => {
        return remote.save(letter, word, { ...this.#limit(), claim });
      });
      return "w";
    } catch (error) {
      if (error instanceof RemoteError) return statusLetter(error.status);
      throw error;
    }
  }
}

function statusLetter(status: number | undefined): string {
  return status === undefined ? "." : String(status).charAt(0);
}
