/**
 * Many small files at once, as the checkpoint makes them: created on another thread, and flushed with one system call
 * for the whole file system. Flushing each file costs a transaction of the file system each time, and keeps the disk
 * from the journal for longer.
 */
import type { FileAnswer, FileJob } from "./bulk_files_worker.ts";
import type { BulkFiles, NewFile, Renaming } from "./files.ts";
import { cString, type LibC, loadLibC, O_CLOEXEC } from "./libc.ts";

/** The first Linux whose syncfs(2) reports a failed write. */
const LEAST_LINUX = [5, 8] as const;

/** Fewer files are flushed faster one by one. */
const LEAST_FILES = 32;

/**
 * Files that a new thread opens, and a few more for the rest of the process. The runtime ends the process if a new
 * thread cannot open its files.
 */
const THREAD_FILES = 16;

/** `struct utsname` of Linux: six texts of so many bytes; the third one is the release. */
const UTSNAME_FIELD = 65;
const UTSNAME_BYTES = 6 * UTSNAME_FIELD;

/**
 * Begins work on `files` small files in the file system of the folder `path`. Returns `undefined` if these are too few,
 * if the process has hardly any open files left, or if the system cannot flush a file system and report failures: one
 * that is not Linux, an old Linux, another C library, no permission to call the library.
 */
export function openBulkFiles(path: string, files: number): BulkFiles | undefined {
  if (files < LEAST_FILES) return undefined;
  const libc = loadLibC();
  if (libc === undefined || !reportsFailures(libc) || !canOpen(libc, path, THREAD_FILES)) {
    return undefined;
  }
  // The system reports failures from here on.
  const folder = libc.open(cString(path), O_CLOEXEC, 0);
  if (folder < 0) return undefined;
  return new FileThread(libc, folder);
}

/** Whether `count` more files can be open at the same time. */
function canOpen(libc: NonNullable<LibC>, path: string, count: number): boolean {
  const opened: number[] = [];
  const name = cString(path);
  let descriptor = 0;
  while (opened.length < count && descriptor >= 0) {
    descriptor = libc.open(name, O_CLOEXEC, 0);
    if (descriptor >= 0) opened.push(descriptor);
  }
  for (const one of opened) libc.close(one);
  return opened.length === count;
}

class FileThread implements BulkFiles {
  readonly leastFiles = LEAST_FILES;
  readonly #libc: NonNullable<LibC>;
  readonly #folder: number;
  readonly #worker = new Worker(new URL("./bulk_files_worker.ts", import.meta.url), {
    type: "module",
  });
  /** Called with the answer to the job under way; `undefined` if the thread has ended. */
  #answered: (answer: FileAnswer | undefined) => void = () => {};
  /** Whether the thread has ended. */
  #isBroken = false;

  constructor(libc: NonNullable<LibC>, folder: number) {
    this.#libc = libc;
    this.#folder = folder;
    this.#worker.onmessage = ({ data }: MessageEvent<FileAnswer>) => this.#answered(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#end();
    };
  }

  async create(files: readonly NewFile[]): Promise<ReadonlySet<number>> {
    const sizes = files.map(({ size }) => size);
    const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
    let at = 0;
    for (const file of files) {
      file.copyTo(bytes.subarray(at));
      at += file.size;
    }
    const paths = files.map(({ path }) => path);
    const job: FileJob = { kind: "create", paths, content: { bytes, sizes } };
    const answer = await this.#run(job, [bytes.buffer]);
    if (answer !== undefined) return new Set(answer);
    // The thread has ended, and some of the files may be there.
    await Promise.all(paths.map((path) => Deno.remove(path).catch(() => {})));
    return allOf(paths);
  }

  async rename(renamings: readonly Renaming[]): Promise<ReadonlySet<number>> {
    const paths = renamings.map(([from]) => from);
    const answer = await this.#run({ kind: "rename", paths, to: renamings.map(([, to]) => to) });
    return answer === undefined ? allOf(paths) : new Set(answer);
  }

  async remove(paths: readonly string[]): Promise<ReadonlySet<number>> {
    const answer = await this.#run({ kind: "remove", paths });
    return answer === undefined ? allOf(paths) : new Set(answer);
  }

  async flush(): Promise<void> {
    const failed = await this.#libc.syncfs(this.#folder);
    if (failed !== 0) throw new Error("the file system could not be flushed");
  }

  close(): void {
    this.#worker.terminate();
    this.#end();
    this.#libc.close(this.#folder);
  }

  /** The job under way counts as failed, and so do all later ones. */
  #end(): void {
    this.#isBroken = true;
    this.#answered(undefined);
  }

  /** Has the thread do a job; resolves to `undefined` if the thread ends before the job is done. */
  #run(job: FileJob, transfer: Transferable[] = []): Promise<FileAnswer | undefined> {
    if (this.#isBroken) return Promise.resolve(undefined);
    const { promise, resolve } = Promise.withResolvers<FileAnswer | undefined>();
    this.#answered = resolve;
    this.#worker.postMessage(job, transfer);
    return promise;
  }
}

function allOf(steps: readonly unknown[]): ReadonlySet<number> {
  return new Set(steps.keys());
}

let reports: boolean | undefined;

/** Whether syncfs(2) of the running Linux reports failures. Not read from /proc, which takes every permission. */
function reportsFailures(libc: NonNullable<LibC>): boolean {
  if (reports !== undefined) return reports;
  const names = new Uint8Array(UTSNAME_BYTES);
  if (libc.uname(names) !== 0) return reports = false;
  const release = names.subarray(2 * UTSNAME_FIELD, 3 * UTSNAME_FIELD);
  const [major = 0, minor = 0] = new TextDecoder().decode(release).split(".").map((part) =>
    Number.parseInt(part)
  );
  return reports = major > LEAST_LINUX[0] || major === LEAST_LINUX[0] && minor >= LEAST_LINUX[1];
}
