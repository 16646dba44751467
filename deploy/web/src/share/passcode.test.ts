import { expect, test } from "vitest";
import { checkPasscode } from "./passcode";

test.each([
  ["", ""],
  ["1234", "1234"],
  [" 12 ", " 12 "],
  ["u\u{308}ber", "über"],
  ["a\u{a0}bc", "a bc"],
  ["😀😀😀😀", "😀😀😀😀"],
  ["x".repeat(128), "x".repeat(128)],
])("%j is a passcode in its normal form", (typed, passcode) => {
  expect(checkPasscode(typed)).toEqual({ passcode });
});

test.each([
  ["123", "at least 4"],
  ["😀😀😀", "at least 4"],
  ["u\u{308}be", "at least 4"],
  ["x".repeat(129), "at most 128"],
  ["1234\t", "no keyboard"],
])("%j is none", (typed, error) => {
  expect(checkPasscode(typed)).toEqual({ error: expect.stringContaining(error) });
});
