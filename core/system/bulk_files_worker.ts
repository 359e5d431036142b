/// <reference lib="deno.worker" />
/**
 * A thread that creates, renames and removes many files one after another. The runtime opens files on the thread that
 * asks, and on some file systems creating a file takes long: the main thread would stand still.
 */

/** A job for the thread; it answers with a {@link FileAnswer}. */
export type FileJob =
  | { readonly kind: "create"; readonly paths: readonly string[]; readonly content: FileContent }
  | { readonly kind: "rename"; readonly paths: readonly string[]; readonly to: readonly string[] }
  | { readonly kind: "remove"; readonly paths: readonly string[] };

/** The contents of new files, one behind the other. */
export interface FileContent {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes of each file. */
  readonly sizes: readonly number[];
}

/** The steps that failed, by index. */
export type FileAnswer = readonly number[];

self.onmessage = ({ data }: MessageEvent<FileJob>) => {
  const answer: FileAnswer = run(data);
  self.postMessage(answer);
};

function run(job: FileJob): number[] {
  const failed: number[] = [];
  let start = 0;
  job.paths.forEach((path, index) => {
    try {
      if (job.kind === "create") {
        const end = start + (job.content.sizes[index] ?? 0);
        const bytes = job.content.bytes.subarray(start, end);
        start = end;
        create(path, bytes);
      } else if (job.kind === "rename") {
        Deno.renameSync(path, job.to[index] ?? "");
      } else {
        removeIfThere(path);
      }
    } catch {
      failed.push(index);
    }
  });
  return failed;
}

function create(path: string, bytes: Uint8Array<ArrayBuffer>): void {
  try {
    Deno.writeFileSync(path, bytes, { createNew: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) removeIfThere(path);
    throw error;
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
