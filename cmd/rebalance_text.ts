/** How `kvs rebalance` writes keys and values, so that each one stays on its line. */
import { messageOf, OutputError } from "../core/errors.ts";
import { displayKey, escapeByte } from "../core/key.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text that a value is, as {@link displayKey}; where it is not UTF-8, only ASCII stays as it is. */
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

/** What Python's `repr` escapes besides quotes: all that is no letter, digit, mark, sign or space. */
const PYTHON_ESCAPED = /[\\\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

const PYTHON_SHORT: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/** `text` as Python's `repr` writes a string: in single quotes, unless only these are in it. */
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

/** How much text is held back before it is written, in characters. */
const BUFFER_CHARACTERS = 16 * 1024;

/** How long text is held back at most while more is printed, in milliseconds. */
const BUFFER_MS = 100;

/** Where a {@link Printer} writes to: stdout, in tests anything. */
export interface Sink {
  writeSync(bytes: Uint8Array): number;
}

/** Writes text in larger pieces. What cannot be written is told once; then all is dropped. */
export class Printer {
  readonly #sink: Sink;
  #held: string[] = [];
  #size = 0;
  #written = performance.now();
  #broken = false;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** @throws {OutputError} If text that was held back until now cannot be written. */
  print(text: string): void {
    if (this.#broken) return;
    this.#held.push(text);
    this.#size += text.length;
    if (this.#size >= BUFFER_CHARACTERS || performance.now() - this.#written >= BUFFER_MS) {
      this.flush();
    }
  }

  /** @throws {OutputError} If it cannot be written. */
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

  /** Writes what is held back, if that can be done: for an end of which more important things are told. */
  close(): void {
    try {
      this.flush();
    } catch (error) {
      if (!(error instanceof OutputError)) throw error;
    }
  }
}
