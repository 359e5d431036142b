import { assertEquals } from "@std/assert";
import { LineWriter } from "../../cmd/line_writer.ts";

/** An output that takes bytes when it is told to, as a pipe does when somebody reads. */
class Output {
  readonly lines: string[] = [];
  #pending: { resolve: (size: number) => void; reject: (error: Error) => void } | undefined;
  #bytes = new Uint8Array();

  readonly write = (bytes: Uint8Array): Promise<number> => {
    this.#bytes = bytes.slice();
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#pending = { resolve, reject };
    return promise;
  };

  /** Takes what is being written, and lets the writer go on. */
  async take(size = this.#bytes.length): Promise<void> {
    const text = new TextDecoder().decode(this.#bytes.subarray(0, size));
    this.lines.push(...text.split("\n").slice(0, -1));
    this.#pending?.resolve(size);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }

  async fail(): Promise<void> {
    this.#pending?.reject(new Error("no room"));
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

function writerTo(output: Output): LineWriter {
  return new LineWriter({ write: output.write, lostLine: (lines) => `${lines} lost` });
}

const LONG = "x".repeat(100_000);

Deno.test("LineWriter prints in order, in as many writes as it takes", async () => {
  const output = new Output();
  const writer = writerTo(output);
  for (const line of ["a", "b", "c"]) writer.print(line);
  await output.take();
  await output.take(2);
  await output.take();
  assertEquals(output.lines, ["a", "b", "c"]);
  await writer.flush(60_000);
});

Deno.test("LineWriter drops what does not fit while nobody reads, and tells how many", async () => {
  const output = new Output();
  const writer = writerTo(output);
  writer.print("first");
  for (let i = 0; i < 5; i++) writer.print(LONG);
  writer.print("short, but later than one that was dropped");
  await output.take();
  await output.take();
  writer.print("last");
  await output.take();
  assertEquals(output.lines, ["first", LONG, LONG, "4 lost", "last"]);
});

Deno.test("LineWriter counts what could not be written, and goes on with the next line", async () => {
  const output = new Output();
  const writer = writerTo(output);
  writer.print("a");
  writer.print("b");
  await output.fail();
  writer.print("c");
  await output.fail();
  writer.print("d");
  await output.take();
  assertEquals(output.lines, ["d", "3 lost"]);
});

Deno.test("LineWriter.flush() does not wait longer than it is told to", async () => {
  const output = new Output();
  const writer = writerTo(output);
  writer.print("a");
  await writer.flush(1);
  assertEquals(output.lines, []);
  await output.take();
});
