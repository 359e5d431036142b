/** Whether the disks of the targets of a move have room for the keys that come. */
import { RebalanceError } from "../errors.ts";
import { membersOf, type MovingLayout } from "../layout/layout.ts";
import { type Demand, Disk, Need } from "../rebalance/disk_room.ts";
import { type ServerStats } from "../rebalance/endpoint.ts";
import { type Member } from "./member.ts";
import { type Flow, sharesOf, surveySource } from "./survey.ts";

/** What goes from one server to another. */
export type Flows = readonly Flow[];

/** The look at the room of one move. */
export class Room {
  readonly #layout: MovingLayout;
  readonly #members: readonly Member[];
  #stats: readonly (ServerStats | undefined)[] = [];

  /** @param members The servers of both lists, in the order of `membersOf`. */
  constructor(layout: MovingLayout, members: readonly Member[]) {
    this.#layout = layout;
    this.#members = members;
  }

  /**
   * Looks at the disks, and at the sizes of the values only if all that the sources have on their disks may not fit.
   *
   * @throws {RebalanceError} If a target has no room.
   */
  async check(signal: AbortSignal): Promise<void> {
    this.#stats = await Promise.all(this.#members.map((member) => member.stats()));
    const disks = Disk.group(this.#demands()).filter((disk) => !disk.isCertain(this.#stats));
    if (disks.length === 0) return;
    const { needs } = await this.#measure(signal);
    if (signal.aborted) return;
    for (const disk of disks) disk.check((target) => needs.get(target));
  }

  /** Measures all that moves, and resolves to it and to what is wrong with the room, if anything is. */
  async plan(signal: AbortSignal): Promise<{ flows: Flows; lacks: readonly string[] }> {
    this.#stats = await Promise.all(this.#members.map((member) => member.stats()));
    const { flows, needs } = await this.#measure(signal);
    const lacks: string[] = [];
    for (const disk of Disk.group(this.#demands())) {
      try {
        disk.check((target) => needs.get(target));
      } catch (error) {
        if (!(error instanceof RebalanceError)) throw error;
        lacks.push(error.message);
      }
    }
    return { flows, lacks };
  }

  /** What each target will get, about. */
  #demands(): Demand[] {
    const coming = new Map<string, { owner: number; newKeys: number }[]>();
    for (const [owner, member] of this.#members.entries()) {
      for (const [target, share] of sharesOf(this.#layout, member.name)) {
        const newKeys = Math.ceil(member.seen.keys * share);
        coming.set(target, [...coming.get(target) ?? [], { owner, newKeys }]);
      }
    }
    const demands: Demand[] = [];
    for (const [name, pairs] of coming) {
      const target = membersOf(this.#layout).indexOf(name);
      const room = this.#stats[target];
      if (room !== undefined) demands.push({ target, name, room, pairs });
    }
    return demands;
  }

  async #measure(signal: AbortSignal): Promise<{ flows: Flows; needs: Map<number, Need> }> {
    const names = membersOf(this.#layout);
    const flows = new Map<string, Flow>();
    const needs = new Map<number, Need>();
    const onKey = (from: string, to: string, size: number) => {
      const name = `${from} ${to}`;
      const flow = flows.get(name) ?? { from, to, keys: 0, bytes: 0 };
      flow.keys++;
      flow.bytes += size;
      flows.set(name, flow);
      const target = names.indexOf(to);
      const room = this.#stats[target];
      if (room === undefined) return;
      const need = needs.get(target) ?? new Need(room);
      need.add(size);
      needs.set(target, need);
    };
    const sources = this.#members.filter(({ name }) => this.#layout.servers.includes(name));
    await Promise.all(
      sources.map((source) => surveySource(source, this.#layout, { signal, onKey })),
    );
    return { flows: [...flows.values()], needs };
  }
}
