/**
 * The book routes: the compatible protocol, GET only, which clients in other languages rely on.
 * Status codes and bodies are a contract, byte for byte.
 */
import { STATUS_CODE } from "@std/http/status";
import { ValueTooLargeError } from "../errors.ts";
import { type HttpResponse } from "../http/types.ts";
import { decodeSegment, keyFromSegment, toSegment } from "../key.ts";
import { streamPages } from "./answers.ts";
import { KEY_NOT_FOUND, KEY_SEPARATOR } from "../protocol.ts";
import { TEXT_HEADERS, textAnswer } from "../http/answers.ts";
import { type LargeValue, type Store } from "../store.ts";
import { Value } from "../value.ts";

/** `/load/KEY`: the value, or the sentinel with status 200. Cost: no promise where memory answers. */
export function load(store: Store, keySegment: string): HttpResponse | Promise<HttpResponse> {
  const value = store.get(keyFromSegment(keySegment));
  return value instanceof Promise ? value.then(answerValue) : answerValue(value);
}

const NOT_FOUND = textAnswer(STATUS_CODE.OK, KEY_NOT_FOUND);

function answerValue(value: Value | LargeValue | undefined): HttpResponse {
  if (value === undefined) return NOT_FOUND;
  const body = value instanceof Value ? value.body : value.open();
  return { status: STATUS_CODE.OK, headers: TEXT_HEADERS, body };
}

/**
 * `/save/KEY/WORD`: saves the word and answers with it as stored.
 *
 * @throws {ValueTooLargeError} If the word has over `maxBytes` bytes.
 */
export function save(
  store: Store,
  keySegment: string,
  wordSegment: string,
  maxBytes: number,
): Promise<HttpResponse> {
  const word = new Value(decodeSegment(wordSegment));
  if (word.size > maxBytes) throw new ValueTooLargeError(word.size, maxBytes);
  return store.set(keyFromSegment(keySegment), word).then(() => answerValue(word));
}

/** `/allKeys`: all keys in order, each one escaped so that the list splits at commas. */
export function allKeys(store: Store): HttpResponse {
  let separator = "";
  const body = streamPages(store, {}, (keys) => {
    const text = separator + keys.map(toSegment).join(KEY_SEPARATOR);
    separator = KEY_SEPARATOR;
    return text;
  });
  return { status: STATUS_CODE.OK, headers: TEXT_HEADERS, body };
}
