// @ts-check
/// <reference no-default-lib="true" />
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/// <reference lib="esnext" />
/** Helpers for the document. Text is never parsed as HTML. */

/**
 * The element of the page with this id.
 *
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`No element ${id}`);
  return element;
}

/**
 * Makes an element.
 *
 * @param {string} tag
 * @param {Readonly<Record<string, string>>} attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * Sets the text of an element, and touches the document only if the text is new.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Sets an attribute, and touches the document only if the value is new.
 *
 * @param {Element} element
 * @param {string} name
 * @param {string} value
 */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});

/**
 * A time of day to the second.
 *
 * @param {number} time In milliseconds since 1970.
 */
export function clock(time) {
  return CLOCK.format(time);
}

/** The characters for the indices of servers, as on the terminal. */
const INDEX_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** How many tones of one colour tell servers apart, besides their indices. */
const TONES = 4;

/**
 * Makes an element show a server's index.
 *
 * @param {Element} element
 * @param {number} index
 */
export function showIndex(element, index) {
  setText(element, INDEX_DIGITS.charAt(index));
  setAttribute(element, "data-tone", String(index % TONES));
}
