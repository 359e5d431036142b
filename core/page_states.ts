/**
 * The state of a server in one character, from the statuses of its letters in one row:
 *
 *     h serves   w was written to   m lacks a letter   x has another value   . cannot be reached
 *     ~ answered for some letters only   0-9 first digit of an HTTP error   u serves, owns no letter
 *     ? not known yet
 */

/** The state that the statuses of a server's letters come to, the worst first. */
export function stateOf(statuses: string): string {
  if (statuses === "") return "?";
  const digit = /\d/.exec(statuses);
  if (digit !== null) return digit[0];
  if (statuses.includes(".")) return /[^.]/.test(statuses) ? "~" : ".";
  for (const state of ["x", "m", "w"]) if (statuses.includes(state)) return state;
  return "h";
}

/** Whether a letter with this status was answered with data, or with its absence. */
export function isAnswered(status: string): boolean {
  return status === "h" || status === "w" || status === "m" || status === "x";
}
