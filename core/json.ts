/** What parsed JSON from outside is, checked without a copy: these run once for each line of a batch. */

/** Whether `value` is an object (or an array), whose fields can be asked for by name. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/** Whether `value` is a text or was left out. */
export function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === "string";
}
