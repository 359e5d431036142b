/**
 * The place of this server in its cluster. It decides who may answer for a key at the moment that counts, and takes
 * layouts. docs/scaling.md tells the rules.
 */
import {
  BodyTimeoutError,
  LayoutConflictError,
  MisdirectedKeyError,
  OutOfClusterError,
  ShuttingDownError,
  type StorageFailedError,
  WriteRefusedError,
} from "../errors.ts";
import { type ClientWatch } from "../http/types.ts";
import { type Claim } from "../layout/claim.ts";
import {
  isHandedOver,
  type Layout,
  type Mark,
  NO_MARK,
  ownerIn,
  sameMove,
  storeOf,
} from "../layout/layout.ts";
import { type FencedRange, isKnown, Place, type Standing, verdictOf } from "../layout/ownership.ts";
import { type Offer, succeed } from "../layout/succession.ts";
import { type Log } from "../log.ts";
import { type Admit, type Store } from "../store.ts";
import { type ClusterState, type ClusterStateFile } from "./cluster_state.ts";
import { deleteKeys } from "./delete_keys.ts";
import { Fence, type LeaseClock } from "./fence.ts";
import { type LayoutNumbers } from "./metrics_page.ts";

/** What a {@link Membership} works with. */
export interface MembershipOptions {
  readonly file: ClusterStateFile;
  readonly clock: LeaseClock;
  readonly log: Log;
  /** Called when it is not known what the disk holds: the process has to end. */
  readonly onFatal: (error: StorageFailedError) => void;
}

/** What a server tells of its layout to who asked the wrong one. */
export interface LayoutTold {
  readonly layout: Layout | null;
  readonly mark: string | null;
  readonly end: boolean;
}

/** The place of one server in its cluster. */
export class Membership implements Standing, LayoutNumbers {
  readonly isMember = false;
  place: Place | undefined;
  /** Whether a layout was refused, which began with another disk of this server. */
  #isBarred = false;
  /** Whether a hand-over is looking for its range. */
  isFencing = false;
  /** Writes that waited at a fence, and the longest wait so far (milliseconds). */
  fencedWrites = 0;
  longestWaitMs = 0;
  /** Keys that were handed over since the start. */
  handedOver = 0;
  fence: Fence | undefined;
  readonly options: MembershipOptions;
  #isClosed = false;
  /** The deletion of all keys that is under way. */
  #emptying: Promise<void> | undefined;

  constructor(options: MembershipOptions) {
    this.options = options;
    this.#see(options.file.state);
  }

  /** What is durable. */
  get state(): ClusterState {
    return this.options.file.state;
  }

  get mark(): Mark {
    return this.state.mark;
  }

  /** The number of the layout; `undefined` without one. */
  get epoch(): number | undefined {
    return this.state.layout?.epoch;
  }

  /** Whether keys move by the layout. */
  get isMoving(): boolean {
    return this.place?.isMoving === true;
  }

  /** Why the server answers for no key; `undefined` if it may. */
  get whyOut(): string | undefined {
    const { layout, self, stopped, store, emptying } = this.state;
    if (stopped) {
      return `left behind: the cluster went on without this server. kvs scale --replace ${self} empties it and lets it join`;
    }
    if (emptying) return "emptying: this server begins anew";
    if (this.#isBarred) return "its disk is not the one that the move under way began with";
    const named = layout === undefined || self === undefined ? undefined : storeOf(layout, self);
    return named === undefined || named === store
      ? undefined
      : "its disk is new: the layout names another one. kvs scale makes a layout that names this one";
  }

  isOut = false;

  /** Layout and mark, as answers tell them. */
  get told(): LayoutTold {
    const { layout = null, mark } = this.state;
    const isLost = this.place?.isLost === true;
    return { layout, mark: mark.key ?? null, end: mark.end || isLost };
  }

  /**
   * Makes sure that the server may answer a read of `key` now.
   *
   * @throws {MisdirectedKeyError} If another server answers for it.
   * @throws {OutOfClusterError} If this server answers for no key.
   */
  checkRead(key: string, claim: Claim | undefined): void {
    if (this.place === undefined && claim === undefined && !this.isOut) return;
    this.#refuse(verdictOf(this, key, false, claim));
  }

  /** Makes sure that the client goes by no newer layout, for a listing. @throws as {@link checkRead}. */
  checkListing(claim: Claim | undefined): void {
    if (this.isOut) this.#refuse("unavailable");
    if (!isKnown(this.place, claim)) this.#refuse("misdirected");
  }

  /**
   * The look at a write of `key` when it is put in line.
   *
   * @param watch Begins to watch the client, if the write has to wait: nobody wants it any more if the client is gone.
   */
  admits(
    key: string,
    claim: Claim | undefined,
    watch: () => ClientWatch | undefined = () => undefined,
  ): Admit {
    let since: number | undefined;
    let client: ClientWatch | undefined;
    return () => {
      const verdict = verdictOf(this, key, true, claim);
      if (verdict !== "wait" || this.fence === undefined) {
        if (since !== undefined) this.#waited(since);
        if (client?.isGone) throw new BodyTimeoutError("The client has gone: nothing was changed");
        return this.#refuse(verdict);
      }
      if (this.#isClosed) throw new ShuttingDownError("Shutting down: nothing was changed");
      if (since === undefined) {
        since = this.options.clock.now();
        this.fencedWrites++;
        client = watch();
      }
      return this.fence.change;
    };
  }

  /**
   * Takes a layout; durable once resolved.
   *
   * @throws {LayoutConflictError} If it does not follow the layout that the server has.
   */
  async take(offer: Offer, store: Store): Promise<void> {
    const { layout, self } = offer;
    const { state: before } = this;
    let refusal: string | undefined;
    await this.#change(async (state) => {
      const outcome = succeed({ ...state, hasKeys: store.size > 0 }, offer);
      if (outcome.result === "same") return state;
      if (outcome.result === "refused") {
        refusal = outcome.detail;
        this.#isBarred ||= outcome.bars;
        return outcome.stops ? { ...state, stopped: true } : state;
      }
      const kept = outcome.continues ? state : { mark: NO_MARK, takes: {}, layout: undefined };
      await this.#dropLost(kept, layout, self, store);
      const { mark, takes } = kept;
      const { emptying } = state;
      const next = { ...state, layout, self, mark, takes, stopped: false };
      return { ...next, emptying: emptying || outcome.empties };
    });
    if (refusal !== undefined) throw new LayoutConflictError(`Layout refused: ${refusal}`);
    if (this.state.emptying) await this.empty(store);
    if (this.state.layout !== before.layout) {
      this.options.log("info", "layout", { epoch: layout.epoch, servers: layout.servers.length });
    }
  }

  /** Deletes all keys of a server that begins anew. Whoever asks meanwhile waits for the same deletion. */
  async empty(store: Store): Promise<void> {
    this.#emptying ??= this.#deleteAll(store).finally(() => this.#emptying = undefined);
    await this.#emptying;
  }

  async #deleteAll(store: Store): Promise<void> {
    await deleteKeys(store, {}, () => true);
    await this.#change((state) => ({ ...state, emptying: false }));
  }

  /** Copies from before of keys of a source whose disk was lost: what this move has not carried goes. */
  async #dropLost(
    state: Pick<ClusterState, "layout" | "takes">,
    layout: Layout,
    self: string,
    store: Store,
  ): Promise<void> {
    const place = new Place(layout, self);
    for (const source of layout.lost ?? []) {
      if (source === self || state.layout?.lost?.includes(source)) continue;
      const upto = Object.hasOwn(state.takes, source) ? state.takes[source]?.upto : undefined;
      if (upto === null) continue;
      const after = upto === undefined ? {} : { after: upto };
      await deleteKeys(
        store,
        after,
        (key) => place.isTargetOf(key) && ownerIn(layout, key) === source,
      );
    }
  }

  /**
   * Makes a fence with the next number; durable once resolved.
   *
   * @throws {LayoutConflictError} If another layout has come since `layout`.
   */
  async raise(layout: Layout, range: FencedRange): Promise<Fence> {
    let fence: Fence | undefined;
    await this.#change((state) => {
      if (this.moving().layout !== layout) {
        throw new LayoutConflictError("Another layout has come");
      }
      const number = state.fence + 1;
      fence = new Fence(number, range);
      this.fence = fence;
      return { ...state, fence: number };
    }).catch((error) => {
      this.lift(fence);
      throw error;
    });
    if (fence === undefined || this.fence !== fence) {
      throw new LayoutConflictError("Another layout has come");
    }
    return fence;
  }

  /** Begins the lease of a fence. @throws {LayoutConflictError} If the fence does not stand any more. */
  lease(fence: Fence, ms: number): void {
    this.checkFence(fence.number);
    fence.lease(this.options.clock, ms, () => this.lift(fence));
  }

  /** The fence of this number. @throws {LayoutConflictError} If it does not stand. */
  checkFence(number: number): Fence {
    const { fence } = this;
    if (fence?.number === number && !fence.isEnding) return fence;
    throw new LayoutConflictError(`Fence ${number} does not stand`);
  }

  /** Ends a fence, if that one stands: the writes that wait look again. */
  lift(fence: Fence | undefined): void {
    if (fence === undefined || this.fence !== fence) return;
    this.fence = undefined;
    fence.end();
  }

  /**
   * Makes the range of a fence handed over, and ends the fence in the same step.
   *
   * @throws {LayoutConflictError} If that fence does not stand.
   */
  async handOver(number: number, epoch: number): Promise<Fence> {
    const fence = this.checkFence(number);
    // From here on only the outcome of the write ends the fence: the mark must not come after a write of the range.
    fence.isEnding = true;
    const mark = { key: fence.upto ?? this.mark.key, end: fence.upto === undefined };
    try {
      await this.#change((state) => {
        if (state.layout?.epoch !== epoch || this.fence !== fence) {
          throw new LayoutConflictError("Another layout has come");
        }
        return { ...state, mark };
      });
    } catch (error) {
      // If the mark may be on the disk, a write of the range could be lost at the next start.
      if (!isFatal(error)) this.lift(fence);
      throw error;
    }
    this.lift(fence);
    return fence;
  }

  /** Notes a take, unless a newer one of the source was noted; durable once resolved. */
  async note(
    source: string,
    { epoch, ...take }: { epoch: number; fence: number; attempt: number; upto: string | null },
  ): Promise<void> {
    await this.#change((state) => {
      if (state.layout?.epoch !== epoch) {
        throw new LayoutConflictError("Another layout has come", "behind");
      }
      const last = Object.hasOwn(state.takes, source) ? state.takes[source] : undefined;
      const order = last === undefined ? 1 : take.fence - last.fence || take.attempt - last.attempt;
      if (order <= 0) {
        throw new LayoutConflictError(
          `A take of ${source} with fence ${last?.fence}, attempt ${last?.attempt} was here before`,
          order === 0 ? "repeated" : "old",
        );
      }
      return { ...state, takes: { ...state.takes, [source]: take } };
    });
  }

  /** The place in the move that is under way. @throws {LayoutConflictError} If there is none, or the server is out. */
  moving(): Place {
    const { place } = this;
    if (place === undefined || !place.isMoving || this.isOut) {
      throw new LayoutConflictError(
        place === undefined ? "This server has no layout" : this.whyOut ?? "No move is under way",
      );
    }
    return place;
  }

  /** Goes on after a start: keys that were to be deleted when the server ended. */
  async resume(store: Store): Promise<void> {
    if (this.state.emptying) await this.empty(store);
    const { place, mark } = this;
    if (place === undefined || !place.isMoving || mark === NO_MARK) return;
    // If another layout has come, the keys may be new ones.
    const isSame = (key: string) => this.place === place && isHandedOver(mark, key);
    await deleteKeys(store, {}, (key) => isSame(key) && place.leaves(key), {
      upto: mark.end ? undefined : mark.key,
    });
  }

  /** From now on no write waits: the server ends. */
  close(): void {
    this.#isClosed = true;
    // A range that is handed over now is for the outcome of that to free: its mark may be on the disk already.
    if (this.fence?.isEnding !== true) this.lift(this.fence);
  }

  async #change(
    next: (state: ClusterState) => ClusterState | Promise<ClusterState>,
  ): Promise<void> {
    try {
      await this.options.file.change(next, (state) => this.#see(state));
    } catch (error) {
      if (isFatal(error)) this.options.onFatal(error);
      throw error;
    }
  }

  #see(state: ClusterState): void {
    const { layout, self } = state;
    if (layout !== this.place?.layout) {
      const continues = layout !== undefined && this.place !== undefined &&
        sameMove(layout, this.place.layout);
      if (!continues) this.#isBarred = false;
      this.place = layout === undefined || self === undefined ? undefined : new Place(layout, self);
      this.lift(this.fence);
    }
    this.isOut = this.whyOut !== undefined;
  }

  #waited(since: number): void {
    this.longestWaitMs = Math.max(this.longestWaitMs, this.options.clock.now() - since);
  }

  #refuse(verdict: ReturnType<typeof verdictOf>): undefined {
    if (verdict === "misdirected") {
      throw new MisdirectedKeyError(
        "Misdirected: by the layout another server answers for this key",
      );
    }
    if (verdict === "unavailable") {
      throw new OutOfClusterError(`Not serving: ${this.whyOut ?? "this server has no layout"}`);
    }
    return undefined;
  }
}

function isFatal(error: unknown): error is StorageFailedError {
  return error instanceof Error && error.name === "StorageFailedError" &&
    !(error instanceof WriteRefusedError);
}
