/** A number as it was written: `37.50` stays `37.50`, and a long number keeps its digits. */
export class WrittenNumber {
  constructor(readonly text: string) {}
}

export type Json = null | boolean | string | WrittenNumber | Json[] | { [key: string]: Json };

/** Deeper or larger JSON is shown as text. */
const MAX_DEPTH = 8;
const MAX_VALUES = 5_000;

/**
 * Reads a JSON object or array. Undefined when the text is something else, too deep or large for a table, or has a number that this
 * browser cannot give as it was written.
 */
export function parseJson(text: string): Json | undefined {
  if (!/^\s*[[{]/.test(text)) {
    return undefined;
  }
  try {
    const value = JSON.parse(text, written as (this: unknown, key: string, value: unknown) => unknown) as Json;
    return fits(value) ? value : undefined;
  } catch {
    // Not JSON, or so deep that the parser ran out of stack, or a number that would be another one.
    return undefined;
  }
}

function written(_: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number") {
    return value;
  }
  if (context?.source === undefined) {
    // Safari before 18.4 and Firefox before 135: a long number has lost digits by now.
    throw new RangeError("this browser does not tell how a number was written");
  }
  return new WrittenNumber(context.source);
}

function fits(root: Json): boolean {
  let left = MAX_VALUES;
  const within = (value: Json, depth: number): boolean => {
    left -= 1;
    return left >= 0 && depth <= MAX_DEPTH && children(value).every((child) => within(child, depth + 1));
  };
  return within(root, 0);
}

/** The values in a value, in their order. */
function children(value: Json): Json[] {
  if (value === null || typeof value !== "object" || value instanceof WrittenNumber) {
    return [];
  }
  return Array.isArray(value) ? value : Object.values(value);
}

export function isObject(value: Json): value is { [key: string]: Json } {
  return value !== null && typeof value === "object" && !Array.isArray(value) && !(value instanceof WrittenNumber);
}

/** The most columns of a table. Objects with more keys are shown one below the other. */
const MAX_COLUMNS = 20;

/** The columns of an array of objects: each key of any of them. Undefined when the array is no table. */
export function columnsOf(rows: Json[]): string[] | undefined {
  if (rows.length === 0 || !rows.every(isObject)) {
    return undefined;
  }
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return columns.length > 0 && columns.length <= MAX_COLUMNS ? columns : undefined;
}
