/** Logging: one line an event. Core calls the {@link Log} that it is given, and never prints by itself. */
import { displayJson, displayKey } from "./key.ts";

/** How much an event matters. */
export type LogLevel = "info" | "warn" | "error";

/** Takes one event: a message in words, and facts. */
export type Log = (level: LogLevel, message: string, facts?: LogFacts) => void;

/** Facts of an event by name. */
export type LogFacts = Readonly<Record<string, string | number | boolean>>;

/** Formats an event as text: time (ISO 8601, UTC), level, message, `name=value` pairs. */
export function formatText(time: Date, level: LogLevel, message: string, facts: LogFacts): string {
  const pairs = Object.entries(facts).map(([name, value]) => ` ${name}=${quoted(String(value))}`);
  return `${time.toISOString()} ${level} ${oneLine(message)}${pairs.join("")}`;
}

/** Formats an event as one JSON object. */
export function formatJson(time: Date, level: LogLevel, message: string, facts: LogFacts): string {
  return displayJson({ time: time.toISOString(), level, message, ...facts });
}

function quoted(text: string): string {
  return /^[^\s"=\p{Cc}]+$/u.test(text) ? text : displayJson(text);
}

function oneLine(text: string): string {
  return displayKey(text.replaceAll(/\s*\n\s*/g, "; "));
}
