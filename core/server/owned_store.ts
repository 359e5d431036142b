/** The store as one request may use it: each key only if this server answers for it, at the moment that counts. */
import { LayoutConflictError } from "../errors.ts";
import { type ClientWatch } from "../http/types.ts";
import { type Claim } from "../layout/claim.ts";
import { isListed, type Place } from "../layout/ownership.ts";
import {
  type Admit,
  type Condition,
  type IncomingValue,
  type LargeValue,
  type ListOptions,
  type SetResult,
  type Store,
} from "../store.ts";
import { Value } from "../value.ts";
import { type Membership } from "./membership.ts";

/** What a page says of the layout by which it was made. */
export interface PageLayout {
  readonly epoch: number;
  readonly mark: string | null;
  readonly end: boolean;
}

/** A view of the store for one request. Its methods throw what {@link Membership.checkRead} throws. */
export class OwnedStore {
  readonly #store: Store;
  readonly #membership: Membership;
  readonly #claim: Claim | undefined;
  readonly #watch: () => ClientWatch | undefined;
  /** The place by which the first page was made. */
  #listed: Place | undefined;
  #hasListed = false;

  /**
   * @param claim What the client says of its layout.
   * @param watch Begins to watch the client of the request, if that is possible.
   */
  constructor(
    store: Store,
    membership: Membership,
    claim: Claim | undefined,
    watch: () => ClientWatch | undefined,
  ) {
    this.#store = store;
    this.#membership = membership;
    this.#claim = claim;
    this.#watch = watch;
  }

  /** As {@link Store.get}. */
  get(key: string): Value | LargeValue | undefined | Promise<Value | LargeValue | undefined> {
    this.#membership.checkRead(key, this.#claim);
    const found = this.#store.get(key);
    return found instanceof Promise ? this.#lookAgain(key, found) : found;
  }

  /** As {@link Store.set}. */
  set(
    key: string,
    value: Value | IncomingValue,
    condition?: Condition,
  ): Promise<SetResult> {
    return this.#store.set(key, value, condition, this.#admit(key));
  }

  /** As {@link Store.delete}. */
  delete(key: string, condition?: Condition): Promise<boolean> {
    return this.#store.delete(key, condition, this.#admit(key));
  }

  /**
   * As {@link Store.list}, for the keys that the server would serve or is the target of.
   *
   * @throws {LayoutConflictError} If another layout has come since the first page of this request.
   */
  list(options: ListOptions = {}): string[] {
    this.#membership.checkListing(this.#claim);
    const { place } = this.#membership;
    if (this.#hasListed && place !== this.#listed) {
      throw new LayoutConflictError("Another layout has come: list again");
    }
    this.#listed = place;
    this.#hasListed = true;
    if (place === undefined) return this.#store.list(options);
    const { limit = Infinity } = options;
    const listed: string[] = [];
    let { after } = options;
    while (true) {
      const most = limit - listed.length;
      const keys = this.#store.list({
        ...options,
        ...(after === undefined ? {} : { after }),
        limit: most,
      });
      for (const key of keys) if (isListed(this.#membership, key)) listed.push(key);
      if (keys.length < most || listed.length >= limit) return listed;
      after = keys.at(-1);
    }
  }

  /** The layout by which keys are listed now; `undefined` if there is none. */
  get page(): PageLayout | undefined {
    const { layout, mark, end } = this.#membership.told;
    return layout === null ? undefined : { epoch: layout.epoch, mark, end };
  }

  #admit(key: string): Admit {
    return this.#membership.admits(key, this.#claim, this.#watch);
  }

  /** Looks a second time: the key may have been handed over, and its file deleted, while the disk was read. */
  async #lookAgain(
    key: string,
    reading: Promise<Value | LargeValue | undefined>,
  ): Promise<Value | LargeValue | undefined> {
    const value = await reading;
    try {
      this.#membership.checkRead(key, this.#claim);
    } catch (error) {
      if (value !== undefined && !(value instanceof Value)) value.discard();
      throw error;
    }
    return value;
  }
}
