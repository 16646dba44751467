import { expect, test } from "vitest";
import { parseShareFragment, shareFragment } from "./share-link.js";

const token = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const secret = Uint8Array.from({ length: 32 }, (_, at) => 255 - at);
const fragment = `${token}.__79_Pv6-fj39vX08_Lx8O_u7ezr6uno5-bl5OPi4eA`;

test("a fragment is made and read", () => {
  expect(shareFragment({ token, secret })).toBe(fragment);
  expect(parseShareFragment(fragment)).toEqual({ token, secret });
  expect(parseShareFragment(`#${fragment}`)).toEqual({ token, secret });
});

test.each([
  ["nothing", ""],
  ["no secret", `#${token}`],
  ["an empty secret", `#${token}.`],
  ["a short secret", fragment.slice(0, -1)],
  ["a third part", `${fragment}.${token}`],
  ["the full stop of a sentence", `${fragment}.`],
  ["a space", `${fragment} `],
  ["a line end", `${fragment}\n`],
  ["base64 of another alphabet", fragment.replaceAll("_", "/")],
  ["padding", `${fragment}=`],
  ["bits after the last byte", fragment.replace(/A$/, "B")],
  ["two hashes", `##${fragment}`],
])("a fragment with %s is refused", (_, text) => {
  expect(() => parseShareFragment(text)).toThrow(expect.objectContaining({ code: "MALFORMED_LINK" }));
});

test("no error names the token or the secret", () => {
  for (const text of [`${fragment}x`, `x${fragment}`]) {
    expect(() => parseShareFragment(text)).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining(token) }),
    );
  }
});

test("no link is made of a token or secret of another form", () => {
  expect(() => shareFragment({ token: "short", secret })).toThrow("CreateShare");
  expect(() => shareFragment({ token, secret: new Uint8Array(31) })).toThrow("32 bytes");
});
