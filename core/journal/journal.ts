/** The journal: an append-only log in segments, each dropped once its writes are in key files. */
import { join } from "@std/path";
import { messageOf } from "../errors.ts";
import { type Files, isDiskFull, type OpenFile } from "../system/files.ts";
import { Histogram } from "../histogram.ts";
import { type FrameBuffer, SEGMENT_HEADER_BYTES } from "./record.ts";
import {
  type ActiveSegment,
  beginSegment,
  closeFiles,
  type SegmentFolder,
  segmentName,
} from "./segment.ts";
import { OldestSegment } from "./oldest_segment.ts";
import { type SpareFile, SpareFiles, type SpareLimits } from "./segment.ts";
import { removeIfThere, writeAll } from "../system/file_steps.ts";
import { failedError, refusedOr } from "../system/files.ts";

/** What {@link Journal} starts from: the segments found on the disk, each with the end of its frames. */
export type FoundSegments = ReadonlyMap<number, number>;

/**
 * Appends frames to the segment that is active; `seal` ends it, and `drop` removes a sealed one. Calls
 * must not overlap, except that `drop`, `prepare` and `removeSpares` may come at any time before `close`
 * and `abandon`. To write over a file is cheaper than to make one grow, where the file system has to record
 * the new size with each flush; so a large segment that is dropped becomes the next one. A segment that has
 * no frames yet counts as none.
 */
export class Journal {
  readonly #folder: string;
  readonly #files: Files;
  /** Number of each sealed segment and where its frames end; in order. */
  readonly #sealed: Map<number, number>;
  #active: ActiveSegment | undefined;
  #beginning: Promise<void> | undefined;
  #givingBack: Promise<boolean> | undefined;
  #last: { number: number; end: number };
  readonly #spares: SpareFiles;
  readonly #oldest: OldestSegment;
  /** The sealed segments that this process wrote. */
  readonly #written = new Map<number, Omit<SpareFile, "path">>();
  #sealedBytes = 0;
  /** How long it took to write and flush frames. */
  readonly flushes = new Histogram();

  constructor(
    folder: string,
    { files, found, oldest, spares }: {
      readonly files: Files;
      readonly found: FoundSegments;
      readonly oldest?: OldestSegment;
      readonly spares: SpareLimits;
    },
  ) {
    this.#spares = new SpareFiles(folder, files, spares);
    this.#folder = folder;
    this.#files = files;
    this.#sealed = new Map(found);
    this.#oldest = oldest ?? new OldestSegment(folder, files, undefined);
    this.#last = { number: this.#oldest.number - 1, end: 0 };
    for (const [number, end] of found) {
      this.#sealedBytes += end;
      this.#last = { number, end };
    }
  }

  /** Bytes of all segments. */
  get bytes(): number {
    return this.#sealedBytes + this.activeBytes;
  }

  /** Segments that there are, the active one included if it has frames. */
  get segments(): number {
    return this.#sealed.size + (this.activeBytes > 0 ? 1 : 0);
  }

  /** Bytes of the segment that is active; 0 if there is none, or it has no frames. */
  get activeBytes(): number {
    const active = this.#active;
    return active === undefined || active.sequence === 0 ? 0 : active.end;
  }

  /** Number of the segment that is active or was last. */
  get activeSegment(): number {
    return this.#active?.number ?? this.#last.number;
  }

  /** The oldest sealed segment, if there is one. */
  get oldestSealed(): number | undefined {
    return this.#sealed.keys().next().value;
  }

  /**
   * Writes and flushes one frame; durable once resolved.
   *
   * @param onDurable Called as soon as it is: whoever awaits the promise has to queue behind all that
   * the event loop has found ready at the same time.
   * @throws {StorageFullError} If there is no room; the journal is as it was before.
   * @throws {StorageFailedError} If the disk failed; nothing may be called afterwards.
   */
  async append(frame: FrameBuffer, onDurable: () => void = () => {}): Promise<void> {
    let active = this.#active;
    // Not what `#activate` found: its room may be given back again by the time this goes on.
    for (; active === undefined; active = this.#active) await this.#activate();
    await this.#appendTo(active, frame, onDurable);
  }

  /**
   * Begins a segment, unless one is active, so that the next frame need not wait for that: two flushes more. One
   * that has no frames, and a new file, goes where there are files to write over: each flush of a file that grows
   * costs more. The last of these files is left alone, for who needs its room, and all of them while they are
   * being given back. Errors as of `append`.
   */
  async prepare(): Promise<void> {
    const active = this.#active;
    if (active === undefined) return await this.#activate();
    if (active.isUsed || active.oldBytes > 0) return;
    if (this.#spares.count < 2 || this.#givingBack !== undefined) return;
    this.#active = undefined;
    closeFiles(active);
    // A frame that comes meanwhile waits for this as for the beginning of a segment.
    await (this.#beginning = this.#become(this.#replace(active.number)));
  }

  async #replace(number: number): Promise<ActiveSegment> {
    try {
      await removeIfThere(this.#files, join(this.#folder, segmentName(number)));
    } catch (error) {
      throw refusedOr("Cannot remove a segment", error);
    }
    return await beginSegment(this.#place, number, this.#last.end);
  }

  #activate(): Promise<void> {
    const { number, end } = this.#last;
    return this.#beginning ??= this.#become(beginSegment(this.#place, number + 1, end));
  }

  get #place(): SegmentFolder {
    return { folder: this.#folder, files: this.#files, spares: this.#spares };
  }

  /** What is coming becomes the active one in one step: who looked in between would begin another one. */
  #become(coming: Promise<ActiveSegment>): Promise<void> {
    return coming.then((active) => {
      this.#beginning = undefined;
      this.#active = active;
    }, (error) => {
      this.#beginning = undefined;
      throw error;
    });
  }

  #appendTo(active: ActiveSegment, frame: FrameBuffer, onDurable: () => void): Promise<void> {
    active.isUsed = true;
    const bytes = frame.seal(active.salt, active.sequence);
    const startedAt = performance.now();
    const finish = () => {
      this.flushes.observe(performance.now() - startedAt);
      active.end += bytes.length;
      active.sequence++;
      onDurable();
    };
    if (active.durable === undefined) return this.#writeAndFlush(active, bytes).then(finish);
    // One step instead of two: each is a way to another thread and back.
    return active.durable.write(bytes, active.end).then((size) => {
      return Number(size) === bytes.length
        ? finish()
        : this.#writeAndFlush(active, bytes).then(finish);
    });
  }

  async #writeAndFlush(active: ActiveSegment, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { file, end } = active;
    try {
      file.seek(end);
      await writeAll(file, bytes);
    } catch (error) {
      await this.#cutBack(active, error);
      if (!isDiskFull(error) || !await this.removeSpares()) {
        throw refusedOr("Cannot write the journal", error);
      }
      return await this.#writeAndFlush(active, bytes);
    }
    try {
      await file.syncData();
    } catch (error) {
      throw failedError("Cannot flush the journal", error);
    }
  }

  /** Ends the segment that is active, if it has frames: the next frame begins a new one. */
  seal(): void {
    const active = this.#active;
    if (active === undefined || active.sequence === 0) return;
    closeFiles(active);
    this.#sealed.set(active.number, active.end);
    const { number, salt, end, oldBytes } = active;
    this.#written.set(number, { salt, end, size: Math.max(end, oldBytes) });
    this.#sealedBytes += active.end;
    this.#last = active;
    this.#active = undefined;
  }

  /**
   * Removes the oldest sealed segment. Once resolved it counts as removed for good: of two segments with the same
   * key the younger must never be lost alone. To be called again when it rejects.
   *
   * @throws {StorageFailedError} If the disk failed.
   * @throws {StorageBusyError} If the folder cannot be opened for now.
   */
  async drop(number: number): Promise<void> {
    await this.#oldest.advance(number + 1);
    const spare = await this.#moveAway(number);
    // A power cut may give the file its old name back, with what the next segment has written to it by then: that is
    // known to be an old segment, and not read.
    if (spare !== undefined) this.#spares.put(spare);
    this.#written.delete(number);
    this.#sealedBytes -= this.#sealed.get(number) ?? 0;
    this.#sealed.delete(number);
  }

  async #moveAway(number: number): Promise<SpareFile | undefined> {
    const end = this.#sealed.get(number) ?? 0;
    const path = join(this.#folder, segmentName(number));
    const written = this.#written.get(number);
    const unwritten = Math.max((this.#active?.oldBytes ?? 0) - this.activeBytes, 0);
    const spare = written && this.#spares.place(number, written, this.bytes - end + unwritten);
    if (spare !== undefined) await this.#files.rename(path, spare.path);
    // Somebody may have removed the file by hand.
    else await removeIfThere(this.#files, path);
    return spare;
  }

  /** Closes the journal and leaves no file behind that is not a sealed segment. */
  async close(): Promise<void> {
    await this.#settled();
    const active = this.#active;
    await this.abandon();
    if (active?.sequence === 0) {
      // It says nothing to the next start, which removes it.
      await this.#files.remove(join(this.#folder, segmentName(active.number))).catch(() => {});
    }
    await this.#spares.removeAll();
    if (this.#sealed.size === 0) await this.#oldest.close();
  }

  /**
   * Gives back the room of files that are kept for next segments, since others need it now; tells
   * whether there were any. May be called at any time.
   */
  removeSpares(): Promise<boolean> {
    // Who comes while that is being done waits for the same room.
    return this.#givingBack ??= this.#giveBack().finally(() => this.#givingBack = undefined);
  }

  async #giveBack(): Promise<boolean> {
    // What a segment that is being begun is to write over counts when that is done. Else at once: a frame may come.
    if (this.#beginning !== undefined) await this.#beginning.catch(() => {});
    const isCut = await this.#cutUnused();
    return await this.#spares.removeAll() || isCut;
  }

  /** Gives back the room of a file that is to be written over by a segment which has not begun to. */
  async #cutUnused(): Promise<boolean> {
    const active = this.#active;
    if (active === undefined || active.isUsed || active.oldBytes === 0) return false;
    this.#active = undefined;
    // A frame that comes meanwhile waits for this as for the beginning of a segment.
    const cut = active.file.truncate(SEGMENT_HEADER_BYTES)
      .then(() => active.oldBytes = 0)
      // As on file systems where that takes room, too.
      .catch(() => {})
      .then(() => active);
    await (this.#beginning = this.#become(cut));
    return active.oldBytes === 0;
  }

  /** Closes the open file and leaves all as it is: after a failure. */
  async abandon(): Promise<void> {
    await this.#settled();
    this.seal();
    if (this.#active !== undefined) closeFiles(this.#active);
    this.#active = undefined;
  }

  /** Resolves when nothing is under way that may come at any time, but a `drop`. */
  async #settled(): Promise<void> {
    await this.#givingBack;
    await this.#beginning?.catch(() => {});
  }

  /**
   * Removes what a failed write left, so that no rubbish can ever stand between sound frames. For good: a part of
   * a frame that the disk has got, and old bytes behind it that happen to be those of its rest, would make a whole one.
   */
  async #cutBack(active: ActiveSegment, cause: unknown): Promise<void> {
    try {
      await active.file.truncate(active.end);
      active.oldBytes = Math.min(active.oldBytes, active.end);
      await this.#flushUnlessFull(active.file);
    } catch (error) {
      throw failedError(`Cannot undo a failed write (${messageOf(cause)})`, error);
    }
  }

  /** Some file systems want room for that, too: what was acknowledged is flushed already, and what comes next will be. */
  async #flushUnlessFull(file: OpenFile): Promise<void> {
    try {
      await file.syncData();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
    }
  }
}
