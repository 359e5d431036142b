/**
 * The live page: takes the rows of a client, and shows them in browsers, together with their
 * meaning.
 */
import { serveHttp } from "../http/server.ts";
import { type PageAssets } from "./assets.ts";
import { createPageHandler, type PageActions } from "./handler.ts";
import { PageHistory } from "./history.ts";
import { type KeyCounts, type PageSnapshot, type PageView, type Tone } from "./model.ts";
import { Poll } from "./poll.ts";
import { type Observation, stateOf, Storyteller } from "./storyteller.ts";
import { ViewerDroppedError, Viewers } from "./viewers.ts";
import { LETTERS, type Row } from "../client/probe.ts";
import { type RemoteOptions } from "../client/remote.ts";
import { type ServerAddress } from "../client/server_list.ts";

/** The options of a {@link LivePage}. */
export interface LivePageOptions {
  readonly version: string;
  /** The options of the requests for the number of keys. */
  readonly remote: RemoteOptions;
  readonly assets: PageAssets;
  /** The host name on which the user told the page to listen. */
  readonly hostname: string;
  readonly view: PageView;
  /** The servers of the view, in its order. */
  readonly servers: readonly ServerAddress[];
  /** The changes that viewers can ask for; without it there are none. */
  readonly actions?: PageActions;
  /** Called with the errors of this side. */
  readonly onError: (error: unknown) => void;
}

/**
 * Limits of the page's server. A viewer that reads nothing for the body time-out is disconnected.
 */
const HTTP_LIMITS = {
  headerTimeoutMs: 10_000,
  bodyTimeoutMs: 20_000,
  idleTimeoutMs: 30_000,
  maxConnections: 256,
  maxHeaderBytes: 16 * 1024,
  maxTargetBytes: 2048,
};

/** A page that is served until {@link close}. */
export class LivePage {
  readonly #options: LivePageOptions;
  readonly #history = new PageHistory();
  readonly #story = new Storyteller();
  readonly #viewers = new Viewers();
  readonly #poll: Poll;
  readonly #server: { close(): void };
  #view: PageView;
  #servers: readonly ServerAddress[];
  #shownView = "";
  #shownKeys = "";

  /** Serves the page on `listener`, which {@link close} closes. */
  constructor(listener: Deno.TcpListener, options: LivePageOptions) {
    this.#options = options;
    this.#view = options.view;
    this.#servers = options.servers;
    this.#poll = new Poll(options.remote);
    const handler = createPageHandler({
      assets: options.assets,
      viewers: this.#viewers,
      snapshot: () => this.#snapshot(),
      actions: options.actions,
      hostname: options.hostname,
    });
    this.#server = serveHttp(listener, handler, {
      ...HTTP_LIMITS,
      onError(error) {
        // Dropping a viewer cuts off its stream on purpose.
        const cause = error instanceof Error ? error.cause : undefined;
        if (!(cause instanceof ViewerDroppedError)) options.onError(error);
      },
    });
    this.show(options.view, options.servers);
  }

  /** Shows another view; `servers` are the servers of the view, in its order. */
  show(view: PageView, servers: readonly ServerAddress[]): void {
    this.#view = view;
    this.#servers = servers;
    const shown = JSON.stringify(view);
    if (shown === this.#shownView) return;
    this.#shownView = shown;
    this.#viewers.send("view", view);
  }

  /** Adds a round that was probed with the owners of the view, and the events that it means. */
  addRow({ time, statuses }: Row): void {
    const t = time.getTime();
    const observations = this.#observe(statuses);
    const v = observations.map((seen) =>
      seen.letters === "" ? seen.polled : stateOf(seen.statuses)
    );
    const row = { t, s: statuses, v: v.join("") };
    this.#history.addRow(row);
    this.#viewers.send("row", row);
    for (const { text, tone } of this.#story.tell(observations)) this.#addEvent(t, text, tone);
    void this.#count();
  }

  /** Adds an event that the caller put into words. */
  note(text: string, tone: Tone): void {
    this.#addEvent(Date.now(), text, tone);
  }

  /** Ends the server and all streams to viewers. */
  close(): void {
    this.#viewers.close();
    this.#server.close();
  }

  #observe(statuses: string): Observation[] {
    const { owners, servers } = this.#view;
    const readings = this.#poll.readings(this.#servers);
    const observations = servers.map(({ name, letters }, index) => ({
      name,
      letters,
      statuses: "",
      polled: readings[index]?.state ?? "?",
    }));
    for (const index of LETTERS.keys()) {
      const observation = observations[owners[index] ?? -1];
      if (observation !== undefined) observation.statuses += statuses.charAt(index);
    }
    return observations;
  }

  async #count(): Promise<void> {
    if (!await this.#poll.ask(this.#servers)) return;
    const keys = this.#keys();
    const shown = JSON.stringify(keys);
    if (shown === this.#shownKeys) return;
    this.#shownKeys = shown;
    this.#viewers.send("keys", keys);
  }

  #keys(): KeyCounts {
    return this.#poll.readings(this.#servers).map(({ keys }) => keys);
  }

  #addEvent(t: number, text: string, tone: Tone): void {
    this.#viewers.send("event", this.#history.addEvent({ t, text, tone }));
  }

  #snapshot(): PageSnapshot {
    return {
      version: this.#options.version,
      now: Date.now(),
      view: this.#view,
      rows: this.#history.rows,
      events: this.#history.events,
      keys: this.#keys(),
    };
  }
}

/** The letters of each of `count` servers. */
export function lettersByServer(ownerOf: (letter: string) => number, count: number): string[] {
  const letters = Array.from({ length: count }, () => "");
  for (const letter of LETTERS) {
    const owner = ownerOf(letter);
    if (letters[owner] !== undefined) letters[owner] += letter;
  }
  return letters;
}
