import { type Json, parseJson } from "./json";

/** A decrypted content, as it can be shown. The format of a share is up to the client that made it. */
export type Content =
  | { kind: "text"; text: string }
  | { kind: "json"; text: string; value: Json }
  /** Neither UTF-8 nor text: it can only be saved. */
  | { kind: "binary" };

/** Finds out what a content is. It is never taken for HTML. */
export function readContent(bytes: Uint8Array): Content {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return { kind: "binary" };
  }
  if (text.includes("\0")) {
    return { kind: "binary" };
  }
  const value = parseJson(text);
  return value === undefined ? { kind: "text", text } : { kind: "json", text, value };
}

/** The name and media type of the file that a content is saved as. */
export function fileOf({ kind }: Content): { name: string; type: string } {
  switch (kind) {
    case "text":
      return { name: "haven-share.txt", type: "text/plain;charset=utf-8" };
    case "json":
      return { name: "haven-share.json", type: "application/json" };
    case "binary":
      return { name: "haven-share.bin", type: "application/octet-stream" };
  }
}
