/**
 * A file system in memory that fails on demand and can lose power. It promises only what ordinary
 * Linux file systems promise: a file's content is durable after it was flushed, a name after its
 * folder was flushed, and a rename happens as a whole or not at all, also from folder to folder.
 */
import type {
  BulkFiles,
  DurableFile,
  FileFacts,
  Files,
  NewFile,
  OpenFile,
} from "../../../core/system/files.ts";
import { type Random } from "./random.ts";

/** What goes wrong with an operation: no room, no room after half of the bytes, broken, or no more open files. */
export type Fault = "full" | "short" | "broken" | "exhausted";

/** An operation that is about to happen. */
export interface Operation {
  /** Number among all operations of this disk, from 0. */
  readonly index: number;
  readonly kind:
    | "create"
    | "open"
    | "write"
    | "flush"
    | "truncate"
    | "rename"
    | "remove"
    | "list"
    | "folder";
  readonly path: string;
}

/** What becomes of all that was not flushed when the power goes. */
export type PowerCut = "nothing survives" | "all survives" | "some survives";

interface Inode {
  readonly number: number;
  content: Uint8Array<ArrayBuffer>;
  durable: Uint8Array<ArrayBuffer>;
  modifiedMs: number;
  readonly isFolder: boolean;
  /** How many flushes within a write failed: each other open file is to report them. */
  failedFlushes: number;
}

/** A change of names that is not durable yet: each name gets a file, or none. */
type NameChange = ReadonlyMap<string, Inode | undefined>;

// Smaller than the sectors of any disk, so that also small frames are torn.
const SECTOR_BYTES = 16;

const NOTHING = new Uint8Array(0);

/** The simulated disk. Folders are those that were made, and what the paths of its files say. */
export class SimulatedDisk implements Files {
  readonly #random: Random;
  readonly #inodes = new Map<string, Inode>();
  readonly #durableNames = new Map<string, Inode>();
  #nameChanges: NameChange[] = [];
  #inodeCount = 0;
  #clockMs = 1_700_000_000_000;
  /** Operations so far. */
  operations = 0;
  /** Whether it can flush all files at once. */
  canFlushAll = false;
  /** Whether files can be opened so that each write is durable. */
  canWriteDurably = false;
  /** Files that are open. */
  openFiles = 0;
  /** Decides for each operation whether it fails. */
  fault: (operation: Operation) => Fault | undefined = () => undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Has it able to do more or less, other for each of four numbers in a row. */
  vary(number: number): void {
    this.canFlushAll = number % 2 === 0;
    this.canWriteDurably = number % 4 < 2;
  }

  /** Never: all operations are to take their turn and may fail. */
  readAtOnce(): undefined {
    return undefined;
  }

  /** Puts a durable file there. */
  put(path: string, content: Uint8Array<ArrayBuffer>): void {
    const inode = {
      number: ++this.#inodeCount,
      content: content.slice(),
      durable: content.slice(),
      modifiedMs: this.#clockMs,
      isFolder: false,
      failedFlushes: 0,
    };
    this.#inodes.set(path, inode);
    this.#durableNames.set(path, inode);
  }

  /** All files by path. */
  contents(): Map<string, Uint8Array<ArrayBuffer>> {
    const files = [...this.#inodes].filter(([, { isFolder }]) => !isFolder);
    return new Map(files.map(([path, inode]) => [path, inode.content]));
  }

  /**
   * Returns the disk as the next process finds it when this one is killed now: all is there, and what
   * was not durable still is not.
   */
  afterKill(): SimulatedDisk {
    const disk = this.#next();
    const copies = new Map<Inode, Inode>();
    const copy = (inode: Inode): Inode => {
      const copied = copies.get(inode) ?? { ...inode };
      copies.set(inode, copied);
      return copied;
    };
    for (const [path, inode] of this.#inodes) disk.#inodes.set(path, copy(inode));
    for (const [path, inode] of this.#durableNames) disk.#durableNames.set(path, copy(inode));
    disk.#nameChanges = this.#nameChanges.map((change) => {
      return new Map(Array.from(change, ([path, inode]) => [path, inode && copy(inode)]));
    });
    return disk;
  }

  /** Returns the disk as it is found when the power goes now. */
  afterPowerCut(cut: PowerCut): SimulatedDisk {
    const names = new Map(this.#durableNames);
    const lost = new Set<string>();
    for (const change of this.#nameChanges) {
      const survives = cut === "all survives" ||
        cut === "some survives" && this.#random.chance(0.5);
      // Changes of one name happen in order.
      const follows = [...change.keys()].some((path) => lost.has(path));
      if (survives && !follows) applyTo(names, change);
      else for (const path of change.keys()) lost.add(path);
    }
    const disk = this.#next();
    for (const [path, inode] of names) {
      if (inode.isFolder) {
        disk.#inodes.set(path, inode);
        disk.#durableNames.set(path, inode);
      } else if (names.has(folderOf(path)) || !this.#inodes.get(folderOf(path))?.isFolder) {
        disk.put(path, this.#surviving(inode, cut));
      }
    }
    return disk;
  }

  async create(path: string): Promise<OpenFile> {
    await this.#pass();
    this.#operate("create", path);
    if (this.#inodes.has(path)) throw new Deno.errors.AlreadyExists(path);
    const inode = {
      number: ++this.#inodeCount,
      content: NOTHING,
      durable: NOTHING,
      modifiedMs: this.#clockMs++,
      isFolder: false,
      failedFlushes: 0,
    };
    this.#change(new Map([[path, inode]]));
    return this.#opened(inode, path);
  }

  async open(path: string): Promise<OpenFile> {
    await this.#pass();
    this.#operate("open", path);
    return this.#opened(this.#inode(path), path);
  }

  openDurable(path: string): DurableFile | undefined {
    if (!this.canWriteDurably) return undefined;
    const inode = this.#inode(path);
    this.openFiles++;
    return {
      write: async (bytes, offset) => {
        await this.#pass();
        let size = 0;
        try {
          size = this.#write(inode, path, bytes, offset);
        } catch {
          return -1n;
        }
        await this.#pass();
        try {
          this.#operate("flush", path);
        } catch {
          inode.failedFlushes++;
          return -1n;
        }
        inode.durable = inode.content;
        await this.#pass();
        return BigInt(size);
      },
      close: () => {
        this.openFiles--;
      },
    };
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#pass();
    this.#operate("rename", to);
    this.#change(new Map([[from, undefined], [to, this.#inode(from)]]));
    await this.#pass();
  }

  async remove(path: string): Promise<void> {
    await this.#pass();
    this.#operate("remove", path);
    this.#inode(path);
    this.#change(new Map([[path, undefined]]));
    await this.#pass();
  }

  async syncFolder(folder: string): Promise<void> {
    await this.#pass();
    this.#operate("flush", folder);
    // With a change come those before it that it builds on.
    const touched = new Set<string>();
    const kept: NameChange[] = [];
    const flushed: NameChange[] = [];
    for (const change of this.#nameChanges.toReversed()) {
      const paths = [...change.keys()];
      const concerns = paths.some((path) => folderOf(path) === folder || touched.has(path));
      if (!concerns) {
        kept.unshift(change);
        continue;
      }
      flushed.unshift(change);
      for (const path of paths) touched.add(path);
    }
    for (const change of flushed) applyTo(this.#durableNames, change);
    this.#nameChanges = kept;
    await this.#pass();
  }

  /** Flushes contents, not names: more is not promised. */
  openBulkFiles(path: string): BulkFiles | undefined {
    if (!this.canFlushAll) return undefined;
    this.openFiles++;
    return {
      leastFiles: 0,
      create: (files) => failuresOf(files, (file) => this.#createWhole(file)),
      rename: (renamings) => failuresOf(renamings, ([from, to]) => this.rename(from, to)),
      remove: (paths) => failuresOf(paths, (path) => this.#removeIfThere(path)),
      flush: async () => {
        await this.#pass();
        this.#operate("flush", `${path}/*`);
        for (const inode of this.#inodes.values()) inode.durable = inode.content;
      },
      close: () => {
        this.openFiles--;
      },
    };
  }

  async #createWhole({ path, size, copyTo }: NewFile): Promise<void> {
    const bytes = new Uint8Array(size);
    copyTo(bytes);
    const file = await this.create(path);
    try {
      if (await file.write(bytes) < size) throw noSpace();
    } catch (error) {
      await this.remove(path);
      throw error;
    } finally {
      file.close();
    }
  }

  async #removeIfThere(path: string): Promise<void> {
    if (this.#inodes.has(path)) await this.remove(path);
  }

  async makeFolder(path: string): Promise<void> {
    await this.#pass();
    this.#operate("folder", path);
    if (this.#inodes.has(path)) return;
    const inode = {
      number: ++this.#inodeCount,
      content: NOTHING,
      durable: NOTHING,
      modifiedMs: this.#clockMs++,
      isFolder: true,
      failedFlushes: 0,
    };
    this.#change(new Map([[path, inode]]));
  }

  async list(folder: string, entry: (name: string, isFile: boolean) => void): Promise<void> {
    await this.#pass();
    this.#operate("list", folder);
    for (const [path, { isFolder }] of this.#inodes) {
      if (folderOf(path) === folder) entry(path.slice(folder.length + 1), !isFolder);
    }
  }

  #next(): SimulatedDisk {
    const disk = new SimulatedDisk(this.#random);
    disk.canFlushAll = this.canFlushAll;
    disk.canWriteDurably = this.canWriteDurably;
    disk.#inodeCount = this.#inodeCount;
    disk.#clockMs = this.#clockMs;
    return disk;
  }

  #opened(inode: Inode, path: string): OpenFile {
    let position = 0;
    let isOpen = true;
    let reported = inode.failedFlushes;
    this.openFiles++;
    return {
      write: async (bytes) => {
        await this.#pass();
        const size = this.#write(inode, path, bytes, position);
        position += size;
        return size;
      },
      read: async (buffer) => {
        await this.#pass();
        if (position >= inode.content.length) return null;
        const part = inode.content.subarray(position, position + buffer.length);
        buffer.set(part);
        position += part.length;
        return part.length;
      },
      seek(offset) {
        position = offset;
      },
      syncData: async () => {
        await this.#pass();
        if (reported !== inode.failedFlushes) {
          reported = inode.failedFlushes;
          throw broken();
        }
        this.#operate("flush", path);
        inode.durable = inode.content;
        await this.#pass();
      },
      truncate: async (size) => {
        await this.#pass();
        this.#operate("truncate", path);
        const content = new Uint8Array(size);
        content.set(inode.content.subarray(0, size));
        inode.content = content;
      },
      facts(): FileFacts {
        const { content, modifiedMs, number } = inode;
        return { size: content.length, modifiedMs, inode: number, isFile: true };
      },
      setModified(ms) {
        inode.modifiedMs = ms;
      },
      close: () => {
        if (!isOpen) throw new Deno.errors.BadResource(path);
        isOpen = false;
        this.openFiles--;
      },
    };
  }

  #write(inode: Inode, path: string, bytes: Uint8Array, offset: number): number {
    const fault = this.#enter("write", path);
    if (fault === "full" || fault === "short" && bytes.length < 2) throw noSpace();
    const part = fault === "short" ? bytes.subarray(0, bytes.length >> 1) : bytes;
    const content = new Uint8Array(Math.max(inode.content.length, offset + part.length));
    content.set(inode.content);
    content.set(part, offset);
    inode.content = content;
    inode.modifiedMs = this.#clockMs++;
    return part.length;
  }

  #change(change: NameChange): void {
    applyTo(this.#inodes, change);
    this.#nameChanges.push(change);
  }

  #inode(path: string): Inode {
    const inode = this.#inodes.get(path);
    if (inode === undefined) throw new Deno.errors.NotFound(path);
    return inode;
  }

  /** Content that is not flushed survives sector by sector, whichever the disk got to. */
  #surviving({ content, durable }: Inode, cut: PowerCut): Uint8Array<ArrayBuffer> {
    if (cut === "all survives") return content;
    if (cut === "nothing survives" || content === durable) return durable;
    const [short, long] = [content.length, durable.length].toSorted((a, b) => a - b);
    const size = this.#random.integer(short ?? 0, long ?? 0);
    const survivor = new Uint8Array(size);
    for (let at = 0; at < size; at += SECTOR_BYTES) {
      const source = this.#random.chance(0.5) ? content : durable;
      survivor.set(source.subarray(at, Math.min(at + SECTOR_BYTES, size)), at);
    }
    return survivor;
  }

  /** Takes as long as a disk may, before and after: other things happen meanwhile. */
  async #pass(): Promise<void> {
    for (let turns = this.#random.integer(0, 6); turns > 0; turns--) await null;
  }

  /** Its effect has to follow at once: there must be no power cut in between. */
  #operate(kind: Operation["kind"], path: string): void {
    if (this.#enter(kind, path) !== undefined) throw noSpace();
  }

  #enter(kind: Operation["kind"], path: string): Fault | undefined {
    const fault = this.fault({ index: this.operations++, kind, path });
    if (fault === "broken") throw broken();
    if (fault === "exhausted") throw exhausted();
    return fault;
  }
}

function broken(): Error {
  return Object.assign(new Error("Input/output error (os error 5)"), { code: "EIO" });
}

function exhausted(): Error {
  return Object.assign(new Error("Too many open files (os error 24)"), { code: "EMFILE" });
}

function noSpace(): Error {
  return Object.assign(new Error("No space left on device (os error 28)"), { code: "ENOSPC" });
}

function applyTo(names: Map<string, Inode>, change: NameChange): void {
  for (const [path, inode] of change) {
    if (inode === undefined) names.delete(path);
    else names.set(path, inode);
  }
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** Takes steps one after another and returns the indices of those that failed. */
async function failuresOf<T>(
  steps: readonly T[],
  take: (step: T) => Promise<void>,
): Promise<ReadonlySet<number>> {
  const failed = new Set<number>();
  for (const [index, step] of steps.entries()) {
    await take(step).catch(() => failed.add(index));
  }
  return failed;
}
