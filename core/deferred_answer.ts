/** An answer that is made of what a promise resolves to. */
import { type HttpResponse } from "./http_types.ts";

/**
 * In place of a promise of the answer, which would be one promise more on the way of each save, with
 * all that hangs on it.
 */
export class DeferredAnswer<T> {
  readonly #promise: Promise<T>;
  readonly #toAnswer: (value: T) => HttpResponse;

  /** @param toAnswer Makes the answer of what `promise` resolves to. */
  constructor(promise: Promise<T>, toAnswer: (value: T) => HttpResponse) {
    this.#promise = promise;
    this.#toAnswer = toAnswer;
  }

  /** The answer as it passed through `finish`; where there is none, what `failed` makes of the reason. */
  settle(
    finish: (answer: HttpResponse) => HttpResponse,
    failed: (error: unknown) => HttpResponse,
  ): Promise<HttpResponse> {
    return this.#promise.then((value) => {
      let answer: HttpResponse;
      try {
        answer = this.#toAnswer(value);
      } catch (error) {
        return failed(error);
      }
      return finish(answer);
    }, failed);
  }
}
