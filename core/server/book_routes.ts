/**
 * The book routes: the compatible protocol, GET only, which clients in other languages rely on.
 * Status codes and bodies are a contract, byte for byte.
 */
import { STATUS_CODE } from "@std/http/status";
import { ValueTooLargeError } from "../errors.ts";
import { TEXT_HEADERS, textAnswer } from "../http/answers.ts";
import { type HttpResponse } from "../http/types.ts";
import { decodeSegment, keyFromSegment, toSegment } from "../key.ts";
import { KEY_NOT_FOUND, KEY_SEPARATOR } from "../protocol.ts";
import { type LargeValue } from "../store.ts";
import { Value } from "../value.ts";
import { streamPages } from "./listing.ts";
import { type OwnedStore } from "./owned_store.ts";

/** The beginnings of the paths that have parameters. Both have the same length. */
const PREFIX_LENGTH = "/load/".length;

const NOT_FOUND = textAnswer(STATUS_CODE.OK, KEY_NOT_FOUND);

/**
 * `/load/KEY`: the value, or the sentinel with status 200. Without a promise if memory has the answer.
 *
 * @throws {InvalidKeyError} If the segment of the key is none.
 */
export function load(store: OwnedStore, path: string): HttpResponse | Promise<HttpResponse> {
  const value = store.get(keyFromSegment(path.slice(PREFIX_LENGTH)));
  return value instanceof Promise ? value.then(answerValue) : answerValue(value);
}

function answerValue(value: Value | LargeValue | undefined): HttpResponse {
  if (value === undefined) return NOT_FOUND;
  const body = value instanceof Value ? value.body : value.open();
  return { status: STATUS_CODE.OK, headers: TEXT_HEADERS, body };
}

/**
 * `/save/KEY/WORD`: saves the word and answers with the word as stored.
 *
 * @throws {InvalidKeyError} If the segment of the key is none.
 * @throws {ValueTooLargeError} If the word has over `maxBytes` bytes.
 */
export function save(store: OwnedStore, path: string, maxBytes: number): Promise<HttpResponse> {
  const slash = path.indexOf("/", PREFIX_LENGTH);
  const word = new Value(decodeSegment(path.slice(slash + 1)));
  if (word.size > maxBytes) throw new ValueTooLargeError(word.size, maxBytes);
  const key = keyFromSegment(path.slice(PREFIX_LENGTH, slash));
  return store.set(key, word).then(() => answerValue(word));
}

/** `/allKeys`: all keys in order, each one escaped so that the list splits at commas. */
export function allKeys(store: OwnedStore): HttpResponse {
  let separator = "";
  const body = streamPages(store, {}, (keys) => {
    const text = separator + keys.map(toSegment).join(KEY_SEPARATOR);
    separator = KEY_SEPARATOR;
    return text;
  });
  return { status: STATUS_CODE.OK, headers: TEXT_HEADERS, body };
}
