/**
 * The journal: an append-only log of writes. It consists of segments, which are files with ascending numbers.
 *
 * At most one segment is active: frames are appended to it. `seal` ends the active segment. `prepare` begins another
 * one, or else the next frame does. When the checkpoint has brought all writes of a sealed segment to key files, `drop`
 * removes the segment, oldest first. A large segment that is dropped becomes a spare file, and a later segment is begun
 * in that file: flushing a file that is written over costs less than flushing a file that grows.
 */
import { join } from "@std/path";
import { messageOf } from "../errors.ts";
import { Histogram } from "../histogram.ts";
import { removeIfThere, renameIfThere, writeAll } from "../system/file_steps.ts";
import { failedError, type Files, isDiskFull, type OpenFile, refusedOr } from "../system/files.ts";
import { SEGMENT_HEADER_BYTES } from "./format.ts";
import { type FrameBuffer } from "./frame_buffer.ts";
import { OldestSegment } from "./oldest_segment.ts";
import { type ActiveSegment, beginSegment, closeFiles, segmentName } from "./segment.ts";
import { type SpareFile, SpareFiles, type SpareLimits } from "./spare_files.ts";

/** The segments found on the disk: the number of each, and where its frames end (bytes). In ascending order. */
export type FoundSegments = ReadonlyMap<number, number>;

/** The parts of a {@link Journal}. */
export interface JournalOptions {
  readonly files: Files;
  readonly found: FoundSegments;
  /** The mark of the oldest segment; by default a mark that is not on the disk yet. */
  readonly oldest?: OldestSegment;
  readonly spares: SpareLimits;
}

/**
 * The journal in one folder. Calls of `append` and `seal` must not overlap; `prepare`, `drop` and `removeSpares` may
 * come at any time before `close` and `abandon`. An active segment without frames counts as no segment.
 */
export class Journal {
  readonly #folder: string;
  readonly #files: Files;
  readonly #spares: SpareFiles;
  readonly #oldest: OldestSegment;
  /** The sealed segments: number and end, in ascending order. */
  readonly #sealed: Map<number, number>;
  #sealedBytes = 0;
  /** The facts of the sealed segments that this process wrote, by number. Only these segments become spare files. */
  readonly #written = new Map<number, Omit<SpareFile, "path">>();
  /** Number and end of the segment that was sealed last. */
  #last: { readonly number: number; readonly end: number };
  #active: ActiveSegment | undefined;
  /** Resolves when a segment was begun or cut, and is active; `undefined` if no such step is under way. */
  #activating: Promise<void> | undefined;
  /** The removal of spare files that is under way. */
  #removingSpares: Promise<boolean> | undefined;
  /** How long it took to write and flush frames. */
  readonly flushes = new Histogram();

  constructor(folder: string, { files, found, oldest, spares }: JournalOptions) {
    this.#folder = folder;
    this.#files = files;
    this.#spares = new SpareFiles(folder, files, spares);
    this.#oldest = oldest ?? new OldestSegment(folder, files, undefined);
    this.#sealed = new Map(found);
    this.#last = { number: this.#oldest.number - 1, end: 0 };
    for (const [number, end] of found) {
      this.#sealedBytes += end;
      this.#last = { number, end };
    }
  }

  /** Bytes of all segments; spare files do not count. */
  get bytes(): number {
    return this.#sealedBytes + this.activeBytes;
  }

  /** How many segments there are. */
  get segments(): number {
    return this.#sealed.size + (this.activeBytes > 0 ? 1 : 0);
  }

  /** Bytes of the active segment; 0 if there is none. */
  get activeBytes(): number {
    const active = this.#active;
    return active === undefined || active.sequence === 0 ? 0 : active.end;
  }

  /** Number of the active segment; if there is none, of the segment that was sealed last. */
  get activeSegment(): number {
    return this.#active?.number ?? this.#last.number;
  }

  /** Number of the oldest sealed segment, if there is one. */
  get oldestSealed(): number | undefined {
    return this.#sealed.keys().next().value;
  }

  /**
   * Writes and flushes one frame, which is durable once this resolves.
   *
   * @param onDurable Called at once when the frame is durable. Code that awaits the promise runs later: after
   * everything else that is ready in this turn of the event loop.
   * @throws {StorageFullError} If there is no room; the journal is as it was before.
   * @throws {StorageBusyError} If no segment can be begun for now; the journal is as it was before.
   * @throws {StorageFailedError} If the disk failed; only `abandon` may be called afterwards.
   */
  async append(frame: FrameBuffer, onDurable: () => void = () => {}): Promise<void> {
    let active = this.#active;
    // A loop: `#cutUnused` may have taken the segment away again before this goes on.
    for (; active === undefined; active = this.#active) await this.#activate();
    await this.#appendTo(active, frame, onDurable);
  }

  /** Begins a segment unless one is active, so that the next frame need not wait for that. Errors as of `append`. */
  async prepare(): Promise<void> {
    if (this.#active === undefined) await this.#activate();
  }

  #activate(): Promise<void> {
    if (this.#activating !== undefined) return this.#activating;
    const place = {
      folder: this.#folder,
      files: this.#files,
      spares: this.#spares,
      oldest: this.#oldest,
    };
    const { number, end } = this.#last;
    return this.#activateWith(beginSegment(place, { number: number + 1, previousEnd: end }));
  }

  /** Makes the segment that is `coming` the active one. Until then every frame waits for it. */
  #activateWith(coming: Promise<ActiveSegment>): Promise<void> {
    // Both fields change in one step: between two steps `append` would begin another segment.
    return this.#activating = coming.then((segment) => {
      this.#activating = undefined;
      this.#active = segment;
    }, (error) => {
      this.#activating = undefined;
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
    // One call instead of two: each call goes to another thread and back.
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
      await this.#undoWrite(active, error);
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

  /**
   * Cuts off what a failed write left, durably: no part of a frame may ever stand between sound frames. Old bytes
   * behind that part must go, too. They could happen to complete it to a frame that was never acknowledged.
   */
  async #undoWrite(active: ActiveSegment, cause: unknown): Promise<void> {
    try {
      await active.file.truncate(active.end);
      active.oldBytes = Math.min(active.oldBytes, active.end);
      await flushUnlessFull(active.file);
    } catch (error) {
      throw failedError(`Cannot undo a failed write (${messageOf(cause)})`, error);
    }
  }

  /** Ends the active segment, if there is one: the next frame begins another. */
  seal(): void {
    const active = this.#active;
    if (active === undefined || active.sequence === 0) return;
    closeFiles(active);
    const { number, salt, end, oldBytes } = active;
    this.#sealed.set(number, end);
    this.#sealedBytes += end;
    this.#written.set(number, { salt, end, size: Math.max(end, oldBytes) });
    this.#last = { number, end };
    this.#active = undefined;
  }

  /**
   * Removes the oldest sealed segment, or makes a spare file of it. Once resolved, no start reads the segment again.
   * After a rejection the same segment has to be dropped again.
   *
   * @throws {StorageFailedError} If the folder cannot be flushed.
   * @throws {StorageBusyError} If the folder cannot be opened for now.
   * @throws {Error} As of `Files`, if the mark or the segment cannot be renamed or removed.
   */
  async drop(number: number): Promise<void> {
    // First of all: a power cut may undo the removal or the rename, and bring an old segment back. A start does not
    // read segments before the oldest one.
    await this.#oldest.advance(number + 1);
    const path = join(this.#folder, segmentName(number));
    const spare = this.#spareFor(number);
    // Somebody may have removed the file by hand.
    if (spare === undefined) await removeIfThere(this.#files, path);
    else if (await renameIfThere(this.#files, path, spare.path)) this.#spares.put(spare);
    this.#written.delete(number);
    this.#sealedBytes -= this.#sealed.get(number) ?? 0;
    this.#sealed.delete(number);
  }

  /** Returns the spare file that a sealed segment becomes; `undefined` if its file is not to be kept. */
  #spareFor(number: number): SpareFile | undefined {
    const written = this.#written.get(number);
    if (written === undefined) return undefined;
    const unwritten = Math.max((this.#active?.oldBytes ?? 0) - this.activeBytes, 0);
    return this.#spares.place(number, written, this.bytes - written.end + unwritten);
  }

  /**
   * Removes the spare files, and the old bytes of an active segment without frames: something else needs the room.
   * Resolves to whether any room became free. May be called at any time.
   */
  removeSpares(): Promise<boolean> {
    // All callers need the same room, so they share one removal.
    return this.#removingSpares ??= this.#removeSpares().finally(() => {
      this.#removingSpares = undefined;
    });
  }

  async #removeSpares(): Promise<boolean> {
    // The segment that is being begun may have taken a spare file.
    if (this.#activating !== undefined) await this.#activating.catch(() => {});
    const isCut = await this.#cutUnused();
    return await this.#spares.removeAll() || isCut;
  }

  /** Frees the old bytes of an active segment that has no frame yet; resolves to whether there were any. */
  async #cutUnused(): Promise<boolean> {
    const active = this.#active;
    if (active === undefined || active.isUsed || active.oldBytes === 0) return false;
    // A frame that comes meanwhile waits until the segment is active again.
    this.#active = undefined;
    await this.#activateWith(cutOldBytes(active));
    return active.oldBytes === 0;
  }

  /**
   * Closes the journal. Only the sealed segments and the mark remain on the disk.
   *
   * @throws {StorageFailedError} If the disk failed.
   */
  async close(): Promise<void> {
    await this.#settled();
    const active = this.#active;
    await this.abandon();
    if (active?.sequence === 0) {
      await this.#oldest.recordNewest(this.#last.number);
      // If this fails, the next start finds a segment without frames, and its first checkpoint drops the segment.
      await this.#files.remove(join(this.#folder, segmentName(active.number))).catch(() => {});
    }
    await this.#spares.removeAll();
    if (this.#sealed.size === 0) await this.#oldest.close();
  }

  /** Closes the open files and changes nothing on the disk: for the end after a failure. */
  async abandon(): Promise<void> {
    await this.#settled();
    this.seal();
    if (this.#active !== undefined) closeFiles(this.#active);
    this.#active = undefined;
  }

  /** Resolves when no `prepare` and no `removeSpares` is under way. */
  async #settled(): Promise<void> {
    await this.#removingSpares;
    await this.#activating?.catch(() => {});
  }
}

/** Cuts a segment without frames to its header. A failure harms nothing: this resolves to the segment all the same. */
async function cutOldBytes(segment: ActiveSegment): Promise<ActiveSegment> {
  try {
    await segment.file.truncate(SEGMENT_HEADER_BYTES);
    segment.oldBytes = 0;
  } catch {
    // Some file systems need room for that, too.
  }
  return segment;
}

/** Flushes a file. Without room for that, the flush may wait for the next one: every acknowledged frame is flushed. */
async function flushUnlessFull(file: OpenFile): Promise<void> {
  try {
    await file.syncData();
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}
