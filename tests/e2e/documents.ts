/** The documents as text: their links, their anchors, their code, and the commands in them. */
import { walk } from "@std/fs/walk";
import { fromFileUrl, relative } from "@std/path";

/** The folder of the repository. */
export const ROOT = fromFileUrl(new URL("../../", import.meta.url));

/** Folders whose Markdown is not ours. */
const FOREIGN = [/node_modules/, /\.git$/, /dist$/];

/** One Markdown file. */
export interface Document {
  /** Its path from the root of the repository. */
  readonly path: string;
  readonly text: string;
}

/** Reads all Markdown files of the repository. */
export async function readDocuments(): Promise<Document[]> {
  const documents: Document[] = [];
  for await (const { path } of walk(ROOT, { exts: ["md"], includeDirs: false, skip: FOREIGN })) {
    documents.push({ path: relative(ROOT, path), text: await Deno.readTextFile(path) });
  }
  return documents.sort((a, b) => a.path < b.path ? -1 : 1);
}

/** A document apart: lines of prose, with code spans still in them, and blocks of code. */
interface Parts {
  readonly prose: readonly string[];
  readonly blocks: readonly (readonly string[])[];
}

/** Parts prose from blocks of code: those in fences, and those indented by four behind an empty line. */
export function partsOf(text: string): Parts {
  const prose: string[] = [];
  const blocks: string[][] = [];
  let fence: string | undefined;
  let block: string[] | undefined;
  let isBlankBefore = true;
  for (const line of text.split("\n")) {
    const mark = /^ *(```+)/.exec(line)?.[1];
    if (mark !== undefined && (fence === undefined || mark.length >= fence.length)) {
      fence = fence === undefined ? mark : undefined;
      block = undefined;
      if (fence !== undefined) blocks.push(block = []);
      continue;
    }
    if (fence !== undefined) {
      block?.push(line);
      continue;
    }
    const isCode = line.startsWith("    ") && (isBlankBefore || block !== undefined);
    if (isCode) {
      if (block === undefined) blocks.push(block = []);
      block.push(line.slice(4));
    } else if (line.trim() === "") {
      block?.push("");
    } else {
      block = undefined;
      prose.push(line);
    }
    isBlankBefore = line.trim() === "";
  }
  return { prose, blocks };
}

/** The code spans of a document: what stands in backticks. */
export function spansOf(text: string): string[] {
  const matches = partsOf(text).prose.join("\n").matchAll(/(`+)([^`]+)\1/g);
  return [...matches].map(([, , span = ""]) => span.replaceAll("\n", " ").trim());
}

/** All code of a document, a piece a line. */
export function codeOf(text: string): string[] {
  return [...spansOf(text), ...partsOf(text).blocks.flat()];
}

/** The targets of links and pictures. */
export function linksOf(text: string): string[] {
  const prose = partsOf(text).prose.join("\n").replaceAll(/(`+)[^`]+\1/g, "code");
  return [...prose.matchAll(/\]\(([^()\s]+)\)/g)].map(([, target = ""]) => target);
}

/** The anchors that GitHub makes of the headings. */
export function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const line of partsOf(text).prose) {
    const title = /^#{1,6} (.*)$/.exec(line)?.[1];
    if (title === undefined) continue;
    const shown = title.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").trim().toLowerCase();
    const slug = shown.replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, "").replaceAll(" ", "-");
    let anchor = slug;
    for (let count = 1; anchors.has(anchor); count++) anchor = `${slug}-${count}`;
    anchors.add(anchor);
  }
  return anchors;
}

/**
 * The part of a document under a heading.
 *
 * @throws {Error} If there is no such heading.
 */
export function sectionOf({ path, text }: Document, heading: string): string {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => /^#+ /.test(line) && line.endsWith(` ${heading}`));
  if (start < 0) throw new Error(`${path} has no section "${heading}"`);
  const depth = lines[start]?.indexOf(" ") ?? 0;
  const rest = lines.slice(start + 1);
  const end = rest.findIndex((line) => /^#+ /.test(line) && line.indexOf(" ") <= depth);
  return rest.slice(0, end < 0 ? undefined : end).join("\n");
}

/** A command in a document, and what the comment behind it promises to be printed. */
export interface Command {
  readonly line: string;
  readonly prints: string | undefined;
}

/** The commands in the blocks of a section, in order; a line that goes on is part of the one before. */
export function commandsOf(section: string): Command[] {
  const commands: Command[] = [];
  let begun = "";
  for (const line of partsOf(section).blocks.flat()) {
    const { code, comment } = cutComment(line, "#");
    if (code === "" && begun === "") continue;
    begun += code + "\n";
    if (/(?:\||&&|\\)$/.test(code)) continue;
    commands.push({ line: begun.trim(), prints: comment });
    begun = "";
  }
  return commands;
}

/** Parts a line of code from the comment behind it, which is none within quotes. */
export function cutComment(line: string, mark: string): { code: string; comment?: string } {
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const character = line[at] ?? "";
    if (quote !== "") {
      if (character === quote) quote = "";
    } else if (character === "'" || character === '"') {
      quote = character;
    } else if (line.startsWith(`${mark} `, at) && (at === 0 || line[at - 1] === " ")) {
      return { code: line.slice(0, at).trim(), comment: line.slice(at + mark.length).trim() };
    }
  }
  return { code: line.trim() };
}

/** Whether an output is what a comment promises: blanks and line feeds are one, "…" is anything. */
export function isPrinted(output: string, promise: string): boolean {
  const pieces = normal(promise).split("…").map((piece) =>
    piece.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")
  );
  return new RegExp(`^${pieces.join(".*")}$`, "s").test(normal(output));
}

function normal(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}
