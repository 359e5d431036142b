/** Faults that the protocol of layouts rules out, to be planted: the simulation has to find each of them. */
import { LayoutConflictError } from "../../core/errors.ts";
import { type Membership } from "../../core/server/membership.ts";
import { isObject, V1_KEYS } from "../../core/protocol.ts";
import { type Store } from "../../core/store.ts";
import { type Scheduler } from "./scheduler.ts";
import { type Planted } from "./simulated_run.ts";

/** Writes are looked at when they come in, and not when they are put in line. */
const EARLY_LOOK: Planted = {
  wrap: (store, _membership, scheduler) => earlyLook(store, scheduler),
};

function earlyLook(store: Store, scheduler: Scheduler): Store {
  return {
    get size() {
      return store.size;
    },
    get writes() {
      return store.writes;
    },
    get: (key) => store.get(key),
    async set(key, value, condition, admit) {
      for (let wait = admit?.(); wait !== undefined; wait = admit?.()) await wait;
      await scheduler.pause("looked too early");
      return await store.set(key, value, condition);
    },
    async delete(key, condition, admit) {
      for (let wait = admit?.(); wait !== undefined; wait = admit?.()) await wait;
      await scheduler.pause("looked too early");
      return await store.delete(key, condition);
    },
    settled: () => store.settled(),
    list: (options) => store.list(options),
    close: () => store.close(),
  };
}

/** The numbers of fences begin anew after a crash. */
const FORGOTTEN_FENCES: Planted = {
  crashed({ files }) {
    for (const [path, bytes] of files) {
      if (!path.endsWith("/cluster")) continue;
      const state: unknown = JSON.parse(new TextDecoder().decode(bytes));
      if (!isObject(state)) continue;
      files.set(path, new TextEncoder().encode(JSON.stringify({ ...state, fence: 0 })));
    }
  },
};

/** A take that comes a second time is carried out again. */
const REPEATED_TAKES: Planted = {
  wrap(store, membership) {
    const note: Membership["note"] = membership.note.bind(membership);
    membership.note = async (source, take) => {
      try {
        await note(source, take);
      } catch (error) {
        if (!(error instanceof LayoutConflictError) || error.reason !== "repeated") throw error;
      }
    };
    return store;
  },
};

/** The new server's page is the one of the listing before: older than those of the servers that it gets keys from. */
const TARGETS_FIRST: Planted = {
  fetch(real) {
    let last: { readonly epoch: unknown; readonly page: Response } | undefined;
    return async (input, init) => {
      const { host, pathname } = new URL(String(input));
      const answer = await real(input, init);
      if (host !== "s2" || pathname !== V1_KEYS || answer.status !== 200) return answer;
      const json: unknown = await answer.clone().json();
      const epoch = isObject(json) ? json.epoch : undefined;
      if (last?.epoch !== epoch) last = { epoch, page: answer };
      return last?.page.clone() ?? answer;
    };
  },
};

/** All of them by name. */
export const PLANTED_FAULTS: Readonly<Record<string, Planted>> = {
  "a look at a write when it comes in": EARLY_LOOK,
  "numbers of fences that begin anew": FORGOTTEN_FENCES,
  "takes that are carried out twice": REPEATED_TAKES,
  "a target that is listed first": TARGETS_FIRST,
};
