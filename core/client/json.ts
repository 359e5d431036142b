/** What servers say in JSON. */

/** How much of a server's own words a message repeats, in characters. */
const MAX_DETAIL = 200;

/** The JSON object in `text`, or `undefined` if it holds none. */
export function parseJson(text: string): object | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === "object" && parsed !== null ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** What a server says of its failure, in one line. */
export function detailOf(body: Uint8Array): string {
  const text = new TextDecoder().decode(body.subarray(0, 4 * MAX_DETAIL));
  const json = parseJson(text);
  const detail = json !== undefined && "detail" in json ? String(json.detail) : text;
  const line = detail.replaceAll(/[\s\p{Cc}]+/gu, " ").trim();
  return line === "" ? "it failed" : line.slice(0, MAX_DETAIL);
}
