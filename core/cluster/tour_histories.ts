/** What the rows of one act have to show: how the status of each letter may change, row by row. */
import { LETTERS } from "../client/probe.ts";

/**
 * The ways in which the status of one letter may change, repetitions left out: `["h5.h"]` is some
 * rows of `h`, some of `5`, some of `.`, some of `h`, and nothing else.
 */
export type AllowedHistories = readonly string[];

/**
 * The histories of all letters, kept while the rows of an act come in. A single row may be caught in
 * the middle of a change, with one letter before and another after it; a history may not.
 */
export class Histories {
  readonly #letters: readonly { readonly letter: string; readonly allowed: AllowedHistories }[];
  readonly #seen: string[];

  constructor(allowedFor: (letter: string) => AllowedHistories) {
    this.#letters = LETTERS.map((letter) => ({ letter, allowed: allowedFor(letter) }));
    this.#seen = LETTERS.map(() => "");
  }

  /** Takes the statuses of a row; returns what is wrong with them, `undefined` if nothing is. */
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

  /** What is still missing at the end of an act, `undefined` if nothing is. */
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
