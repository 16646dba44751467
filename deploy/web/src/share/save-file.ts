/** The time for which a saved file keeps its copy of the content, in milliseconds: until the browser has begun to write it. */
const KEPT = 10_000;

/** Saves bytes as a file. They do not leave the device. */
export function saveFile(bytes: Uint8Array, name: string, type: string): void {
  const url = URL.createObjectURL(new Blob([new Uint8Array(bytes)], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT);
}
