/**
 * Turns a sequence of rows into events in words. It depends on nothing but the rows: no clock, no
 * network, no page.
 */
import { type Tone } from "./model.ts";

/** The part of a row that concerns one server. */
export interface Observation {
  readonly name: string;
  /** The letters that the server owns. */
  readonly letters: string;
  /** The statuses of the letters, in the same order. */
  readonly statuses: string;
  /** The state of a server that owns no letter: `u`, `.`, a digit, or `?`. */
  readonly polled: string;
}

/** An event in words. */
export interface Told {
  readonly text: string;
  readonly tone: Tone;
}

/** An event of one server: `rest` follows the name in its sentence. */
interface Sentence {
  readonly name: string;
  readonly rest: string;
  readonly tone: Tone;
}

type ServerPhase = "unknown" | "serving" | "partly" | "stopping" | "starting" | "gone" | "failing";

/** Up to so many servers with the same event get an event each; more share one. */
const MAX_SINGLE = 3;

/** Up to so many letters are named; more are counted. */
const MAX_NAMED = 6;

/** Tells what happens, row by row. */
export class Storyteller {
  #servers = new Map<string, ServerStory>();

  /** Takes the next row, and returns its events. A server that is not in the row is forgotten. */
  tell(row: readonly Observation[]): Told[] {
    const before = this.#servers;
    this.#servers = new Map();
    const sentences: Sentence[] = [];
    const unreached = row.every(({ name, statuses, polled }) =>
      !before.has(name) && (statuses === "" ? polled : stateOf(statuses)) === "."
    );
    for (const seen of row) {
      const story = before.get(seen.name) ?? new ServerStory();
      this.#servers.set(seen.name, story);
      for (const [rest, tone] of story.tell(seen)) sentences.push({ name: seen.name, rest, tone });
    }
    if (unreached && row.length > 1) return [{ text: "No server reached yet", tone: "note" }];
    return grouped(sentences);
  }
}

/** The story of one server: its phase, and the last answers for its letters. */
class ServerStory {
  #phase: ServerPhase = "unknown";
  /** Whether it ever served. */
  #served = false;
  /** The last answer for each letter. */
  readonly #last = new Map<string, string>();
  /**
   * The first answer for each letter since the server last answered for all. A loss shows only
   * there: by the next row, the client has written the letter again.
   */
  readonly #first = new Map<string, string>();

  *tell({ letters, statuses, polled }: Observation): Generator<readonly [string, Tone]> {
    const state = letters === "" ? polled : stateOf(statuses);
    const answers = new Map<string, string>();
    for (const [index, letter] of [...letters].entries()) {
      const status = statuses.charAt(index);
      if (!isAnswered(status)) continue;
      answers.set(letter, status);
      if (!this.#first.has(letter)) this.#first.set(letter, status);
    }
    for (const letter of this.#last.keys()) {
      if (!letters.includes(letter)) this.#last.delete(letter);
    }
    for (const letter of this.#first.keys()) {
      if (!letters.includes(letter)) this.#first.delete(letter);
    }
    const before = this.#phase;
    const sentence = this.#move(state, letters);
    if (sentence !== undefined) yield sentence;
    if (this.#phase !== "serving") return;
    // The sentence about the server's return already tells these changes.
    if (before === "serving" || before === "partly") {
      yield* this.#changes(this.#first, letters.length);
    }
    this.#first.clear();
    for (const [letter, status] of answers) this.#last.set(letter, status);
  }

  /** Enters the phase that `state` means; returns the sentence if the phase is a new one. */
  #move(state: string, letters: string): readonly [string, Tone] | undefined {
    const before = this.#phase;
    if (state === "?") return undefined;
    if (state === ".") {
      this.#first.clear();
      if (before === "gone") return undefined;
      this.#phase = "gone";
      return before === "stopping" ? ["has gone", "note"] : ["cannot be reached", "bad"];
    }
    if (state === "~") {
      // A server that starts or stops may answer in part.
      if (before !== "serving") return undefined;
      this.#phase = "partly";
      return ["did not answer for some of its letters", "bad"];
    }
    if (state === "5") {
      if (before === "stopping" || before === "starting") return undefined;
      const stops = before === "serving" || before === "partly";
      if (stops) this.#first.clear();
      this.#phase = stops ? "stopping" : "starting";
      return [stops ? "shutting down" : "is starting, or shutting down", "note"];
    }
    if (/\d/.test(state)) {
      if (before === "failing") return undefined;
      this.#phase = "failing";
      this.#first.clear();
      return [`answers with errors (${state}xx)`, "bad"];
    }
    if (before === "serving") return undefined;
    this.#phase = "serving";
    const served = this.#served;
    this.#served = true;
    if (before === "partly") return ["answers for all its letters again", "good"];
    return this.#verdict(served, letters.length);
  }

  /** Tells what the server still had when it came back. */
  #verdict(served: boolean, size: number): readonly [string, Tone] {
    const came = served ? "back" : "is up";
    const count = (status: string) =>
      [...this.#first.values()].filter((first) => first === status).length;
    const [written, missing, wrong] = [count("w"), count("m"), count("x")];
    if (size === 0) return [came, "good"];
    if (written + missing + wrong === 0) {
      return [served ? "back, nothing lost" : `is up, ${lettersOf(size)} found`, "good"];
    }
    if (written === size) {
      return [
        `${came}, empty: ${lettersOf(size)} written${served ? " again" : ""}`,
        served ? "bad" : "good",
      ];
    }
    if (missing === size) {
      return [`${came}, empty: ${lettersOf(size)} missing`, served ? "bad" : "note"];
    }
    const parts: string[] = [];
    if (written > 0) parts.push(`${written} of ${lettersOf(size)} missing and written again`);
    if (missing > 0) parts.push(`${missing} of ${lettersOf(size)} missing`);
    if (wrong > 0) parts.push(`${wrong} of ${lettersOf(size)} with another value`);
    return [`${came}: ${parts.join(", ")}`, "bad"];
  }

  /** Tells what changed on a server that was there all the time. */
  *#changes(answers: ReadonlyMap<string, string>, size: number): Generator<[string, Tone]> {
    const changed = (test: (before: string | undefined, now: string) => boolean) =>
      [...answers].filter(([letter, now]) => {
        const before = this.#last.get(letter);
        return before !== now && test(before, now);
      }).map(([letter]) => letter);

    const lost = changed((before, now) => now === "w" && before !== undefined && before !== "m");
    if (lost.length > 0) {
      yield [`had lost ${lost.length} of ${lettersOf(size)}: written again`, "bad"];
    }
    const written = changed((before, now) =>
      now === "w" && (before === undefined || before === "m")
    );
    if (written.length > 0) yield [`got ${lettersOf(written.length)} that it lacked`, "note"];
    const missing = changed((before, now) => now === "m" && before !== undefined);
    if (missing.length > 0) yield [`lost ${named(missing)}`, "bad"];
    const awaited = changed((before, now) => now === "m" && before === undefined);
    if (awaited.length > 0) yield [`does not have ${named(awaited)} yet`, "note"];
    const found = changed((before, now) => now === "h" && before === "m");
    if (found.length > 0) yield [`now has ${named(found)}`, "good"];
    const wrong = changed((_, now) => now === "x");
    if (wrong.length > 0) yield [`has another value for ${named(wrong)}`, "bad"];
    const right = changed((before, now) => now === "h" && before === "x");
    if (right.length > 0) yield [`has the right value again for ${named(right)}`, "good"];
  }
}

function lettersOf(count: number): string {
  return count === 1 ? "1 letter" : `${count} letters`;
}

function named(letters: readonly string[]): string {
  return letters.length > MAX_NAMED ? lettersOf(letters.length) : letters.join(", ");
}

/** One event for each server, or one for all if many have the same sentence. */
function grouped(sentences: readonly Sentence[]): Told[] {
  const groups = new Map<string, Sentence[]>();
  for (const sentence of sentences) {
    const group = groups.get(sentence.rest);
    if (group === undefined) groups.set(sentence.rest, [sentence]);
    else group.push(sentence);
  }
  return [...groups.values()].flatMap((group) => {
    if (group.length <= MAX_SINGLE) {
      return group.map(({ name, rest, tone }) => ({ text: `${name} ${rest}`, tone }));
    }
    const [first, second] = group;
    if (first === undefined || second === undefined) return [];
    const names = `${first.name}, ${second.name} and ${group.length - 2} more`;
    return [{ text: `${names}: ${first.rest}`, tone: first.tone }];
  });
}

/**
 * The state of a server in one character, from the statuses of its letters in one row. The worst
 * status decides:
 *
 *     h serves   w was written to   m lacks a letter   x has another value   . cannot be reached
 *     ~ answered for some letters only   0-9 first digit of an HTTP error   u serves, owns no letter
 *     ? not known yet
 */
export function stateOf(statuses: string): string {
  if (statuses === "") return "?";
  const digit = /\d/.exec(statuses);
  if (digit !== null) return digit[0];
  if (statuses.includes(".")) return /[^.]/.test(statuses) ? "~" : ".";
  for (const state of ["x", "m", "w"]) if (statuses.includes(state)) return state;
  return "h";
}

/** Whether the server told the value of a letter with this status, or that there is none. */
function isAnswered(status: string): boolean {
  return status === "h" || status === "w" || status === "m" || status === "x";
}
