/** How the status of each letter may change from row to row in one act. */
import { LETTERS } from "../client/probe.ts";

/**
 * The ways in which the status of one letter may change, without repetitions: `["h5.h"]` is some rows of `h`, then some
 * of `5`, some of `.` and some of `h`.
 */
export type AllowedHistories = readonly string[];

/**
 * Keeps the history of each letter while the rows of an act come in. A row cannot be compared as a whole, because some
 * of its letters may be probed before a change and others after it.
 */
export class Histories {
  readonly #letters: readonly { readonly letter: string; readonly allowed: AllowedHistories }[];
  readonly #seen: string[];

  constructor(allowedFor: (letter: string) => AllowedHistories) {
    this.#letters = LETTERS.map((letter) => ({ letter, allowed: allowedFor(letter) }));
    this.#seen = LETTERS.map(() => "");
  }

  /** Adds the statuses of a row; returns what is wrong with them, `undefined` if they are allowed. */
  add(statuses: string): string | undefined {
    for (const [index, { letter, allowed }] of this.#letters.entries()) {
      const before = this.#seen[index] ?? "";
      const status = statuses.charAt(index);
      const seen = before.endsWith(status) ? before : before + status;
      this.#seen[index] = seen;
      if (!allowed.some((history) => history.startsWith(seen))) {
        return `letter ${letter} went ${arrows(seen)}, allowed is ${either(allowed)}`;
      }
    }
    return undefined;
  }

  /** Returns which history is incomplete at the end of an act, `undefined` if none is. */
  missing(): string | undefined {
    for (const [index, { letter, allowed }] of this.#letters.entries()) {
      const seen = this.#seen[index] ?? "";
      if (!allowed.includes(seen)) {
        return `letter ${letter} went ${arrows(seen)}, expected was ${either(allowed)}`;
      }
    }
    return undefined;
  }
}

function arrows(history: string): string {
  return [...history].join(" -> ");
}

function either(histories: AllowedHistories): string {
  return histories.map(arrows).join(" or ");
}
