/**
 * What each key must hold: the last operation on it that was acknowledged and, after a kill, the one
 * that was in flight or not. Writers own their keys, so the order on a key is known.
 */
import { bytesOf, describe, identify, sameBytes, type Version, WHOLE_LINE } from "./values.ts";

/** What a load brought; `undefined` where there is no such key. */
export interface Loaded {
  readonly bytes: Uint8Array;
  readonly contentType?: string | undefined;
  readonly etag?: string | undefined;
}

/** What is wrong with a key, in the order of how bad it is. */
export type Fault = "torn" | "lost" | "back after its delete" | "stale" | "wrong";

/** The server broke a promise. */
export class Violation extends Error {
  override readonly name = "Violation";
  readonly fault: Fault;

  constructor(fault: Fault, message: string) {
    super(message);
    this.fault = fault;
  }
}

/** One key and what is known of it. */
export class KeyModel {
  readonly key: string;
  readonly fileName: string;
  /** Whether values too short to say what they are may be saved; elsewhere an empty file is torn. */
  readonly mayBeShort: boolean;
  /** The state after the last acknowledged operation. */
  current: Version | undefined = undefined;
  /** ETag of `current`, where the server has told it. */
  etag: string | undefined = undefined;
  /** An operation without an answer: it took effect, or it did not. */
  pending: { readonly to: Version | undefined } | undefined = undefined;
  #sequence = 0;
  readonly #shorts = new Set<string>();

  constructor(key: string, fileName: string, mayBeShort: boolean) {
    this.key = key;
    this.fileName = fileName;
    this.mayBeShort = mayBeShort;
  }

  /** Makes the next value of this key; from now on it is one that may turn up. */
  issue(size: number, form: Version["form"], contentType: string | undefined): Version {
    const version = { sequence: ++this.#sequence, size, form, contentType };
    if (size < WHOLE_LINE) this.#shorts.add(bytesOf(this.key, version).join());
    return version;
  }

  /** The pending operation was acknowledged. */
  acknowledge(etag: string | undefined): void {
    if (this.pending === undefined) throw new Error("Nothing is pending");
    this.current = this.pending.to;
    this.etag = etag;
    this.pending = undefined;
  }

  /** The server said that the pending operation was not done. */
  refuse(): void {
    this.pending = undefined;
  }

  /**
   * Takes what a load brought, which also settles the pending operation; returns whether there was
   * one that took effect.
   *
   * @throws {Violation} If it is neither what was acknowledged nor what was in flight.
   */
  settle(loaded: Loaded | undefined): boolean {
    const before = this.#matches(this.current, loaded) &&
      (this.etag === undefined || this.etag === loaded?.etag || loaded?.etag === undefined);
    const applied = !before && this.pending !== undefined &&
      this.#matches(this.pending.to, loaded);
    if (!before && !applied) throw this.#violation(loaded);
    if (applied && this.pending !== undefined) {
      this.current = this.pending.to;
      this.etag = undefined;
    }
    this.etag ??= loaded?.etag;
    this.pending = undefined;
    return applied;
  }

  /**
   * Checks the bytes of the key's plain file: it may be behind, but is a whole value that was saved
   * at some time. With `exact` it must be as far as a load.
   *
   * @throws {Violation} If it is anything else.
   */
  checkFile(bytes: Uint8Array | undefined, exact: boolean): void {
    if (exact) {
      const loaded = bytes && { bytes };
      const states = [this.current, ...(this.pending === undefined ? [] : [this.pending.to])];
      if (!states.some((state) => this.#matches(state, loaded))) throw this.#violation(loaded);
    } else if (bytes !== undefined && !this.#wasIssued(bytes)) {
      throw this.#violation({ bytes });
    }
  }

  #wasIssued(bytes: Uint8Array): boolean {
    if (bytes.length < WHOLE_LINE) return this.#shorts.has(bytes.join());
    const found = identify(this.key, bytes);
    return typeof found !== "string" && found.sequence <= this.#sequence;
  }

  #matches(version: Version | undefined, loaded: Loaded | undefined): boolean {
    if (version === undefined || loaded === undefined) return version === loaded;
    const { contentType } = version;
    return sameBytes(loaded.bytes, bytesOf(this.key, version)) &&
      (contentType === undefined || loaded.contentType === undefined ||
        contentType === loaded.contentType);
  }

  #violation(loaded: Loaded | undefined): Violation {
    const { pending } = this;
    const found = loaded && identify(this.key, loaded.bytes);
    let fault: Fault = "wrong";
    if (found === undefined) fault = "lost";
    else if (loaded !== undefined && !this.#wasIssued(loaded.bytes)) fault = "torn";
    else if (this.current === undefined) fault = "back after its delete";
    else if (typeof found !== "string" && found.sequence < this.current.sequence) fault = "stale";
    const seen = typeof found === "string" ? found : describe(found);
    const extra = loaded?.contentType === undefined
      ? ""
      : ` as ${loaded.contentType} with ETag ${loaded.etag}`;
    return new Violation(
      fault,
      `${JSON.stringify(this.key)} is ${fault}: acknowledged was ${describe(this.current)}` +
        (this.etag === undefined ? "" : ` with ETag ${this.etag}`) +
        (pending === undefined ? "" : `, in flight was ${describe(pending.to)}`) +
        `, found was ${seen}${extra}`,
    );
  }
}
