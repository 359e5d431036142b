/** The text of keys and values in the output of `kvs rebalance`, and its buffer. Each key stays on its line. */
import { messageOf, OutputError } from "../core/errors.ts";
import { displayKey, escapeByte } from "../core/key.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A value as {@link displayKey} writes text. Of a value that is not UTF-8 only printable ASCII stays as it is. */
export function displayValue(bytes: Uint8Array): string {
  try {
    return displayKey(decoder.decode(bytes));
  } catch {
    let text = "";
    for (const byte of bytes) {
      text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : escapeByte(byte);
    }
    return text;
  }
}

/** The characters that Python's `repr` escapes besides quotes: all but letters, digits, marks, signs and space. */
const PYTHON_ESCAPED = /[\\\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

const PYTHON_SHORT: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/** `text` as Python's `repr` writes a string: in single quotes, or in double quotes if only single ones are in it. */
export function pythonRepr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(
    PYTHON_ESCAPED,
    (character) => PYTHON_SHORT[character] ?? pythonEscape(character.codePointAt(0) ?? 0),
  );
  return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped) + quote;
}

function pythonEscape(codePoint: number): string {
  const hex = codePoint.toString(16);
  if (codePoint <= 0xff) return "\\x" + hex.padStart(2, "0");
  return codePoint <= 0xffff ? "\\u" + hex.padStart(4, "0") : "\\U" + hex.padStart(8, "0");
}

/** So much text is held back before it is written (characters). */
const BUFFER_CHARACTERS = 16 * 1024;

/** So long text is held back while more is printed (milliseconds). */
const BUFFER_MS = 100;

/** What a {@link Printer} writes to: stdout, or another object in tests. */
export interface Sink {
  writeSync(bytes: Uint8Array): number;
}

/** Writes text in larger pieces. The first failure is thrown; later text is dropped. */
export class Printer {
  readonly #sink: Sink;
  #held: string[] = [];
  #size = 0;
  #written = performance.now();
  #broken = false;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** Prints `text`, soon. @throws {OutputError} If text that was held back cannot be written. */
  print(text: string): void {
    if (this.#broken) return;
    this.#held.push(text);
    this.#size += text.length;
    if (this.#size >= BUFFER_CHARACTERS || performance.now() - this.#written >= BUFFER_MS) {
      this.flush();
    }
  }

  /** Writes the text held back. @throws {OutputError} If it cannot be written. */
  flush(): void {
    const bytes = encoder.encode(this.#held.join(""));
    this.#held = [];
    this.#size = 0;
    this.#written = performance.now();
    try {
      for (let at = 0; at < bytes.length;) at += this.#sink.writeSync(bytes.subarray(at));
    } catch (cause) {
      this.#broken = true;
      const why = cause instanceof Deno.errors.BrokenPipe
        ? "its reader has gone"
        : messageOf(cause);
      throw new OutputError(`Cannot write the output: ${why}`, { cause });
    }
  }

  /** Writes the text held back if it can, and tells no failure: the end of the run matters more. */
  close(): void {
    try {
      this.flush();
    } catch (error) {
      if (!(error instanceof OutputError)) throw error;
    }
  }
}
