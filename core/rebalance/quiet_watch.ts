/** Whether anybody but a run writes to its servers, by what the servers tell of themselves. */
import { type Endpoint, type ServerStats } from "./endpoint.ts";

/** What is compared of one server. */
interface Count {
  /** Which start of the server it is: a server may be back, without its disk, before anybody misses it. */
  readonly start: string | undefined;
  /** The writes since that start that the run did not make. */
  readonly others: number | undefined;
}

/** Compares what servers tell from one look to the next. */
export class QuietWatch {
  readonly #servers: readonly Endpoint[];
  readonly #asIs: ReadonlySet<number>;
  #before: readonly Count[] | undefined;

  /**
   * @param servers Those of both lists.
   * @param asIs Which of them clients write to. A write to one of the others changes nothing that an owner holds.
   */
  constructor(servers: readonly Endpoint[], asIs: readonly number[]) {
    this.#servers = servers;
    this.#asIs = new Set(asIs);
  }

  /**
   * Looks at what the servers tell now. Returns whether, since the look before, nobody but the run wrote to the as-is
   * servers and no server started anew; `undefined` if servers do not tell.
   */
  look(stats: readonly (ServerStats | undefined)[]): boolean | undefined {
    const now = this.#servers.map(({ ownWrites }, index): Count => {
      const { start, writes } = stats[index] ?? {};
      if (!this.#asIs.has(index)) return { start, others: 0 };
      const isTold = writes !== undefined && ownWrites !== undefined;
      return { start, others: isTold ? writes - ownWrites : undefined };
    });
    const before = this.#before;
    this.#before = now;
    // This comes first: values may be gone after a new start, whatever the writes of the others are.
    const isAnew = ({ start }: Count, index: number) => {
      const old = before?.[index]?.start;
      return start !== undefined && old !== undefined && start !== old;
    };
    if (now.some(isAnew)) return false;
    if (now.some(({ start, others }) => start === undefined || others === undefined)) {
      return undefined;
    }
    return before !== undefined &&
      now.every(({ others }, index) => before[index]?.others === others);
  }
}
