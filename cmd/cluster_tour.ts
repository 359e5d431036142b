/** What `kvs cluster --tour` shows. */
import { formatRow } from "../core/client/rows.ts";
import { type TourEvent } from "../core/cluster/tour.ts";
import { type Screen } from "./screen.ts";

/** How many lines of a command's output are shown. */
const SHOWN_LINES = 4;

/** Shows an event of the tour. */
export function showTourEvent(event: TourEvent, screen: Screen): void {
  switch (event.kind) {
    case "act":
      screen.print("");
      screen.printBold(`Act ${event.number} of ${event.of}: ${event.act.title}`);
      for (const line of event.act.text) screen.print(`  ${line}`);
      return;
    case "client":
      screen.print(`$ ${event.command}`);
      for (const line of event.header) screen.print(line);
      return;
    case "row":
      return screen.print(formatRow(event.row, screen.paint));
    case "command":
      screen.print(`$ ${event.command}`);
      for (const line of trimmed(event.output)) screen.printDim(`  ${line}`);
      for (const line of event.notes) screen.print(`  ${line}`);
      return;
    case "passed":
      return screen.print(`  Act ${event.number} came out as it should.`);
  }
}

function trimmed(lines: readonly string[]): readonly string[] {
  const left = lines.length - SHOWN_LINES;
  return left <= 1 ? lines : [...lines.slice(0, SHOWN_LINES), `... ${left} more lines`];
}
