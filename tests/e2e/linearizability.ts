/**
 * Whether a recorded history of one key is linearizable: whether there is an order of its operations,
 * true to real time, in which each had the outcome that was seen (Herlihy and Wing, 1990). The search
 * is Wing and Gong's (1993) with Lowe's memory of states that were tried (2017), as in Porcupine. Keys
 * do not touch each other, so each has a history of its own.
 */

/** A key: its value, or `undefined` where it is absent. */
export type State = string | undefined;

/** What was asked of a key and what came out; no outcome where no answer came. */
export type Action =
  | { readonly kind: "get"; readonly outcome: { readonly value: State } }
  | {
    readonly kind: "put";
    readonly value: string;
    /** The condition: the value that the key must have (`undefined`: it must be absent). */
    readonly when?: { readonly value: State } | undefined;
    /** `saved` is either of created and replaced. */
    readonly outcome?: "created" | "replaced" | "saved" | "failed" | undefined;
  }
  | {
    readonly kind: "delete";
    readonly when?: { readonly value: string } | undefined;
    readonly outcome?: "deleted" | "absent" | "failed" | undefined;
  };

/** An operation: called at `call`, over by `end`. One without an answer is over when nobody works on it. */
export type Operation = Action & { readonly call: number; readonly end: number };

/** The states in which `action` can leave a key that was in `state`; none where it cannot come out so. */
export function apply(action: Action, state: State): readonly State[] {
  if (action.kind === "get") return action.outcome.value === state ? [state] : [];
  const holds = action.when === undefined || action.when.value === state;
  const after = action.kind === "put" ? action.value : undefined;
  switch (action.outcome) {
    case undefined:
      return holds && after !== state ? [state, after] : [state];
    case "failed":
      return holds ? [] : [state];
    case "absent":
      return state === undefined ? [state] : [];
    case "created":
      return holds && state === undefined ? [after] : [];
    case "replaced":
    case "deleted":
      return holds && state !== undefined ? [after] : [];
    case "saved":
      return holds ? [after] : [];
  }
}

/** Whether the operations on a key that is absent at first are linearizable. */
export function isLinearizable(history: readonly Operation[]): boolean {
  const operations = history.toSorted((a, b) => a.call - b.call);
  const all = (1n << BigInt(operations.length)) - 1n;
  const tried = new Set<string>();

  function search(done: bigint, state: State): boolean {
    if (done === all) return true;
    const point = `${done.toString(36)} ${state}`;
    if (tried.has(point)) return false;
    tried.add(point);
    // Next can come what was called before the first of the others was over.
    let firstEnd = Infinity;
    for (const [index, { call, end }] of operations.entries()) {
      if (call > firstEnd) break;
      if ((done >> BigInt(index) & 1n) === 0n) firstEnd = Math.min(firstEnd, end);
    }
    for (const [index, operation] of operations.entries()) {
      if (operation.call > firstEnd) break;
      const bit = 1n << BigInt(index);
      if ((done & bit) !== 0n) continue;
      for (const next of apply(operation, state)) {
        if (search(done | bit, next)) return true;
      }
    }
    return false;
  }

  return search(0n, undefined);
}

/** A history as one reads it in a failure, in the order of the calls. */
export function format(history: readonly Operation[]): string {
  return history.toSorted((a, b) => a.call - b.call).map((operation) => {
    const { call, end, kind, outcome } = operation;
    const text = [`${call.toFixed(3)} to ${end.toFixed(3)}: ${kind}`];
    if (operation.kind === "put") text.push(operation.value);
    if (operation.kind !== "get" && operation.when !== undefined) {
      text.push(`when ${operation.when.value ?? "absent"}`);
    }
    const seen = typeof outcome === "object" ? outcome.value ?? "absent" : outcome;
    return [...text, `-> ${seen ?? "no answer"}`].join(" ");
  }).join("\n");
}
