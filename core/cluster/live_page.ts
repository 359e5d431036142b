/** The live page of a cluster on one machine: wires cluster, client, buttons and page together. */
import { type Cluster, podName } from "./cluster.ts";
import { type ClientList, PageClient } from "./page_client.ts";
import { ClusterActions } from "./page_actions.ts";
import { lettersByServer, LivePage, type LivePageOptions } from "../page/page.ts";
import { type PageView } from "../page/model.ts";
import { type PlacementName, PLACEMENTS } from "../placement.ts";
import { LETTERS, type Row } from "../client/probe.ts";
import { type RemoteOptions } from "../client/remote.ts";
import { type ServerAddress } from "../client/server_list.ts";

/** What a {@link ClusterPage} is made with. */
export interface ClusterPageOptions {
  readonly cluster: Cluster;
  readonly placement: PlacementName;
  /** How many servers there are to be at the start; keys are placed for as many. */
  readonly replicas: number;
  /** The most servers there can be. */
  readonly most: number;
  readonly intervalMs: number;
  /** How servers are asked. */
  readonly remote: RemoteOptions;
  readonly page: Pick<LivePageOptions, "version" | "assets" | "hostname" | "onError">;
  /** Told of each row that the page shows, with the owners of its letters. */
  readonly onRow: (row: Row, ownerOf: (letter: string) => number) => void;
  /** An abort ends the client and a move that is under way. */
  readonly signal: AbortSignal;
}

/** A page with buttons, and the client whose rows it shows. */
export class ClusterPage {
  readonly #options: ClusterPageOptions;
  readonly #client: PageClient;
  readonly #actions: ClusterActions;
  readonly #page: LivePage;
  /** The list of the row that was shown last. */
  #shown: ClientList;

  /** Serves on `listener`, which {@link close} closes. */
  constructor(listener: Deno.TcpListener, options: ClusterPageOptions) {
    const { cluster, placement, replicas, most, intervalMs, remote, signal } = options;
    this.#options = options;
    this.#shown = { count: replicas, readonly: false };
    this.#client = new PageClient(this.#shown, {
      placement: PLACEMENTS[placement],
      intervalMs,
      probe: remote,
      servers: (count) => cluster.servers(count),
      onRow: (row, list) => this.#onRow(row, list),
    });
    this.#actions = new ClusterActions(this.#client, {
      cluster,
      placement,
      placed: replicas,
      most,
      signal,
      onNote: (text, tone) => this.#page.note(text, tone),
      onChange: () => this.#show(),
    });
    this.#page = new LivePage(listener, {
      ...options.page,
      remote,
      view: this.#view(),
      servers: this.#servers(),
      actions: this.#actions,
    });
  }

  /** Probes and shows the rows until the signal. */
  async run(): Promise<void> {
    await this.#client.run(this.#options.signal);
  }

  /** Tells the viewers what went wrong. */
  note(text: string): void {
    this.#page.note(text, "bad");
  }

  close(): void {
    this.#page.close();
  }

  #onRow(row: Row, list: ClientList): void {
    this.#shown = list;
    this.#show();
    this.#page.addRow(row);
    this.#options.onRow(row, this.#ownerOf);
  }

  readonly #ownerOf = (letter: string) =>
    PLACEMENTS[this.#options.placement](letter, this.#shown.count);

  #show(): void {
    this.#page.show(this.#view(), this.#servers());
  }

  /** The servers on the client's list, and those that run besides. */
  #servers(): readonly ServerAddress[] {
    const { cluster } = this.#options;
    const running = cluster.pods().length;
    return cluster.servers(Math.max(this.#shown.count, cluster.replicas, running));
  }

  #view(): PageView {
    const { cluster, placement, intervalMs } = this.#options;
    const servers = this.#servers();
    const letters = lettersByServer(this.#ownerOf, this.#shown.count);
    const pods = new Map(cluster.pods().map(({ name, state }) => [name, state]));
    return {
      role: "cluster",
      placement,
      readonly: this.#shown.readonly,
      intervalMs,
      servers: servers.map(({ name: address }, ordinal) => {
        const name = podName(ordinal);
        return { name, address, letters: letters[ordinal] ?? "", pod: pods.get(name) ?? "No Pod" };
      }),
      owners: LETTERS.map(this.#ownerOf),
      controls: this.#actions.controls,
    };
  }
}
