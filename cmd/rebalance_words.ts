/** What `kvs rebalance` says to people: notes on the way, plans, and the summary. */
import { displayKey } from "../core/key.ts";
import { type RebalanceEvent, type Summary } from "../core/rebalance/events.ts";

/** The options of a run that its words depend on. */
export interface Asked {
  readonly dryRun: boolean;
  readonly prune: boolean;
}

/** How many copies of a kind are told by name. */
const MAX_NOTES = 10;

/** What a user has to know besides the moves. Copies that are left behind are told by name up to a bound. */
export class Notes {
  readonly #print: (line: string) => void;
  readonly #counts = { stale: 0, unclear: 0, orphan: 0 };

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  event(event: RebalanceEvent): void {
    switch (event.kind) {
      case "book":
        this.#print(`${event.server} speaks only the book routes: text values only, no pruning`);
        break;
      case "unchecked":
        this.#print(`${event.server} does not tell the room on its disk: it was not checked`);
        break;
      case "newer":
        this.#print(
          `Newer: ${displayKey(event.key)} on ${event.target} ` +
            (event.absent ? "is absent, and may have been deleted there" : "may be newer") +
            `; the value of ${event.owner} does not replace it`,
        );
        break;
      case "changing":
        this.#print(
          `Changing: ${displayKey(event.key)} was written on ${event.owner} during the run; ` +
            `${event.target} does not have its newest value`,
        );
        break;
      case "deleted":
        this.#print(
          `Deleted: ${displayKey(event.key)} was deleted on ${event.owner} during the run; ` +
            `${event.target} still has a copy`,
        );
        break;
      case "stale":
      case "unclear":
      case "orphan": {
        if (++this.#counts[event.kind] > MAX_NOTES) return;
        const key = displayKey(event.key);
        const { server, owner } = event;
        const tells = {
          stale: `Stale: ${key} on ${server}, left by an earlier move; ${owner} owns it`,
          unclear:
            `Unclear: ${key} on ${server}, but not on its owner ${owner}: moved and pruned ` +
            "earlier, or deleted since; left as it is",
          orphan: `Orphan: ${key} on ${server}, but not on its owner ${owner}; left as it is`,
        };
        this.#print(tells[event.kind]);
      }
    }
  }

  end(summary: Summary, { prune, dryRun }: Asked): void {
    for (const [kind, count] of Object.entries(this.#counts)) {
      if (count > MAX_NOTES) this.#print(`... and ${count - MAX_NOTES} more ${kind} copies`);
    }
    if (summary.stale > 0 && !prune && !dryRun) {
      this.#print(
        `${summary.stale} copies are on servers that will not own them: --prune deletes them`,
      );
    }
  }
}

/** The line that tells what a dry run would move from one server to another. */
export function planLine(plan: { from: string; to: string; keys: number; bytes: number }): string {
  const { from, to, keys, bytes } = plan;
  return `${from} -> ${to}: ${counted(keys, "key")}, ${counted(bytes, "byte")}\n`;
}

/** A number with its noun. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** The summary, as a person reads it. */
export function summaryLines(summary: Summary, options: Asked): readonly string[] {
  const { keys, moved, inPlace, left, stale, pruned, unclear, orphans, bytes } = summary;
  const { newer, changing, deleted, gone } = summary;
  const counts = [
    `${keys} keys seen`,
    `${moved} ${options.dryRun ? "to move" : "moved"}`,
    `${inPlace} already in place`,
    `${stale} stale`,
    `${pruned} pruned`,
  ];
  if (unclear > 0) counts.push(`${unclear} unclear`);
  if (orphans > 0) counts.push(`${orphans} orphans`);
  const seconds = summary.seconds.toFixed(2);
  const perSecond = summary.seconds > 0 ? Math.round(moved / summary.seconds) : 0;
  const rate = `${bytes} bytes, ${seconds} seconds, ${keysPerSecond(summary)} keys per second ` +
    `(${perSecond} moved)`;
  const lines = [`${counts.join(", ")}; ${rate}`];
  if (newer > 0) {
    lines.push(
      `${newer} keys were left as they are: their new servers hold other values or none, which may be newer if ` +
        "clients go by the new list; --overwrite copies the old values",
    );
  }
  if (changing + deleted + gone > 0) {
    lines.push(
      `${changing} keys were written after they were copied, ${deleted} were deleted after they were copied, ${gone} went ` +
        "before they were copied: stop the clients that write, and run it again",
    );
  }
  if (summary.busy) {
    lines.push(
      "Clients wrote to the servers as they were during the run, or a server started anew at its end: stop " +
        "the clients, and run it again",
    );
  }
  if (!summary.interrupted) return lines;
  if (options.dryRun || (moved === 0 && pruned === 0)) {
    lines.push("Interrupted: nothing was changed");
  } else {
    const rest = left > 0 ? `${left} keys have yet to be moved` : "all keys are moved";
    lines.push(`Interrupted: ${rest}; run it again to complete it`);
  }
  return lines;
}

/** Keys seen in a second of the whole run. */
export function keysPerSecond({ keys, seconds }: Summary): number {
  return seconds > 0 ? Math.round(keys / seconds) : 0;
}
