import { expect, test } from "vitest";
import { normalForm } from "./passphrase.js";

test.each(["Grüße an Köln 7", "São Paulo 1889", "비밀번호 Abc 1", "Ωμέγα 8 Ὀδυσσεύς"])(
  "composed and decomposed are the same: %s",
  (text) => {
    const decomposed = text.normalize("NFD");
    expect(decomposed).not.toBe(text);
    expect(normalForm(decomposed)).toBe(text);
    expect(normalForm(text)).toBe(text);
  },
);

test("spaces of other kinds are spaces", () => {
  expect(normalForm("pass\u{a0}word\u{3000}1\u{2003}")).toBe("pass word 1 ");
});

test.each([" Pass word 1 ", "ＡＢＣａｂｃ１２３", "ﬁve Grüße 5", "\u{1fae8} Abc 12345", "a\u{200d}b"])(
  "nothing else changes: %s",
  (text) => {
    expect(normalForm(text)).toBe(text);
  },
);

test.each(["e\u{301}\u{a0}\u{958}", "\u{fb2c}\u{2003}A\u{30a}", "\u{1e9b}\u{323}"])(
  "a normal form is its own normal form",
  (text) => {
    expect(normalForm(normalForm(text))).toBe(normalForm(text));
  },
);

test.each([
  ["", "PASSPHRASE_EMPTY"],
  ["a\tb", "PASSPHRASE_CHARACTER"],
  ["ab\n", "PASSPHRASE_CHARACTER"],
  ["a\u{0}b", "PASSPHRASE_CHARACTER"],
  ["a\u{85}b", "PASSPHRASE_CHARACTER"],
  ["a\ud800b", "PASSPHRASE_CHARACTER"],
])("%j is refused with %s", (text, code) => {
  expect(() => normalForm(text)).toThrow(expect.objectContaining({ code }));
});
