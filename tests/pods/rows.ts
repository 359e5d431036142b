/** The rows of a client, read from the log of its container. */
import { assertEquals, assertMatch, fail } from "@std/assert";
import { until } from "../e2e/program.ts";
import { type ContainerLog } from "./podman.ts";

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const INDENT = " ".repeat(20);
const ROW = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ([hwmx.0-9]{26}) \| hits = (\d+) \((\d+)%\)$/;

/** How long a test waits for a row (milliseconds); some rows come two seconds apart. */
const ROW_PATIENCE_MS = 60_000;

/** What a client has printed. */
export class Rows {
  readonly log: ContainerLog;
  #seen = 0;
  #from = 0;

  constructor(log: ContainerLog) {
    this.log = log;
  }

  /** The statuses of each row so far. @throws {AssertionError} If a line is not as it should be. */
  get statuses(): string[] {
    return this.log.lines.slice(4).map((line) => {
      const [, statuses = "", hits, percent] = ROW.exec(line) ?? fail(`Not a row: "${line}"`);
      const found = statuses.replaceAll(/[^h]/g, "").length;
      assertEquals([hits, percent], [String(found), String(Math.round(found / 26 * 100))], line);
      return statuses;
    });
  }

  /** The index of each letter's server, as the client says it above its first row. */
  async owners(): Promise<string> {
    await until("the client has said who owns what", () => this.log.lines[3]);
    const [letters, dashes, owners = "", more] = this.log.lines;
    assertEquals(letters, INDENT + LETTERS);
    assertEquals(dashes, INDENT + "-".repeat(26));
    assertMatch(owners, /^ {20}\d{26}$/);
    assertEquals(more, dashes);
    return owners.trim();
  }

  /** The row in which each letter shows what stands for its server in `statuses`. */
  async byServer(statuses: string): Promise<string> {
    return (await this.owners()).replaceAll(/\d/g, (owner) => statuses.charAt(Number(owner)));
  }

  /** Resolves when `count` rows one after the other, not asked for before, were exactly `row`. */
  async until(row: string, count = 1): Promise<void> {
    let from = this.#seen;
    await until(`the client prints ${row}, ${count} times`, () => {
      const { statuses } = this;
      for (let at = from; at + count <= statuses.length; at++) {
        if (statuses.slice(at, at + count).every((found) => found === row)) {
          this.#seen = at + count;
          return true;
        }
        from = at + 1;
      }
      return undefined;
    }, ROW_PATIENCE_MS).catch((error) => {
      throw new Error(`${error.message}; printed was:\n${this.log.lines.join("\n")}`);
    });
  }

  /** As {@link until}, with the row given by server. */
  async untilServers(statuses: string, count = 1): Promise<void> {
    await this.until(await this.byServer(statuses), count);
  }

  /** Lets {@link until} look only at rows that have not come yet. */
  skip(): void {
    this.#seen = this.statuses.length;
  }

  /** Forgets the rows before the one last waited for: {@link assertHistories} begins with that. */
  mark(): void {
    this.#from = this.#seen - 1;
  }

  /** Asserts how the status of each letter went from row to row since {@link mark}. */
  assertHistories(allowed: (letter: string, owner: string) => RegExp, owners: string): void {
    const { statuses } = this;
    for (const [index, letter] of [...LETTERS].entries()) {
      const history = statuses.slice(this.#from).map((row) => row.charAt(index)).join("");
      assertMatch(history, allowed(letter, owners.charAt(index)), `letter ${letter}`);
    }
  }
}
