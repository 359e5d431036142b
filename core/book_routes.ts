/**
 * The book routes: the compatible protocol, GET only, which clients in other languages rely on.
 * Status codes and bodies are a contract, byte for byte.
 */
import { decodeSegment, keyFromSegment, toSegment } from "./key.ts";
import { KEY_NOT_FOUND, KEY_SEPARATOR } from "./protocol.ts";
import { TEXT_INIT } from "./respond.ts";
import { type LargeValue, type Store, Value } from "./store.ts";

/** `/load/KEY`: the value, or the sentinel with status 200. Cost: no promise where memory answers. */
export function load(store: Store, keySegment: string): Response | Promise<Response> {
  const value = store.get(keyFromSegment(keySegment));
  return value instanceof Promise ? value.then(answerValue) : answerValue(value);
}

function answerValue(value: Value | LargeValue | undefined): Response {
  if (value === undefined) return new Response(KEY_NOT_FOUND, TEXT_INIT);
  // A string body is the cheapest the runtime can send.
  if (value instanceof Value) return new Response(value.text ?? value.bytes, TEXT_INIT);
  return new Response(value.open(), TEXT_INIT);
}

/** `/save/KEY/WORD`: saves the word and answers with it as stored. */
export async function save(
  store: Store,
  keySegment: string,
  wordSegment: string,
): Promise<Response> {
  const word = decodeSegment(wordSegment);
  await store.set(keyFromSegment(keySegment), Value.fromText(word));
  return new Response(word, TEXT_INIT);
}

/** `/allKeys`: all keys in order, each one escaped so that the list splits at commas. */
export function allKeys(store: Store): Response {
  return new Response(store.list().map(toSegment).join(KEY_SEPARATOR), TEXT_INIT);
}
